package policy

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/common/types"

	"agentd.dev/decoders"
)

// A Look is what one rule has to do with an event.
type Look struct {
	Rule   string `json:"rule"`
	Do     string `json:"do"`
	Mode   string `json:"mode"` // enforce or shadow
	When   string `json:"when,omitempty"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Result string `json:"result"`        // one of Looks
	Why    string `json:"why,omitempty"` // in words
	// Saw is what the condition looked at.
	Saw []Sight `json:"saw,omitempty"`
}

// A Sight is a name in a condition and the value it had.
type Sight struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// What a rule can have to do with an event.
const (
	Matches  = "matches"
	Differs  = "does not match"
	Elsewise = "is for others" // other kinds of events, or other sessions
	Fails    = "fails"         // its condition cannot be evaluated
)

// maxSight bounds how much of a value is told, in bytes.
const maxSight = 1 << 10

// Explain tells of each rule what it has to do with an event of a session, in
// the order of the files. What follows from it, Decide says: of those that match
// a deny before an approve before an allow. It evaluates every condition on its
// own, and takes its time.
func (e *Engine) Explain(s *Session, login, ev *decoders.Event) []Look {
	l := listener{scope: scope{values: sessionValues(s), language: e.languages[0], login: login.Facts, loggedIn: true, event: ev.Facts, inEvent: true}}
	for _, language := range e.languages[1:] {
		if language.name == s.Target.Protocol {
			l.language = language
		}
	}
	l.standing = s.Identity.Claims
	l.introduce(login.Claims)
	l.now = newLabels(l.standing.with(ev.Claims))
	looks := make([]Look, len(e.rules))
	for i, r := range e.rules {
		looks[i] = l.look(r, ev)
	}
	return looks
}

// A listener is a scope that notes what it is asked.
type listener struct {
	scope
	saw []Sight
}

// ResolveName implements cel.Activation.
func (l *listener) ResolveName(name string) (any, bool) {
	v, ok := l.scope.ResolveName(name)
	if !ok {
		return v, ok
	}
	for _, s := range l.saw {
		if s.Name == name {
			return v, ok
		}
	}
	l.saw = append(l.saw, Sight{name, sight(v)})
	return v, ok
}

// sight writes a value as people read it.
func sight(v any) string {
	text := ""
	switch v := v.(type) {
	case string:
		text = fmt.Sprintf("%q", v)
	case []string:
		text = fmt.Sprintf("%q", v)
	case labels:
		text = strings.TrimPrefix(fmt.Sprintf("%q", v.Value()), "map")
	case *types.Err:
		text = "unknown"
	default:
		text = fmt.Sprint(v)
	}
	if len(text) > maxSight {
		text = text[:maxSight] + "…"
	}
	return text
}

func (l *listener) look(r *rule, ev *decoders.Event) Look {
	look := Look{Rule: r.name, Do: r.do.name, Mode: "enforce", When: strings.TrimSpace(r.source), File: r.file, Line: r.line, Result: Elsewise}
	if r.shadow {
		look.Mode = "shadow"
	}
	c := candidate{rule: r, truth: yes}
	switch {
	case r.on&ev.Kind == 0:
		look.Why = fmt.Sprintf("it is on %s, and this is a %s", kindName(r.on), kindName(ev.Kind))
		return look
	case r.when == nil:
		look.Result, look.Why = Matches, "it has no condition"
		return look
	case !c.plan(&l.scope):
		look.Why = r.when.strange(&l.scope)
		return look
	case c.program.kinds&ev.Kind == 0:
		look.Why = fmt.Sprintf("its condition asks for what a %s does not have", ev.Kind)
		return look
	}
	l.saw = nil
	v, _, err := c.program.Eval(l)
	look.Saw = l.saw
	switch {
	case err != nil:
		look.Result, look.Why = Fails, strings.TrimPrefix(err.Error(), "operation cancelled: ")
		if r.do.closed() {
			look.Why += "; so it applies"
		}
	case v == types.True:
		look.Result = Matches
	default:
		look.Result = Differs
	}
	return look
}

// strange says why a condition cannot hold in a session.
func (c *condition) strange(s *scope) string {
	for _, g := range c.guards {
		value, _ := s.values[g.variable].(string)
		if !(&condition{guards: []guard{g}}).pass(s.values) {
			return fmt.Sprintf("%s is %q, not %q", variables[g.variable].name, value, g.values)
		}
	}
	return fmt.Sprintf("its condition is about another protocol than %q", s.language.name)
}
