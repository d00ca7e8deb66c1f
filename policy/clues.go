package policy

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"agentd.dev/decoders"
)

// A clue is something of an event: that a field is a text or has it among its
// entries, or, with prefix, one that begins with it.
type clue struct {
	field  string
	text   string
	prefix bool
}

// A detective finds clues in conditions on events of one language.
type detective struct {
	*lexicon
	language *language
	own      map[string]string // variables of the condition: entries of which field
}

// clues returns clues of which an event has one at least if the condition holds,
// nil if there are none to go by. Without any of them the condition is false,
// whatever the rest of it comes to, if the fields of all clues are known.
func (d *detective) clues(e ast.Expr) []clue {
	switch e.Kind() {
	case ast.CallKind:
		return d.call(e.AsCall())
	case ast.ComprehensionKind:
		return d.exists(e.AsComprehension())
	}
	return nil
}

func (d *detective) call(c ast.CallExpr) []clue {
	args := c.Args()
	if c.IsMemberFunction() {
		if c.FunctionName() != "startsWith" || len(args) != 1 {
			return nil
		}
		return d.compare(c.Target(), args, true)
	}
	if len(args) != 2 {
		return nil
	}
	switch c.FunctionName() {
	case operators.LogicalAnd: // one side is enough: that which says more
		left, right := d.clues(args[0]), d.clues(args[1])
		if left == nil || right != nil && len(right) < len(left) {
			return right
		}
		return left
	case operators.LogicalOr:
		left, right := d.clues(args[0]), d.clues(args[1])
		if left == nil || right == nil {
			return nil
		}
		return append(left[:len(left):len(left)], right...)
	case operators.Equals:
		if args[0].Kind() == ast.LiteralKind {
			args = []ast.Expr{args[1], args[0]}
		}
		return d.compare(args[0], args[1:], false)
	case operators.In:
		return d.in(args[0], args[1])
	}
	return nil
}

// in is `field in [...]`, `field in lists.NAME` and `"text" in field`.
func (d *detective) in(e, list ast.Expr) []clue {
	if list.Kind() == ast.ListKind {
		return d.compare(e, list.AsList().Elements(), false)
	}
	path, _, ok := chain(list)
	if !ok {
		return nil
	}
	if texts := d.texts(path); texts != nil {
		return d.has(e, texts)
	}
	if text, ok := literal(e); ok && d.is(path, decoders.Strings) {
		return []clue{{field: path, text: text}}
	}
	return nil
}

// compare is a field, or one of its entries, compared with constants.
func (d *detective) compare(e ast.Expr, values []ast.Expr, prefix bool) []clue {
	var texts []string
	for _, v := range values {
		text, ok := literal(v)
		if !ok || prefix && text == "" {
			return nil
		}
		texts = append(texts, text)
	}
	found := d.has(e, texts)
	for i := range found {
		found[i].prefix = prefix
	}
	return found
}

func (d *detective) has(e ast.Expr, texts []string) (found []clue) {
	path, _, ok := chain(e)
	if !ok {
		return nil
	}
	field, own := d.own[path]
	if !own {
		if !d.is(path, decoders.String) {
			return nil
		}
		field = path
	}
	for _, text := range texts {
		found = append(found, clue{field: field, text: text})
	}
	return found
}

// exists is `field.exists(v, ...)`.
func (d *detective) exists(c ast.ComprehensionExpr) []clue {
	path, _, ok := chain(c.IterRange())
	step := c.LoopStep()
	if !ok || !d.is(path, decoders.Strings) || c.HasIterVar2() || c.AccuInit().Kind() != ast.LiteralKind ||
		c.AccuInit().AsLiteral() != types.False || step.Kind() != ast.CallKind || step.AsCall().FunctionName() != operators.LogicalOr {
		return nil
	}
	args := step.AsCall().Args()
	if len(args) != 2 || !variableIs(args[0], c.AccuVar()) || !variableIs(c.Result(), c.AccuVar()) {
		return nil
	}
	outer, shadowed := d.own[c.IterVar()]
	d.own[c.IterVar()] = path
	found := d.clues(args[1])
	delete(d.own, c.IterVar())
	if shadowed {
		d.own[c.IterVar()] = outer
	}
	return found
}

func variableIs(e ast.Expr, name string) bool {
	return e.Kind() == ast.IdentKind && e.AsIdent() == name
}

// is reports whether path is a field of events, of that type.
func (d *detective) is(path string, t decoders.Type) bool {
	f, ok := d.language.fields[path]
	return ok && f.Type == t && !early(f)
}
