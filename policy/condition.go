package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

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
	// guards are comparisons without which it cannot hold: they are cheap,
	// and spare most rules an evaluation.
	guards []guard
	// programs are by protocol name, "" if it speaks of no protocol's fields.
	programs map[string]program
}

// A guard asks whether a variable of the session has one of some values.
type guard struct {
	variable int
	values   []string
}

// A program is a condition for one protocol.
type program struct {
	cel.Program
	kinds decoders.Kinds // the events that have all its fields
}

// A compiler compiles one condition.
type compiler struct {
	languages []*language // the first is that of all sessions
	kinds     decoders.Kinds
	at        document.Value
	source    common.Source
	reported  map[string]bool
}

// compile returns the condition that v spells, for a rule on events of these
// kinds. It is nil if v is wrong; v's report then says how.
func compile(v document.Value, kinds decoders.Kinds, languages []*language) *condition {
	text, ok := v.Text()
	if !ok {
		return nil
	}
	if strings.TrimSpace(text) == "" {
		v.Problem("an empty condition: leave `when` out for a rule that always applies")
		return nil
	}
	c := &compiler{languages: languages, kinds: kinds, at: v, source: common.NewTextSource(text), reported: map[string]bool{}}
	parsed, issues := languages[0].env.Parse(text)
	if c.issues(issues) {
		return nil
	}
	r := read(parsed.NativeRep().Expr())
	if !c.known(parsed, r) {
		return nil
	}
	chosen := c.choose(parsed, r)
	condition := &condition{reads: reads(r), guards: guards(r), programs: map[string]program{}}
	for _, l := range chosen {
		p, ok := c.program(parsed, l)
		if !ok {
			return nil
		}
		condition.programs[l.name] = program{p, l.kinds(r, kinds)}
	}
	if len(chosen) == 0 {
		return nil
	}
	return condition
}

// known reports names that no language has.
func (c *compiler) known(parsed *cel.Ast, r *reading) bool {
	ok := true
	for _, m := range r.mentions {
		name, found := resolve(m.path, c.languages)
		switch {
		case m.test:
			c.problem(parsed, m.id, testAdvice(name))
		case found || celName(m.path):
			continue
		default:
			c.problem(parsed, m.id, c.unknown(m.path, r))
		}
		ok = false
	}
	for _, m := range r.own {
		if c.namespace(m.path) {
			c.problem(parsed, m.id, fmt.Sprintf("%q is a name already: call the variable something else, as v", m.path))
			ok = false
		}
	}
	for _, cmp := range r.comparisons {
		if cmp.path != "target.protocol" {
			continue
		}
		for _, value := range cmp.values {
			if protocols := names(c.languages); !slices.Contains(protocols, value) {
				c.problem(parsed, cmp.id, fmt.Sprintf("there is no protocol %q%s", value, document.Choices(value, protocols)))
				ok = false
			}
		}
	}
	return ok
}

// namespace reports whether names begin with that word, as "sql" or "target".
func (c *compiler) namespace(word string) bool {
	for _, l := range c.languages {
		for _, name := range l.names() {
			if first, _, _ := strings.Cut(name, "."); first == word {
				return true
			}
		}
	}
	return false
}

func testAdvice(name string) string {
	if name == "target.labels" {
		return `has() is not needed: a label that a target does not have is ""; compare with that, or write "name" in target.labels`
	}
	return "has() is not needed: every field has a value"
}

// celName reports whether path is something of CEL itself.
func celName(path string) bool {
	switch path {
	case "bool", "bytes", "double", "duration", "dyn", "int", "list", "map", "null_type", "string", "timestamp", "type", "uint":
		return true
	}
	return strings.HasPrefix(path, "google.protobuf.")
}

// unknown says that path is no name, and which may have been meant.
func (c *compiler) unknown(path string, r *reading) string {
	languages := c.restricted(r)
	var candidates []string
	for _, l := range languages {
		candidates = append(candidates, l.names()...)
	}
	slices.Sort(candidates)
	candidates = slices.Compact(candidates)
	parts := strings.Split(path, ".")
	if fields := slices.DeleteFunc(slices.Clone(candidates), func(n string) bool { return !strings.HasPrefix(n, path+".") }); len(fields) > 0 {
		return fmt.Sprintf("%q is not a value: name one of its fields, as %s", path, document.List(fields))
	}
	if len(parts) > 2 {
		path = strings.Join(parts[:2], ".")
	}
	who := "no protocol has a field"
	switch {
	case parts[0] == "target" || parts[0] == "workload" || len(parts) == 1:
		who = "there is no"
	case len(languages) == 1 || len(languages) == 2 && languages[0].name == "":
		who = languages[len(languages)-1].name + " has no field"
	}
	return fmt.Sprintf("%s %q%s", who, path, document.Suggest(path, candidates))
}

// restricted are the languages of the protocols that r can hold for.
func (c *compiler) restricted(r *reading) []*language {
	left := slices.Clone(c.languages)
	for _, cmp := range r.comparisons {
		if cmp.path == "target.protocol" && cmp.needed {
			left = slices.DeleteFunc(left, func(l *language) bool { return !slices.Contains(cmp.values, l.name) })
		}
	}
	return left
}

// choose returns the languages to compile for: those that have all the fields
// r speaks of. A rule that names a protocol must get along with it.
func (c *compiler) choose(parsed *cel.Ast, r *reading) []*language {
	general := true
	for _, m := range r.mentions {
		name, found := resolve(m.path, c.languages)
		general = general && (!found || session(name))
	}
	if general {
		return c.languages[:1]
	}
	restricted := c.restricted(r)
	named := !slices.Contains(restricted, c.languages[0])
	var chosen []*language
	var missing *mention
	for _, l := range restricted {
		if l.name == "" {
			continue
		}
		lacking := slices.IndexFunc(r.mentions, func(m mention) bool { return !l.has(m.path, c.kinds) })
		if lacking < 0 && l.kinds(r, c.kinds) != 0 {
			chosen = append(chosen, l)
			continue
		}
		if lacking < 0 {
			lacking = 0
		}
		if m := &r.mentions[lacking]; named || missing == nil {
			missing = m
			if named {
				c.problem(parsed, m.id, l.lacks(m.path, c.kinds))
			}
		}
	}
	switch {
	case len(chosen) > 0 || named && missing != nil:
	case missing == nil:
		c.at.Problem("the condition cannot hold: target.protocol is compared with different protocols")
	case len(c.languages) == 2:
		c.problem(parsed, missing.id, c.languages[1].lacks(missing.path, c.kinds))
	default:
		c.problem(parsed, missing.id, c.none(missing.path))
	}
	return chosen
}

// none says why no protocol can be asked for path here.
func (c *compiler) none(path string) string {
	for _, l := range c.languages[1:] {
		if l.owns(path) && !l.has(path, c.kinds) {
			return l.lacks(path, c.kinds)
		}
	}
	return "no protocol has all the fields of this condition: make one rule for each protocol"
}

// owns reports whether path begins with a field of l's own.
func (l *language) owns(path string) bool {
	name, ok := resolve(path, []*language{l})
	return ok && !session(name)
}

// has reports whether path is known of events of one of these kinds.
func (l *language) has(path string, kinds decoders.Kinds) bool {
	name, ok := resolve(path, []*language{l})
	if !ok || session(name) {
		return ok || celName(path)
	}
	f := l.fields[name]
	return f.Kinds&kinds != 0 || early(f) && kinds != decoders.Cancel
}

// lacks says why l does not have path.
func (l *language) lacks(path string, kinds decoders.Kinds) string {
	name, ok := resolve(path, []*language{l})
	if !ok {
		return fmt.Sprintf("%s has no field %q%s", l.name, path, document.Suggest(path, l.names()))
	}
	return fmt.Sprintf("a %s has no %q: %s knows it of %s only", kindName(kinds), name, l.name, kindNames(l.fields[name].Kinds))
}

// kinds are those of kinds whose events have all the fields r speaks of.
func (l *language) kinds(r *reading, kinds decoders.Kinds) decoders.Kinds {
	for _, m := range r.mentions {
		name, _ := resolve(m.path, []*language{l})
		if f, ok := l.fields[name]; ok && !early(f) {
			kinds &= f.Kinds
		}
	}
	return kinds
}

// program checks and plans the condition for one language.
func (c *compiler) program(parsed *cel.Ast, l *language) (cel.Program, bool) {
	checked, issues := l.env.Check(parsed)
	if c.issues(issues) {
		return nil, false
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
		c.at.Problem("the condition is %s, not true or false: compare it with something", article(t))
		return nil, false
	}
	p, err := l.env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		c.at.Problem("the condition cannot be planned: %v", err)
		return nil, false
	}
	return p, true
}

func article(t *cel.Type) string {
	if name := cel.FormatCELType(t); strings.ContainsAny(name[:1], "aeiou") {
		return "an " + name
	}
	return "a " + cel.FormatCELType(t)
}

// issues reports what CEL found, and whether that was anything.
func (c *compiler) issues(issues *cel.Issues) bool {
	if issues.Err() == nil {
		return false
	}
	for _, e := range issues.Errors() {
		c.once(e.Location, plainIssue(e.Message))
	}
	return true
}

// plainIssue says in plain words what CEL's parser and checker say in
// the words of their makers.
func plainIssue(message string) string {
	message = strings.TrimPrefix(message, "Syntax error: ")
	if types, ok := strings.CutPrefix(message, "found no matching overload for '"); ok {
		operator, operands, _ := strings.Cut(types, "' applied to '")
		return fmt.Sprintf("%q does not go with %s", strings.Trim(operator, "_@"), strings.TrimSuffix(operands, "'"))
	}
	switch message, _, _ = strings.Cut(message, " expecting "); message {
	case "mismatched input '<EOF>'":
		return "the condition ends too early"
	case "invalid matches argument":
		return "not a regular expression"
	}
	return message
}

func (c *compiler) problem(parsed *cel.Ast, id int64, message string) {
	c.once(parsed.NativeRep().SourceInfo().GetStartLocation(id), message)
}

// once reports a problem, unless another protocol had it too.
func (c *compiler) once(l common.Location, message string) {
	offset, ok := c.source.LocationOffset(l)
	if !ok {
		offset = 0
	}
	if key := fmt.Sprint(offset, message); !c.reported[key] {
		c.reported[key] = true
		c.at.ProblemAt(int(offset), message)
	}
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

// eval evaluates the condition. It never panics; err is set with fault.
func (p program) eval(s *scope) (truth, error) {
	v, _, err := p.Eval(s)
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
