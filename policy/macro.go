package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"

	"agentd.dev/policy/document"
)

// A macro is a part of a condition that has a name. Where it is used it is
// written out, so that it costs what it says and nothing else.
type macro struct {
	name  string
	at    document.Value // its name
	value document.Value // what it stands for
	text  string
	state state
	expr  ast.Expr // written out, nil if something is wrong with it
	nodes int      // how many parts that has
	needs []*macro // that were written out in it
	used  atomic.Bool
}

// A state says how far a macro has been written out.
type state uint8

const (
	untouched state = iota
	expanding
	finished
)

func (x *lexicon) readMacros(v document.Value) {
	v.Pairs(func(key, v document.Value) {
		name, ok := entry(key, "macro", func(name string) *document.Value {
			if m := x.macros[name]; m != nil {
				return &m.at
			}
			return nil
		})
		text, readable := v.Text()
		if readable && strings.TrimSpace(text) == "" {
			v.Problem("an empty macro: write a condition, or a part of one")
			readable = false
		}
		if !ok {
			return
		}
		m := &macro{name: name, at: key, value: v, text: text}
		if !readable {
			m.state = finished
		}
		x.macros[name] = m
	})
}

// compileMacros writes all macros out and checks each by itself, so that what
// is wrong with it is said where it stands.
func (x *lexicon) compileMacros(languages []*language) {
	for _, name := range slices.Sorted(maps.Keys(x.macros)) {
		x.macros[name].compile(x, languages, nil)
	}
}

// compile writes the macro out. Path is the macros that led to it.
func (m *macro) compile(x *lexicon, languages []*language, path []string) {
	if m.state == finished {
		return
	}
	m.state = expanding
	defer func() { m.state = finished }()
	c := &compiler{languages: languages, lexicon: x, kinds: judged, at: m.value, source: common.NewTextSource(m.text), reported: map[string]bool{}}
	parsed, issues := languages[0].env.Parse(m.text)
	if c.issues(issues) {
		return
	}
	expr := parsed.NativeRep().Expr()
	if !c.known(parsed, c.read(expr)) || !c.expand(parsed, append(path, m.name)) {
		return
	}
	chosen := c.choose(parsed, c.read(expr))
	written := ast.NewExprFactory().CopyExpr(expr) // to be checked changes it
	for _, l := range chosen {
		if _, issues := l.env.Check(parsed); c.issues(issues) {
			return
		}
	}
	if len(chosen) > 0 {
		m.expr, m.nodes = written, nodes(written)
	}
}

// expand writes out the macros in a parsed expression. It is false if one of
// them is wrong, which was said already, or if they cannot be written out.
func (c *compiler) expand(parsed *cel.Ast, path []string) bool {
	native := parsed.NativeRep()
	info, next := native.SourceInfo(), ast.MaxID(native)
	ok, total := true, nodes(native.Expr())
	ast.PostOrderVisit(native.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		name, is := macroName(e)
		if !is || !ok {
			return
		}
		m := c.lexicon.macros[name]
		if m.state == expanding {
			c.problem(parsed, e.ID(), fmt.Sprintf("macros.%s is written out in itself: %s", name, strings.Join(append(path[slices.Index(path, name):], name), " -> ")))
			ok = false
			return
		}
		m.compile(c.lexicon, c.languages, path)
		if path == nil {
			m.use()
		} else {
			c.lexicon.macros[path[len(path)-1]].needs = append(c.lexicon.macros[path[len(path)-1]].needs, m)
		}
		if m.expr == nil {
			ok = false
			return
		}
		if total += m.nodes; total > maxNodes {
			c.problem(parsed, e.ID(), fmt.Sprintf("with its macros written out this is too long: more than %d names, values and operators", maxNodes))
			ok = false
			return
		}
		at, _ := info.GetOffsetRange(e.ID())
		written := ast.NewExprFactory().CopyExpr(m.expr)
		fresh := map[int64]int64{}
		written.RenumberIDs(func(id int64) int64 {
			if fresh[id] == 0 {
				next++
				fresh[id] = next
				info.SetOffsetRange(next, at) // its problems are at the place where it is used
			}
			return fresh[id]
		})
		e.SetKindCase(written)
	}))
	return ok
}

// use notes that a rule needs the macro, and all that it is made of.
func (m *macro) use() {
	if m.used.Swap(true) {
		return
	}
	for _, other := range m.needs {
		other.use()
	}
}

// macroName is the name of the macro that e is.
func macroName(e ast.Expr) (name string, ok bool) {
	if e.Kind() != ast.SelectKind || e.AsSelect().IsTestOnly() {
		return "", false
	}
	of := e.AsSelect().Operand()
	if of.Kind() != ast.IdentKind || strings.TrimPrefix(of.AsIdent(), ".") != "macros" {
		return "", false
	}
	return e.AsSelect().FieldName(), true
}

func nodes(e ast.Expr) (n int) {
	ast.PostOrderVisit(e, ast.NewExprVisitor(func(ast.Expr) { n++ }))
	return n
}

// use notes which lists a condition needs.
func (x *lexicon) use(r *reading) {
	for _, m := range r.mentions {
		if name, ok := strings.CutPrefix(m.path, "lists."); ok && x.lists[name] != nil {
			x.lists[name].used.Store(true)
		}
	}
}
