package policy

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"agentd.dev/decoders"
)

// maxText is how long a field may be, in bytes: a regular expression goes over
// all of it while everything else on the thread waits.
const maxText = 256 << 10

// A scope gives names their values while a condition is evaluated. It
// implements cel.Activation.
type scope struct {
	language *language
	values   []any // of variables
	large    bool  // one of them is larger than what conditions were estimated for
	login    decoders.Facts
	loggedIn bool
	event    decoders.Facts
	inEvent  bool // event is what it is: its fields are known, or never will be
	clock
	ledger
	stance

	resolved []ref.Val // what fields of the event came to, by their place in the language
	// counting: what the evaluation costs is counted. Otherwise, one that meets
	// something large stops, and says so in stopped.
	counting, stopped bool
}

// A slot is where the value of a name is.
type slot struct {
	variable int // in variables, -1 if it is none
	field    int // in the language's fields, -1 if it is none
}

// ResolveName implements cel.Activation. What is not known yet is CEL's
// unknown; what will never be known is an error.
func (s *scope) ResolveName(name string) (any, bool) {
	at, ok := s.language.slots[name]
	switch {
	case !ok:
		if v, ok := s.tell(name, s.inEvent); ok {
			return v, true
		}
		return s.look(name, s)
	case at.variable >= 0:
		if s.large && !s.counting {
			return s.stop(), true
		}
		if name == claimed {
			v := s.claims()
			if l, ok := v.(labels); ok && !s.counting && large(l) {
				return s.stop(), true
			}
			return v, true
		}
		return s.values[at.variable], true
	case s.resolved[at.field] == nil:
		s.resolved[at.field] = s.resolve(name)
	}
	v := s.resolved[at.field]
	if !s.counting && large(v) {
		return s.stop(), true
	}
	return v, true
}

func (s *scope) stop() ref.Val {
	s.stopped = true
	return types.NewErr("too large not to count")
}

// resolve returns the value of a field.
func (s *scope) resolve(name string) ref.Val {
	facts, known := s.event, s.inEvent
	if early(s.language.fields[name]) {
		facts, known = s.login, s.loggedIn || s.inEvent
	}
	if !known {
		return types.NewUnknown(0, nil)
	}
	if facts != nil {
		v := facts.Field(name)
		if text, ok := v.(string); ok && len(text) > maxText {
			return types.WrapErr(fmt.Errorf("%s is longer than %d bytes", name, maxText))
		}
		if v != nil {
			return types.DefaultTypeAdapter.NativeToValue(v)
		}
	}
	return types.WrapErr(fmt.Errorf("%s is not known", name))
}

// begin makes facts those of the event, until end.
func (s *scope) begin(facts decoders.Facts) {
	s.event, s.inEvent = facts, true
	s.forget()
}

func (s *scope) end() {
	s.event, s.inEvent = nil, false
	s.forget()
}

// forget is for when fields may have other values.
func (s *scope) forget() { clear(s.resolved) }

// large reports whether a value is larger than what conditions were estimated
// for.
func large(v ref.Val) bool {
	switch v := v.(type) {
	case types.String:
		return len(v) > longText
	case traits.Lister:
		texts, ok := v.Value().([]string)
		if !ok {
			return true
		}
		n := 0
		for _, text := range texts {
			n += len(text)
		}
		return len(texts) > manyEntries || n > manyEntries*longName
	case labels:
		all, ok := v.Value().(map[string]string)
		if !ok {
			return true
		}
		n := 0
		for key, text := range all {
			n += len(key) + len(text)
		}
		return len(all) > manyEntries || n > manyEntries*longName
	}
	return false
}

// Parent implements cel.Activation.
func (*scope) Parent() cel.Activation { return nil }

// newScope is that of a session.
func newScope(s *Session, l *language) scope {
	made := scope{stance: stance{standing: s.Identity.Claims}, language: l, values: make([]any, len(variables)), resolved: make([]ref.Val, len(l.fields))}
	for i, v := range variables {
		if made.values[i] = v.of(s); made.values[i] != nil {
			made.large = made.large || large(types.DefaultTypeAdapter.NativeToValue(made.values[i]))
		}
	}
	return made
}
