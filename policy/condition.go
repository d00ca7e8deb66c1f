package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/types"

	"agentd.dev/decoders"
	"agentd.dev/policy/document"
)

// A condition is the compiled `when` of a rule.
type condition struct {
	// reads are the variables of the session it depends on, by index.
	reads []int
	// learned are the fields it depends on that decoders must learn more for.
	learned []string
	// guards are comparisons without which it cannot hold: they are cheap,
	// and spare most rules an evaluation.
	guards []guard
	// programs are by protocol name, "" if it speaks of no protocol's fields.
	programs map[string]program
	// exceptional: it speaks of what makes a login exceptional.
	exceptional bool
	// timed: it speaks of the time.
	timed bool
	// counted: it speaks of what was used before.
	counted bool
	// requested: it speaks of what only requests have.
	requested bool
}

// A guard asks whether a variable of the session has one of some values.
type guard struct {
	variable int
	values   []string
}

// A program is a condition for one protocol.
type program struct {
	cel.Program // does not count what it costs
	// counted does, and ends what costs too much. It is planned when it is needed.
	counted func() (cel.Program, error)
	kinds   decoders.Kinds // the events that have all its fields
	early   bool           // it asks about the login
	clues   []clue         // of which an event has one if it holds; none: nothing is known
}

// A compiler compiles one condition.
type compiler struct {
	languages []*language // the first is that of all sessions
	lexicon   *lexicon
	kinds     decoders.Kinds
	at        document.Value
	source    common.Source
	reported  map[string]bool
}

// compile returns the condition that v spells, for a rule on events of these
// kinds. It is nil if v is wrong; v's report then says how.
func (x *lexicon) compile(v document.Value, kinds decoders.Kinds, languages []*language) *condition {
	text, ok := v.Text()
	if !ok {
		return nil
	}
	if strings.TrimSpace(text) == "" {
		v.Problem("an empty condition: leave `when` out for a rule that always applies")
		return nil
	}
	c := &compiler{languages: languages, lexicon: x, kinds: kinds, at: v, source: common.NewTextSource(text), reported: map[string]bool{}}
	parsed, issues := languages[0].env.Parse(text)
	if c.issues(issues) {
		return nil
	}
	if !c.known(parsed, c.read(parsed.NativeRep().Expr())) || !c.expand(parsed, nil) {
		return nil
	}
	r := c.read(parsed.NativeRep().Expr())
	x.use(r)
	chosen := c.choose(parsed, r)
	condition := &condition{reads: reads(r), learned: learned(r, chosen), guards: guards(r), programs: map[string]program{}, timed: r.timed(), counted: r.counted(), requested: r.requested()}
	for _, l := range chosen {
		d := detective{lexicon: x, language: l, own: map[string]string{}}
		clues := d.clues(parsed.NativeRep().Expr())
		p, ok := c.program(parsed, l)
		if !ok {
			return nil
		}
		p.kinds, p.clues = l.kinds(r, kinds), clues
		p.early = slices.ContainsFunc(r.mentions, func(m mention) bool { f, ok := l.fields[m.path]; return ok && early(f) })
		condition.programs[l.name] = p
		condition.exceptional = condition.exceptional || slices.ContainsFunc(r.mentions, func(m mention) bool { return l.fields[m.path].Exceptional })
	}
	if len(chosen) == 0 {
		return nil
	}
	return condition
}

// program checks and plans the condition for one language.
func (c *compiler) program(parsed *cel.Ast, l *language) (p program, ok bool) {
	checked, issues := l.env.Check(parsed)
	if c.issues(issues) {
		return p, false
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
		c.at.Problem("the condition is %s, not true or false: compare it with something", article(t))
		return p, false
	}
	if !c.affordable(l, checked) {
		return p, false
	}
	var err error
	if p.Program, err = l.env.Program(checked, cel.EvalOptions(cel.OptOptimize)); err != nil {
		c.at.Problem("the condition cannot be planned: %v", err)
		return p, false
	}
	p.counted = sync.OnceValues(func() (cel.Program, error) {
		return l.env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	})
	return p, true
}

func article(t *cel.Type) string {
	if name := cel.FormatCELType(t); strings.ContainsAny(name[:1], "aeiou") {
		return "an " + name
	}
	return "a " + cel.FormatCELType(t)
}

// reads are the variables of the session that a condition speaks of.
func reads(r *reading) []int {
	var found []int
	for _, m := range r.mentions {
		for i, v := range variables {
			if (m.path == v.name || strings.HasPrefix(m.path, v.name+".")) && !slices.Contains(found, i) {
				found = append(found, i)
			}
		}
	}
	return found
}

// learned are the learned fields that a condition speaks of.
func learned(r *reading, languages []*language) []string {
	var found []string
	for _, l := range languages {
		for _, m := range r.mentions {
			name, _ := resolve(m.path, []*language{l})
			if l.fields[name].Learned && !slices.Contains(found, name) {
				found = append(found, name)
			}
		}
	}
	if slices.ContainsFunc(r.mentions, func(m mention) bool { return slices.Contains(ofTables, m.path) }) && !slices.Contains(found, tables) {
		found = append(found, tables)
	}
	return found
}

func guards(r *reading) []guard {
	var found []guard
	for _, cmp := range r.comparisons {
		i := slices.IndexFunc(variables, func(v variable) bool { return v.name == cmp.path && v.typ == cel.StringType })
		if i >= 0 && cmp.needed {
			found = append(found, guard{i, cmp.values})
		}
	}
	return found
}

// pass reports whether a session with these values can meet the condition.
func (c *condition) pass(values []any) bool {
	for _, g := range c.guards {
		text, _ := values[g.variable].(string)
		if !slices.Contains(g.values, text) {
			return false
		}
	}
	return true
}

// A truth is what a condition came to.
type truth uint8

const (
	no   truth = iota
	open       // not known before more is
	yes
	fault // it could not be evaluated
)

// eval evaluates the condition. It never panics; err is set with fault. What was
// estimated to be cheap for values of ordinary sizes is not counted; where one is
// larger, it is evaluated anew and counted.
func (c *candidate) eval(s *scope) (truth, error) {
	s.zone, s.counting, s.stopped = c.zone, false, false
	p := c.program.Program
	v, _, err := p.Eval(s)
	if s.stopped {
		s.counting = true
		if p, err = c.program.counted(); err != nil {
			return fault, err
		}
		v, _, err = p.Eval(s)
	}
	switch {
	case err != nil:
		return fault, errors.New(strings.TrimPrefix(err.Error(), "operation cancelled: "))
	case types.IsUnknown(v):
		return open, nil
	case v == types.True:
		return yes, nil
	case v == types.False:
		return no, nil
	}
	return fault, fmt.Errorf("it came to %v", v)
}
