package replay

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/recorder"
)

// A Suggestion is a policy that allows what a workload did, and no more. Where
// its target lets through what no rule speaks of, that has to become deny.
type Suggestion struct {
	Workload  string
	From, To  time.Time
	Rules     []Allowance
	Refused   int64 // requests that were refused, and stay so
	Unread    int64 // that were not understood
	Unknown   int64 // of which too little is recorded
	Assumed   int64 // whose tables' schemas were not recorded
	Schema    string
	Silent    []string // targets that let through what no rule speaks of
	protocols []decoders.Protocol
	groups    map[groupOf]map[string]*did
	silent    map[string]bool
}

// An Allowance is a rule of a Suggestion.
type Allowance struct {
	Name, Target, User string
	Lists              []List // one for each field
	Opaque             bool   // some of it does not show what it does
	Count              int64
	Last               time.Time
	Example            string
}

// A List is what a field may hold.
type List struct {
	Field  string
	Values []string
}

type groupOf struct{ target, user, verbs string }

// did is what was done with the same facts.
type did struct {
	fields  []string
	lists   [][]string // by field
	opaque  bool
	count   int64
	last    time.Time
	example string
}

// unlisted are fields that say the same as others, or more than is of use.
var unlisted = []string{"sql.tables", "sql.columns", "sql.predicates"}

// maxRule is how long the condition of a suggested rule may be. Conditions may
// be 8 KiB.
const maxRule = 6 << 10

// Suggest reads what a workload did since then. Names of relations of which the
// schema is not recorded are taken to be in schema.
func Suggest(ctx context.Context, folder *recorder.Folder, protocols []decoders.Protocol, workload, schema string, since time.Time, progress func(done, total int64)) (*Suggestion, error) {
	s := &Suggestion{Workload: workload, Schema: schema, protocols: protocols, groups: map[groupOf]map[string]*did{}, silent: map[string]bool{}}
	err := folder.Events(ctx, progress, func(e *recorder.Event) error {
		if e.Session.Workload == workload && !e.Time.Before(since) && (e.Kind == "request" || e.Kind == "prepare") {
			s.see(e)
		}
		return nil
	})
	s.settle()
	return s, err
}

func (s *Suggestion) see(e *recorder.Event) {
	if s.From.IsZero() {
		s.From = e.Time
	}
	s.To = e.Time
	if e.Session.Default == "allow" {
		s.silent[e.Session.Target] = true
	}
	fields := s.fields(e.Session.Protocol)
	switch {
	case e.Unclassified != "":
		s.Unread++
		return
	case e.Verdict == "deny" || e.Verdict == "close":
		s.Refused++
		return
	case e.Facts == nil || len(fields) == 0:
		s.Unknown++
		return
	}
	d := did{fields: fields, last: e.Time, example: e.Text.Text}
	d.opaque, _ = e.Facts.Field("sql.opaque").(bool)
	guessed := false
	for _, f := range fields {
		list, known := e.Facts.Field(f).([]string)
		if !known {
			if list, known = assumed(e.Facts, f, s.Schema); !known {
				s.Unknown++
				return
			}
			guessed = guessed || len(list) > 0
		}
		d.lists = append(d.lists, list)
	}
	if guessed {
		s.Assumed++
	}
	verbs := slices.Sorted(slices.Values(d.lists[0]))
	group := groupOf{e.Session.Target, e.Session.User, strings.Join(slices.Compact(verbs), " ")}
	if s.groups[group] == nil {
		s.groups[group] = map[string]*did{}
	}
	if e.Kind == "request" {
		d.count = 1
	}
	key := fmt.Sprintf("%q%v", d.lists, d.opaque)
	if before := s.groups[group][key]; before != nil {
		before.count += d.count
		before.last = e.Time
		return
	}
	s.groups[group][key] = &d
}

// fields are those that a suggestion lists of requests, what they do first.
func (s *Suggestion) fields(protocol string) (names []string) {
	for _, p := range s.protocols {
		for _, f := range p.Fields {
			if p.Name == protocol && f.Type == decoders.Strings && f.Kinds&decoders.Request != 0 && !f.Noted && !slices.Contains(unlisted, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	return names
}

// assumed are the relations of a field, by the names that the statement gives
// them.
func assumed(f *recorder.Facts, field, schema string) ([]string, bool) {
	var names []string
	switch known := false; {
	case schema == "":
		return nil, false
	case field == "sql.tables":
		read, ok := assumed(f, "sql.tables_read", schema)
		written, also := assumed(f, "sql.tables_written", schema)
		for _, name := range written {
			if !slices.Contains(read, name) {
				read = append(read, name)
			}
		}
		return read, ok && also
	case field == "sql.tables_read":
		if names, known = f.Field("sql.names_read").([]string); !known {
			return nil, false
		}
	case field == "sql.tables_written":
		if names, known = f.Field("sql.names_written").([]string); !known {
			return nil, false
		}
	default:
		return nil, false
	}
	list := make([]string, 0, len(names))
	for _, name := range names {
		switch {
		case qualified(name):
		case strings.HasPrefix(name, "pg_"):
			name = "pg_catalog." + name
		default:
			name = schema + "." + name
		}
		list = append(list, name)
	}
	return list, true
}

// qualified reports whether a name has a schema: a dot outside of quotes.
func qualified(name string) bool {
	quoted := false
	for _, c := range name {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '.' && !quoted:
			return true
		}
	}
	return false
}

// settle makes rules of what was seen: one for each target, user and kind of
// statement, or several where one would be too long.
func (s *Suggestion) settle() {
	names := map[string]int{}
	keys := slices.SortedFunc(maps.Keys(s.groups), func(a, b groupOf) int {
		return cmp.Or(cmp.Compare(a.target, b.target), cmp.Compare(a.user, b.user), cmp.Compare(a.verbs, b.verbs))
	})
	for _, key := range keys {
		all := slices.SortedFunc(maps.Values(s.groups[key]), func(a, b *did) int {
			return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.example, b.example))
		})
		var rule *Allowance
		for _, d := range all {
			if rule == nil || !rule.takes(d) {
				s.Rules = append(s.Rules, Allowance{Target: key.target, User: key.user})
				rule = &s.Rules[len(s.Rules)-1]
				rule.Name = unique(names, s.Workload+"-"+key.target+"-"+cmp.Or(strings.ReplaceAll(key.verbs, " ", "-"), "nothing"))
				for _, field := range d.fields {
					rule.Lists = append(rule.Lists, List{Field: field})
				}
				rule.takes(d)
			}
		}
		for i := range s.Rules {
			for j := range s.Rules[i].Lists {
				slices.Sort(s.Rules[i].Lists[j].Values)
			}
		}
	}
	s.Silent = slices.Sorted(maps.Keys(s.silent))
}

// takes adds what was done to the rule, unless it would become too long.
func (r *Allowance) takes(d *did) bool {
	lists := make([]List, len(r.Lists))
	length := 0
	for i, l := range r.Lists {
		lists[i] = List{l.Field, slices.Clone(l.Values)}
		for _, v := range d.lists[i] {
			if !slices.Contains(lists[i].Values, v) {
				lists[i].Values = append(lists[i].Values, v)
			}
		}
		for _, v := range lists[i].Values {
			length += len(v) + 4
		}
	}
	if length > maxRule && r.Count > 0 {
		return false
	}
	if r.Count == 0 {
		r.Example = d.example
	}
	r.Lists, r.Opaque, r.Count = lists, r.Opaque || d.opaque, r.Count+d.count
	if d.last.After(r.Last) {
		r.Last = d.last
	}
	return true
}

// notInNames is what names of rules cannot have.
var notInNames = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// unique makes a name of a rule, and a different one each time.
func unique(names map[string]int, name string) string {
	const most = 58
	name = strings.Trim(notInNames.ReplaceAllString(name, "-"), "-._")
	name = name[:min(len(name), most)]
	if names[name]++; names[name] > 1 {
		name += "-" + strconv.Itoa(names[name])
	}
	return name
}

// When is the rule's condition.
func (r *Allowance) When(workload string) string {
	q := strconv.Quote
	parts := []string{"workload.name == " + q(workload), "target.name == " + q(r.Target), "login.user == " + q(r.User)}
	if !r.Opaque {
		for _, l := range r.Lists {
			if strings.HasPrefix(l.Field, "sql.") {
				parts = append(parts, "!sql.opaque")
				break
			}
		}
	}
	for _, l := range r.Lists {
		if len(l.Values) == 0 {
			parts = append(parts, l.Field+" == []")
			continue
		}
		var values []string
		for _, v := range l.Values {
			values = append(values, q(v))
		}
		parts = append(parts, fmt.Sprintf("%s.all(x, x in [%s])", l.Field, strings.Join(values, ", ")))
	}
	return strings.Join(parts, " &&\n")
}
