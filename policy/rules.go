package policy

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"agentd.dev/decoders"
)

// maxRemembered is how many verdicts a session remembers.
const maxRemembered = 256

// Rules are the rules that one session can meet. They are used by one
// goroutine at a time. The zero value refuses everything.
type Rules struct {
	target  Target
	known   bool // the protocol is
	scope   scope
	session []candidate     // that the session alone does not exclude
	pools   [16][]candidate // by the bit of the kind
	seen    map[question]*answer
	masks   []decoders.Mask
	// searches are those put together so far, by the names of their rules;
	// found and key are room for doing it.
	searches map[string]*decoders.Search
	found    []*rule
	key      []byte
	spender  spender
	limits   decoders.Limits // of the verdict
	bounds   decoders.Limits // of the session, by its login
	// shadows, columns and alerts are room for those of the verdict.
	shadows []Shadow
	columns []int
	alerts  []string
}

// A candidate is a rule that may match.
type candidate struct {
	*rule
	program program
	truth   truth // open, yes or fault
	err     error // with fault
}

// A question is what a verdict is remembered by.
type question struct {
	kind    decoders.Kinds
	facts   decoders.Facts
	unclear bool // it was not understood
}

// An answer is a verdict, before masks are fitted to the columns of a result.
type answer struct {
	verdict Verdict
	masks   []*rule
	limits  []*rule
	alerts  []*rule
	names   []string // of alerts
	shadows []Shadow // that do not depend on more than the facts
	watched watched
	// minute, if it is not 0, is the only one that the answer is right in.
	minute int64
	// counted: it depends on what was used before, and is right this once.
	counted bool
	relied  bool // on what the client claims
}

// judged are the kinds of events that rules decide.
const judged = decoders.Login | decoders.Prepare | decoders.Request | decoders.Columns | decoders.Cancel

// For returns the rules that s can meet. What conditions say about the
// session alone is evaluated now, what they say about its login once that is
// known.
func (e *Engine) For(s *Session) *Rules {
	r := &Rules{target: s.Target, seen: map[question]*answer{}, spender: e.meters.spender(s)}
	r.scope.values = sessionValues(s)
	r.scope.standing = s.Identity.Claims
	r.scope.language = e.languages[0]
	for _, l := range e.languages[1:] {
		if l.name == s.Target.Protocol {
			r.scope.language, r.known = l, true
		}
	}
	r.session = e.candidates(&r.scope)
	r.sort(r.session)
	return r
}

// Renew returns the rules of e for a session that another engine's rules have
// judged so far. What its login said stays known.
func (e *Engine) Renew(s *Session, before *Rules) *Rules {
	r := e.For(s)
	r.scope.standing = before.scope.standing
	if before.scope.loggedIn {
		r.login(before.scope.login)
		r.rebind(before.scope.login)
	}
	r.spender.own, r.spender.open = before.spender.own, before.spender.open
	r.scope.counters = before.scope.counters
	return r
}

// maxFolded is how many kinds of sessions the engine remembers.
const maxFolded = 256

// candidates are the rules that a session of these values can meet. Sessions
// that differ in nothing that rules ask about share them.
func (e *Engine) candidates(s *scope) []candidate {
	key := e.key(s)
	e.mu.Lock()
	found, ok := e.folded[key]
	e.mu.Unlock()
	if ok {
		return found
	}
	all := make([]candidate, 0, len(e.rules))
	for _, r := range e.rules {
		c := candidate{rule: r, truth: open}
		if r.when == nil {
			c.truth = yes
		} else if !c.plan(s) {
			continue
		}
		all = append(all, c)
	}
	found = fold(all, s)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.folded) >= maxFolded {
		clear(e.folded)
	}
	e.folded[key] = found
	return found
}

// key tells apart the sessions that rules may tell apart.
func (e *Engine) key(s *scope) string {
	key := []byte(s.language.name)
	for _, i := range e.reads {
		if l, ok := s.values[i].(labels); ok {
			key = fmt.Appendf(key, "\x00%q", l.Value()) // maps are printed sorted
			continue
		}
		key = fmt.Appendf(key, "\x00%q", s.values[i])
	}
	return string(key)
}

// plan chooses the program for a session. It is false if the rule cannot
// match.
func (c *candidate) plan(s *scope) bool {
	if !c.when.pass(s.values) {
		return false
	}
	p, ok := c.when.programs[""]
	if !ok {
		p, ok = c.when.programs[s.language.name]
	}
	c.program = p
	return ok
}

// fold evaluates what is open as far as it is known, and drops what cannot
// match any more.
func fold(from []candidate, s *scope) []candidate {
	left := make([]candidate, 0, len(from))
	for _, c := range from {
		if c.truth == open {
			c.truth, c.err = c.eval(s)
		}
		if c.truth == no || c.truth == fault && !c.do.closed() {
			continue
		}
		left = append(left, c)
	}
	return left
}

// sort puts each candidate where the events are that it judges.
func (r *Rules) sort(all []candidate) {
	for i := range r.pools {
		r.pools[i] = r.pools[i][:0]
	}
	for kinds := judged; kinds != 0; kinds &= kinds - 1 {
		i := bits.TrailingZeros16(uint16(kinds))
		for _, c := range all {
			if c.judges(1 << i) {
				r.pools[i] = append(r.pools[i], c)
			}
		}
	}
	clear(r.seen)
}

func (c *candidate) judges(kind decoders.Kinds) bool {
	return c.on&kind != 0 && (c.when == nil || c.program.kinds&kind != 0)
}

// Want returns what the rules can use.
func (r *Rules) Want() decoders.Want {
	w := decoders.Want{Bindings: r.target.Unclassified == Asking}
	for _, c := range r.session {
		w.Kinds |= c.on
		w.Columns = append(w.Columns, c.columns...) // of those in shadow mode, too
		if c.when != nil {
			w.Fields = append(w.Fields, c.when.learned...)
		}
		if c.everywhere() && !c.shadow {
			w.Searches = append(w.Searches, c.says())
		}
		w.Limits = w.Limits || c.do == &actions[limit] && c.on != decoders.Login && !c.shadow
		w.Bounds = w.Bounds || c.do == &actions[limit] && c.on == decoders.Login && !c.shadow
		w.Bindings = w.Bindings || c.do == &actions[approve] && !c.shadow
	}
	slices.Sort(w.Fields)
	w.Fields = slices.Compact(w.Fields)
	w.Kinds &^= decoders.Login | decoders.Prepare | decoders.Request
	slices.SortFunc(w.Columns, func(a, b decoders.ColumnName) int {
		return cmp.Or(strings.Compare(a.Schema, b.Schema), strings.Compare(a.Table, b.Table), strings.Compare(a.Column, b.Column))
	})
	w.Columns = slices.Compact(w.Columns)
	return w
}
