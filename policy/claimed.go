package policy

import (
	"maps"
	"slices"

	"cel.dev/cel-go/common/types"

	"agentd.dev/decoders"
	"agentd.dev/policy/document"
)

// claimed is the variable of what clients say of why they ask: one that is not
// said is "". What a request says itself goes before what its session says.
const claimed = "claimed"

// unproven reports a condition by which a mere claim would let something
// through, or choose a credential. What restricts may go by claims: whoever
// lies meets a restriction that was meant for others, or escapes one that he
// could have escaped by saying nothing.
func (r *rule) unproven(when document.Value) {
	if r.when == nil || !slices.ContainsFunc(r.when.reads, func(i int) bool { return variables[i].name == claimed }) || r.do != &actions[allow] && r.do != &actions[assume] {
		return
	}
	when.Problem("%s cannot go by what a client merely claims: anybody can claim anything; use claimed in deny, approve, mask, limit or alert, as `claimed.task == \"\"`", r.do.name)
}

// Relies reports whether a rule asks what clients claim.
func (e *Engine) Relies() bool {
	return slices.ContainsFunc(e.reads, func(i int) bool { return variables[i].name == claimed })
}

// A stance is what is claimed while conditions are evaluated.
type stance struct {
	standing said // of the session
	now      any  // of the event: labels
	relied   bool // somebody wanted to know
}

// claims is what a condition sees. It is not known before there is an event.
func (s *scope) claims() any {
	if !s.inEvent {
		return types.NewUnknown(0, nil)
	}
	s.relied = true
	return s.now
}

// heard answers an event by what it claims, too.
func (r *Rules) heard(ev *decoders.Event) *answer {
	s := &r.scope
	s.now, s.relied = newLabels(s.standing.with(ev.Claims)), false
	a := r.answer(ev)
	a.relied = s.relied
	return a
}

// personal reports whether the answer is for what the event claims, and for no
// other.
func (a *answer) personal(ev *decoders.Event) bool { return a.relied && len(ev.Claims) > 0 }

// said is what is claimed, by key.
type said map[string]string

// with is s and what an event claims, which goes before it.
func (s said) with(claims []decoders.Claim) said {
	if len(claims) == 0 {
		return s
	}
	all := said{}
	maps.Copy(all, s)
	for _, c := range claims {
		all[c.Key] = c.Value
	}
	return all
}

// introduce notes what a login claims, for the whole session. What its process
// was given is harder to make up, and goes before it.
func (s *stance) introduce(claims []decoders.Claim) {
	if len(claims) > 0 {
		all := said{}.with(claims)
		maps.Copy(all, s.standing)
		s.standing = all
	}
}
