package policy

import (
	"fmt"
	"slices"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/policy/document"
)

// leaves are what a mask rule says of statements by which values of its columns
// can be found out.
var leaves = []string{"deny", "allow"}

// leave reads one of them.
func leave(to *bool) func(document.Value) {
	return func(v document.Value) {
		if i, ok := v.Choice(leaves); ok {
			*to = i == 1
		}
	}
}

func (r *rule) readFunctions(v document.Value) {
	n := 0
	v.List(func(v document.Value) {
		n++
		text, ok := v.Text()
		switch {
		case !ok:
		case text == "" || strings.Count(text, ".") > 1 || strings.ContainsAny(text, " \t\n()*"):
			v.Problem(`%q names no function: write its name, or schema.name, without parentheses`, text)
		default:
			r.functions = append(r.functions, text)
		}
	})
	if n == 0 {
		v.Problem(`name at least one function, as "audit.redact"`)
	}
}

// exposed refuses a request that could show values of columns that rules mask
// for this session, in ways that masks do not close. No allow outweighs that:
// it would undo the mask.
func (r *Rules) exposed(exposures []decoders.Exposure) (v Verdict, refused bool) {
	masks := r.about(&decoders.Event{Kind: decoders.Columns}).masks
	strange := strangers(exposures, masks)
	trusted := func(f string) bool { return !slices.Contains(strange, f) }
	for i := range exposures {
		for _, m := range masks {
			if e, c := m.exposed(exposures[i:i+1], trusted); e != nil {
				return m.refusal(e, c, strange), true
			}
		}
	}
	return Verdict{}, false
}

// strangers are the functions that a request calls and no rule trusts.
func strangers(exposures []decoders.Exposure, masks []*rule) (names []string) {
	for i := range exposures {
		e := &exposures[i]
		if e.Risk == decoders.Calls && !slices.Contains(names, e.Function) &&
			!slices.ContainsFunc(masks, func(m *rule) bool { return m.trusts(e.Function) }) {
			names = append(names, e.Function)
		}
	}
	return names
}

// exposed returns the first of exposures that could show a column that the rule
// masks, and that column; nil if none could.
func (r *rule) exposed(exposures []decoders.Exposure, trusted func(function string) bool) (*decoders.Exposure, decoders.Column) {
	for i := range exposures {
		e := &exposures[i]
		if e.Risk == decoders.Calls && trusted(e.Function) || e.Risk == decoders.Decides && r.predicates ||
			e.Risk == decoders.Guesses && r.guesses {
			continue
		}
		for _, c := range e.Columns {
			if r.masks(c) {
				return e, c
			}
		}
	}
	return nil, decoders.Column{}
}

// trusts reports whether the rule says that a function is harmless. A name
// without a schema is that of a function in any; a schema in the rule must be
// in the statement, too, since it cannot be told where else the name leads.
func (r *rule) trusts(function string) bool {
	_, bare, _ := strings.Cut(function, ".")
	return slices.ContainsFunc(r.functions, func(f string) bool { return f == function || f == bare })
}

// refusal is the verdict on an exposure of a column that the rule masks.
func (r *rule) refusal(e *decoders.Exposure, c decoders.Column, strange []string) Verdict {
	v := Verdict{Outcome: Refuse, Rule: r.name, Reason: fmt.Sprintf("This statement could show values of %s, which is masked: %s.", columnTitle(c), e.What)}
	switch e.Risk {
	case decoders.Decides:
		v.Hint = "Choose, join, group and sort by other columns; or whoever runs agentd on this node can write `predicates: allow` in the rule."
	case decoders.Guesses:
		v.Hint = "Leave the column out, or write DEFAULT or NULL to it; or whoever runs agentd on this node can write `guesses: allow` in the rule."
	case decoders.Calls:
		v.Hint = fmt.Sprintf("Do without the function; or, if it neither reads tables nor keeps what it is given, whoever runs agentd on this node can write `functions: [%s]` in the rule.", strings.Join(strange, ", "))
	default:
		v.Hint = "Leave the masked columns out: name the others one by one."
	}
	return v
}

// columnTitle is what people call a column, as far as it is known.
func columnTitle(c decoders.Column) string {
	switch {
	case c.Schema == "" || c.Schema == "*":
		return c.Table + "." + c.Name
	default:
		return c.Schema + "." + c.Table + "." + c.Name
	}
}
