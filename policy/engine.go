package policy

import (
	"maps"
	"slices"
	"sync"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/policy/document"
)

// Errors are all the problems of a policy, as Load returns them.
type Errors = document.Errors

// A Problem is one of Errors.
type Problem = document.Problem

// An Engine judges sessions by a set of rules. It never changes, and may be
// used by any number of goroutines.
type Engine struct {
	files     []string
	loaded    time.Time
	languages []*language
	rules     []*rule
	reads     []int // the variables of the session that rules depend on
	unused    []Problem
	zones     map[string]string

	meters *meters // of limits; shared with the engine that this one follows

	mu     sync.Mutex // guards folded
	folded map[string]*plan
}

// Load reads policy files, and all *.yaml and *.yml of folders, as one set of
// rules for sessions of these protocols. Its error is Errors if the files are
// wrong: every problem of every file.
//
// It gives ways of masking no key: LoadKeyed does.
func Load(paths []string, protocols []decoders.Protocol) (*Engine, error) {
	return LoadKeyed(paths, protocols, nil)
}

// LoadKeyed is Load with a key for the masks that need one.
func LoadKeyed(paths []string, protocols []decoders.Protocol, key Key) (*Engine, error) {
	e := &Engine{loaded: time.Now(), zones: map[string]string{}, meters: newMeters(), folded: map[string]*plan{}}
	var report document.Report
	var sources []source
	for _, name := range expand(paths) {
		e.files = append(e.files, name)
		if v, ok := document.Open(name, &report); ok {
			s := readSource(v)
			if s.zone != time.UTC {
				e.zones[name] = s.zone.String()
			}
			sources = append(sources, s)
		}
	}
	x := newLexicon(sources)
	var err error
	if e.languages, err = newLanguages(protocols, x); err != nil {
		return nil, err
	}
	x.compileMacros(e.languages)
	for i := range sources {
		e.rules = append(e.rules, sources[i].readRules(key)...)
	}
	x.compileAll(e.rules, e.languages)
	unique(e.rules, &report)
	if err := report.Err(); err != nil {
		return nil, err
	}
	for _, r := range e.rules {
		if r.when != nil {
			e.reads = append(e.reads, r.when.reads...)
		}
	}
	slices.Sort(e.reads)
	e.reads = slices.Compact(e.reads)
	e.unused = x.unused()
	return e, nil
}

// Follow has e count on where before has come to: what was used up of a limit
// stays used up when rules change. It is called before the first For.
func (e *Engine) Follow(before *Engine) { e.meters = before.meters }

// Clock has e tell the time by now, where it is not the present that is judged.
// It is called before the first For.
func (e *Engine) Clock(now func() time.Time) { e.meters.now = now }

// Memory is how long ago may matter what was used: 0 if no rule asks for that,
// or limits it.
func (e *Engine) Memory() time.Duration {
	var longest time.Duration
	for _, r := range e.rules {
		if r.when != nil && r.when.counted {
			longest = max(longest, 24*time.Hour)
		}
		switch {
		case r.do != &actions[limit] || r.bounds.by == byRequest:
		case r.bounds.by == bySession:
			longest = max(longest, maxPer)
		default:
			longest = max(longest, r.bounds.per)
		}
	}
	return longest
}

// unique reports names that several rules have.
func unique(rules []*rule, report *document.Report) {
	first := map[string]*rule{}
	for _, r := range rules {
		if r.name == "" {
			continue
		}
		if f := first[r.name]; f != nil {
			report.Add(Problem{
				File: r.file, Line: r.line, Column: r.column,
				Message: "rule \"" + r.name + "\" again: the first is at " + place(f) + "; names must differ",
			})
			continue
		}
		first[r.name] = r
	}
}

// A Summary is what a rule says of itself.
type Summary struct {
	Name      string   `json:"name"`
	On        string   `json:"on"` // login, request, result or cancel
	Do        string   `json:"do"` // allow, deny or mask
	Protocols []string `json:"protocols"`
	File      string   `json:"file"`
	Line      int      `json:"line"`
}

// Check loads a policy as Load does, and tells what its rules are about.
func Check(paths []string, protocols []decoders.Protocol) ([]Summary, error) {
	e, err := Load(paths, protocols)
	if err != nil {
		return nil, err
	}
	return e.Rules(), nil
}

// Rules tells what the rules are about, in the order of the files.
func (e *Engine) Rules() []Summary {
	all := make([]Summary, len(e.rules))
	for i, r := range e.rules {
		all[i] = Summary{Name: r.name, On: kindName(r.on), Do: r.do.name, Protocols: r.protocols(e.languages), File: r.file, Line: r.line}
	}
	return all
}

// Unused are the lists and macros that no rule needs: no mistake, but worth a
// look.
func (e *Engine) Unused() []Problem { return slices.Clone(e.unused) }

// Files are the files that were read.
func (e *Engine) Files() []string { return slices.Clone(e.files) }

// Zones are the time zones that the rules of files go by, by the file's name;
// what is not there goes by UTC.
func (e *Engine) Zones() map[string]string { return maps.Clone(e.zones) }

// Loaded is when they were.
func (e *Engine) Loaded() time.Time { return e.loaded }

// protocols are those whose sessions the rule can match.
func (r *rule) protocols(languages []*language) []string {
	all := names(languages)
	if r.when == nil {
		return all
	}
	return slices.DeleteFunc(all, func(name string) bool {
		_, general := r.when.programs[""]
		_, special := r.when.programs[name]
		return !general && !special || !r.when.names(name)
	})
}

// names reports whether no guard excludes the protocol.
func (c *condition) names(protocol string) bool {
	return !slices.ContainsFunc(c.guards, func(g guard) bool {
		return variables[g.variable].name == "target.protocol" && !slices.Contains(g.values, protocol)
	})
}

// names are the protocols that languages are of.
func names(languages []*language) []string {
	var all []string
	for _, l := range languages[1:] {
		all = append(all, l.name)
	}
	return all
}
