package replay

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

// A Change is what other rules make of a verdict.
type Change uint8

const (
	Same Change = iota
	Denied
	Held
	Cut // let through, but longer than a limit
	Masked
	Allowed
	Shown     // what was masked would not be
	ByAgentd  // no rule was asked: agentd itself had decided
	Unreached // something that comes before it would have been refused

	changes
)

var changeNames = [changes]string{
	Same: "same", Denied: "newly-denied", Held: "newly-held", Cut: "newly-cut", Masked: "newly-masked",
	Allowed: "newly-allowed", Shown: "newly-shown", ByAgentd: "by-agentd", Unreached: "unreached",
}

// String returns the change as people name it in --fail-on.
func (c Change) String() string { return changeNames[c] }

// Changes are the names of those that are changes.
var Changes = changeNames[Denied : Shown+1]

// MarshalText implements encoding.TextMarshaler.
func (c Change) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Change) UnmarshalText(text []byte) error {
	i := slices.Index(changeNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%q is no change", text)
	}
	*c = Change(i)
	return nil
}

// compare says what the verdict v is to the recorded one.
func compare(e *recorder.Event, v *policy.Verdict) Change {
	was := e.Verdict
	switch {
	case e.Approval != "":
		was = "hold" // and then people decided
	case was == "close":
		was = "deny"
	}
	is := v.Outcome.String()
	if is == "close" {
		is = "deny"
	}
	switch {
	case is == was && is == "mask":
		return compareMasks(e, v)
	case is == was:
		return Same
	case is == "deny":
		return Denied
	case is == "hold":
		return Held
	case is == "mask":
		return Masked
	case was == "mask":
		return Shown
	}
	return Allowed
}

// compareMasks compares which columns are masked.
func compareMasks(e *recorder.Event, v *policy.Verdict) Change {
	more, fewer := false, false
	for _, c := range e.Columns {
		was := c.Masked || c.Searched
		is := slices.ContainsFunc(v.Masks, func(m decoders.Mask) bool { return m.Index == c.Index })
		more, fewer = more || is && !was, fewer || was && !is
	}
	switch {
	case fewer:
		return Shown
	case more:
		return Masked
	}
	return Same
}

// A Report is what a replay came to.
type Report struct {
	Sessions int       `json:"sessions"`
	Judged   int64     `json:"judged"` // events
	Same     int64     `json:"same"`   // of these
	From     time.Time `json:"from,omitzero"`
	To       time.Time `json:"to,omitzero"`
	// Otherwise are those of Same that another rule decides.
	Otherwise int64   `json:"otherwise"`
	Groups    []Group `json:"changes"`
	ByAgentd  int64   `json:"by_agentd"` // that agentd itself decided, before any rule
	Unreached int64   `json:"unreached"` // that come after what is newly denied
	Undecided int64   `json:"undecided"`
	Assumed   int64   `json:"assumed"` // that depend on where tables are taken to be
	Doubts    []Doubt `json:"doubts"`
	// Searched are requests in whose results something would be looked for;
	// whether it is found cannot be told.
	Searched int64 `json:"searched"`

	groups   map[groupKey]*Group
	doubts   map[string]*Doubt
	sessions map[string]bool
}

// A Group is changes of one kind, from one rule to another.
type Group struct {
	groupKey
	Count    int64     `json:"count"`
	Examples []Example `json:"examples"` // no two of one text
}

type groupKey struct {
	Change Change `json:"change"`
	Kind   string `json:"kind"` // of event
	Was    string `json:"was"`  // verdict
	By     string `json:"by"`   // rule
	Is     string `json:"is"`
	Now    string `json:"now"` // rule
}

// A Doubt is why some events are not decided.
type Doubt struct {
	Why      string    `json:"why"`
	Count    int64     `json:"count"`
	Examples []Example `json:"examples"`
}

// An Example is an event.
type Example struct {
	Session   string    `json:"session"`
	Seq       uint64    `json:"seq"`
	Time      time.Time `json:"time"`
	Workload  string    `json:"workload"`
	Target    string    `json:"target"`
	User      string    `json:"user,omitempty"`
	Statement string    `json:"statement,omitempty"`
	Reason    string    `json:"reason,omitempty"` // what the client would be told
}

const (
	maxExamples = 3
	maxDoubts   = 100
	maxShown    = 1 << 10 // bytes of a statement
)

func newReport() *Report {
	return &Report{groups: map[groupKey]*Group{}, doubts: map[string]*Doubt{}, sessions: map[string]bool{}, Groups: []Group{}, Doubts: []Doubt{}}
}

// Count is how many changes of a kind there are, by its name.
func (r *Report) Count(name string) (n int64) {
	for _, g := range r.Groups {
		if g.Change.String() == name {
			n += g.Count
		}
	}
	return n
}

func (r *Report) add(t *Trial) {
	r.see(t.Event)
	if t.Assumed {
		r.Assumed++
	}
	switch {
	case t.Why != "":
		r.doubt(t)
		return
	case t.Change == ByAgentd:
		r.ByAgentd++
		return
	case t.Change == Unreached:
		r.Unreached++
		return
	case t.Change == Same:
		r.Same++
		if t.Verdict.Rule != t.Event.Rule && t.Event.Approval == "" {
			r.Otherwise++
		}
		return
	}
	e := example(t.Event)
	e.Reason = t.Verdict.Reason
	r.group(groupKey{t.Change, t.Event.Kind, t.Event.Verdict, t.Event.Rule, t.Verdict.Outcome.String(), t.Verdict.Rule}, &e)
}

// cut adds a request that would have gone beyond a limit.
func (r *Report) cut(e *recorder.Event, limit *decoders.Limit) {
	x := example(e)
	x.Reason = limit.Reason
	r.group(groupKey{Cut, "outcome", "allow", "", "deny", limit.Rule}, &x)
}

func (r *Report) see(e *recorder.Event) {
	r.Judged++
	r.sessions[e.Session.ID] = true
	if r.From.IsZero() {
		r.From = e.Time
	}
	r.To = e.Time
}

func (r *Report) group(key groupKey, e *Example) {
	g := r.groups[key]
	if g == nil {
		g = &Group{groupKey: key}
		r.groups[key] = g
	}
	g.Count++
	g.Examples = another(g.Examples, e)
}

func (r *Report) doubt(t *Trial) {
	r.Undecided++
	d := r.doubts[t.Why]
	if d == nil {
		if len(r.doubts) >= maxDoubts {
			return
		}
		d = &Doubt{Why: t.Why}
		r.doubts[t.Why] = d
	}
	d.Count++
	e := example(t.Event)
	d.Examples = another(d.Examples, &e)
}

func another(list []Example, e *Example) []Example {
	if len(list) >= maxExamples || slices.ContainsFunc(list, func(x Example) bool { return x.Statement == e.Statement && x.Workload == e.Workload }) {
		return list
	}
	return append(list, *e)
}

func example(e *recorder.Event) Example {
	s := e.Session
	text := e.Text.Text
	if len(text) > maxShown {
		text = text[:maxShown] + "…"
	}
	return Example{Session: s.ID, Seq: e.Seq, Time: e.Time, Workload: s.Workload, Target: s.Target, User: s.User, Statement: text}
}

// finish puts what was gathered in order: the worst first.
func (r *Report) finish() {
	r.Sessions = len(r.sessions)
	for _, g := range r.groups {
		r.Groups = append(r.Groups, *g)
	}
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Change, b.Change), cmp.Compare(b.Count, a.Count), cmp.Compare(a.By, b.By), cmp.Compare(a.Now, b.Now), cmp.Compare(a.Kind, b.Kind))
	})
	for _, d := range r.doubts {
		r.Doubts = append(r.Doubts, *d)
	}
	slices.SortFunc(r.Doubts, func(a, b Doubt) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Why, b.Why)) })
}
