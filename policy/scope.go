package policy

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

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
	login    decoders.Facts
	loggedIn bool
	event    decoders.Facts
	inEvent  bool // event is what it is: its fields are known, or never will be
	clock
	ledger
	stance
}

// ResolveName implements cel.Activation. What is not known yet is CEL's
// unknown; what will never be known is an error.
func (s *scope) ResolveName(name string) (any, bool) {
	for i := range variables {
		if name == claimed {
			return s.claims(), true
		}
		if variables[i].name == name {
			return s.values[i], true
		}
	}
	if v, ok := s.tell(name, s.inEvent); ok {
		return v, true
	}
	if v, ok := s.look(name, s); ok {
		return v, true
	}
	f, ok := s.language.fields[name]
	if !ok {
		return nil, false
	}
	facts, known := s.event, s.inEvent
	if early(f) {
		facts, known = s.login, s.loggedIn || s.inEvent
	}
	if !known {
		return types.NewUnknown(0, nil), true
	}
	if facts != nil {
		v := facts.Field(name)
		if text, ok := v.(string); ok && len(text) > maxText {
			return types.WrapErr(fmt.Errorf("%s is longer than %d bytes", name, maxText)), true
		}
		if v != nil {
			return v, true
		}
	}
	return types.WrapErr(fmt.Errorf("%s is not known", name)), true
}

// Parent implements cel.Activation.
func (*scope) Parent() cel.Activation { return nil }

// sessionValues are the values of variables.
func sessionValues(s *Session) []any {
	values := make([]any, len(variables))
	for i, v := range variables {
		values[i] = v.of(s)
	}
	return values
}
