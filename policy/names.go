package policy

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types/ref"
)

// A mention is a name that a condition uses, as "sql.verbs".
type mention struct {
	path string
	id   int64 // of the expression where it begins
	test bool  // has(path)
}

// A comparison is path == "a", path != "a" or path in ["a", "b"].
type comparison struct {
	path   string
	id     int64 // of the first value
	values []string
	// needed: the condition is false unless the path has one of the values.
	needed bool
}

// A reading is what a condition speaks of.
type reading struct {
	mentions    []mention
	comparisons []comparison
	own         []mention // variables of its own, as v in exists(v, ...)

	lexicon *lexicon
}

// read collects what a parsed condition speaks of.
func (c *compiler) read(e ast.Expr) *reading {
	r := reading{lexicon: c.lexicon}
	r.walk(e, nil, true)
	return &r
}

// walk looks at e, where the names in bound are variables of its own.
// needed: the whole is false if e is.
func (r *reading) walk(e ast.Expr, bound []string, needed bool) {
	switch e.Kind() {
	case ast.IdentKind, ast.SelectKind:
		r.mention(e, bound)
	case ast.CallKind:
		r.call(e.AsCall(), bound, needed)
	case ast.ListKind:
		for _, element := range e.AsList().Elements() {
			r.walk(element, bound, false)
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			r.walk(entry.AsMapEntry().Key(), bound, false)
			r.walk(entry.AsMapEntry().Value(), bound, false)
		}
	case ast.StructKind:
		for _, field := range e.AsStruct().Fields() {
			r.walk(field.AsStructField().Value(), bound, false)
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		r.walk(c.IterRange(), bound, false)
		r.walk(c.AccuInit(), bound, false)
		r.own = append(r.own, mention{path: c.IterVar(), id: e.ID()}, mention{path: c.IterVar2(), id: e.ID()})
		inner := append(slices.Clip(bound), c.IterVar(), c.IterVar2(), c.AccuVar())
		for _, part := range []ast.Expr{c.LoopCondition(), c.LoopStep(), c.Result()} {
			r.walk(part, inner, false)
		}
	}
}

func (r *reading) mention(e ast.Expr, bound []string) {
	path, root, ok := chain(e)
	if !ok {
		r.walk(e.AsSelect().Operand(), bound, false)
		return
	}
	if first, _, _ := strings.Cut(path, "."); slices.Contains(bound, first) {
		return
	}
	r.mentions = append(r.mentions, mention{path, root, tests(e)})
}

func (r *reading) call(c ast.CallExpr, bound []string, needed bool) {
	r.compare(c, bound, needed)
	needed = needed && c.FunctionName() == operators.LogicalAnd
	if c.IsMemberFunction() {
		r.walk(c.Target(), bound, false)
	}
	for _, arg := range c.Args() {
		r.walk(arg, bound, needed)
	}
}

// compare notes a comparison of a path with constants.
func (r *reading) compare(c ast.CallExpr, bound []string, needed bool) {
	args := c.Args()
	name := c.FunctionName()
	if len(args) != 2 {
		return
	}
	if name == operators.Equals && args[0].Kind() == ast.LiteralKind {
		args = []ast.Expr{args[1], args[0]}
	}
	path, _, ok := chain(args[0])
	if first, _, _ := strings.Cut(path, "."); !ok || slices.Contains(bound, first) {
		return
	}
	var values []ast.Expr
	switch {
	case name == operators.Equals, name == operators.NotEquals:
		values = args[1:]
	case name == operators.In && args[1].Kind() == ast.ListKind:
		values = args[1].AsList().Elements()
	case name == operators.In:
		if list, id, ok := chain(args[1]); ok && len(r.lexicon.texts(list)) > 0 {
			r.comparisons = append(r.comparisons, comparison{path: path, id: id, values: r.lexicon.texts(list), needed: needed})
		}
		return
	}
	found := comparison{path: path, needed: needed && name != operators.NotEquals}
	for i, v := range values {
		text, ok := literal(v)
		if !ok {
			return
		}
		if i == 0 {
			found.id = v.ID()
		}
		found.values = append(found.values, text)
	}
	if found.values != nil {
		r.comparisons = append(r.comparisons, found)
	}
}

// chain returns the dotted path that e is, and the expression it begins with.
func chain(e ast.Expr) (path string, root int64, ok bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return strings.TrimPrefix(e.AsIdent(), "."), e.ID(), true
	case ast.SelectKind:
		path, root, ok = chain(e.AsSelect().Operand())
		return path + "." + e.AsSelect().FieldName(), root, ok
	}
	return "", 0, false
}

// tests reports whether e is has().
func tests(e ast.Expr) bool { return e.Kind() == ast.SelectKind && e.AsSelect().IsTestOnly() }

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	text, ok := ref.Val(e.AsLiteral()).Value().(string)
	return text, ok
}
