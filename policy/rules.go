package policy

import (
	"cmp"
	"slices"
	"strings"

	"agentd.dev/decoders"
)

// maxRemembered is how many verdicts a session remembers.
const maxRemembered = 256

// Rules are the rules that one session can meet. They are used by one
// goroutine at a time. The zero value refuses everything.
type Rules struct {
	target Target
	known  bool // the protocol is
	scope  scope
	plan   *plan
	after  []candidate // those of plan.early, once the login is known
	seen   map[question]*answer
	masks  []decoders.Mask
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
	// could and matched are room for those of the event.
	could   bitset
	matched []candidate
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
	// relied: it depends on what the client claims.
	relied bool
}

// judged are the kinds of events that rules decide.
const judged = decoders.Login | decoders.Prepare | decoders.Request | decoders.Columns | decoders.Cancel

// For returns the rules that s can meet. What conditions say about the
// session alone is evaluated now, what they say about its login once that is
// known.
func (e *Engine) For(s *Session) *Rules {
	r := &Rules{target: s.Target, seen: map[question]*answer{}, spender: e.meters.spender(s)}
	language := e.languages[0]
	for _, l := range e.languages[1:] {
		if l.name == s.Target.Protocol {
			language, r.known = l, true
		}
	}
	r.scope = newScope(s, language)
	r.plan = e.plan(&r.scope)
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

// Want returns what the rules can use.
func (r *Rules) Want() decoders.Want {
	w := decoders.Want{Bindings: r.target.Unclassified == Asking}
	for _, c := range r.candidates() {
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
