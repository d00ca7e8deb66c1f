package policy

import "cel.dev/cel-go/cel"

// Forget makes the next session of any kind be like none before.
func (e *Engine) Forget() { clear(e.folded) }

// Variables are the names and types of what can be asked about every session.
func Variables() (list [][2]string) {
	for _, v := range variables {
		list = append(list, [2]string{v.name, cel.FormatCELType(v.typ)})
	}
	return list
}
