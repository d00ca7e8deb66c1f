package policy

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

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
	// Index is what an event must have one of for the condition to be evaluated
	// at all, where rules are many; nil if it always is.
	Index []string `json:"index,omitempty"`
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
	language := e.languages[0]
	for _, other := range e.languages[1:] {
		if other.name == s.Target.Protocol {
			language = other
		}
	}
	l := listener{scope: newScope(s, language)}
	l.login, l.loggedIn, l.moment, l.counting = login.Facts, true, e.meters.now(), true
	l.begin(ev.Facts)
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
	switch of := v.(type) {
	case labels, *types.Err, *types.Unknown:
	case ref.Val:
		v = of.Value()
	}
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
	case !c.choose(&l.scope):
		look.Why = r.when.strange(&l.scope)
		return look
	case c.program.kinds&ev.Kind == 0:
		look.Why = fmt.Sprintf("its condition asks for what a %s does not have", ev.Kind)
		return look
	}
	for _, clue := range c.program.clues {
		look.Index = append(look.Index, clue.String())
	}
	l.saw, l.zone = nil, r.zone
	v, err := c.program.seen(l)
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

// seen evaluates the program, and counts what it costs.
func (p *program) seen(l *listener) (ref.Val, error) {
	counted, err := p.counted()
	if err != nil {
		return nil, err
	}
	v, _, err := counted.Eval(l)
	return v, err
}

// String says what an event must have, as "sql.verbs: drop".
func (c clue) String() string {
	if c.prefix {
		return c.field + ": " + c.text + "…"
	}
	return c.field + ": " + c.text
}
