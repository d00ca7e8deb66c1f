package policy

import (
	"slices"

	"cel.dev/cel-go/cel"
)

// Forget makes the next session of any kind be like none before.
func (e *Engine) Forget() { clear(e.folded) }

// Unindex has r evaluate every condition for every event.
func (r *Rules) Unindex() {
	all := slices.Clone(r.plan.all)
	for i := range all {
		all[i].program.clues = nil
	}
	r.plan = newPlan(all)
}

// Clued are the rules that an event must have clues for.
func (r *Rules) Clued() (names []string) {
	for _, c := range r.plan.all {
		if len(c.program.clues) > 0 {
			names = append(names, c.name)
		}
	}
	return names
}

// Variables are the names and types of what can be asked about every session.
func Variables() (list [][2]string) {
	for _, v := range variables {
		list = append(list, [2]string{v.name, cel.FormatCELType(v.typ)})
	}
	return list
}

// Hands are the names and types of what can be asked about the time.
func Hands() (list [][3]string) {
	for _, h := range hands {
		list = append(list, [3]string{h.name, cel.FormatCELType(h.typ), h.doc})
	}
	return list
}

// Usages are the names and types of what can be asked about what was used.
func Usages() (list [][3]string) {
	for _, u := range usages {
		list = append(list, [3]string{u.name, cel.FormatCELType(u.typ), u.doc})
	}
	return list
}
