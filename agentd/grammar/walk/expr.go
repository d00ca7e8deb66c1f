package walk

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"agentd.dev/decoders/sql"
)

// exprs is what all of list are made of.
func (w *walker) exprs(list []*pg.Node, sc *scope) value {
	var v value
	for _, node := range list {
		v = w.both(v, w.expr(node, sc))
	}
	return v
}

// expr is what an expression is made of. What decides between values, in it or
// in queries inside it, counts, and is noted as a predicate.
func (w *walker) expr(node *pg.Node, sc *scope) value {
	if node.GetNode() == nil {
		return value{}
	}
	if !w.enter() {
		w.leave()
		return value{of: w.unclearSet()}
	}
	defer w.leave()
	switch n := node.GetNode().(type) {
	case *pg.Node_AConst, *pg.Node_ParamRef, *pg.Node_SetToDefault, *pg.Node_CurrentOfExpr,
		*pg.Node_SqlvalueFunction:
		return value{}
	case *pg.Node_MergeSupportFunc:
		w.since(17)
		return value{}
	case *pg.Node_ColumnRef:
		return w.columnRef(n.ColumnRef, sc)
	case *pg.Node_FuncCall:
		return w.funcCall(n.FuncCall, sc)
	case *pg.Node_NamedArgExpr:
		return w.expr(n.NamedArgExpr.Arg, sc)
	case *pg.Node_AExpr:
		return w.operation(n.AExpr, sc)
	case *pg.Node_BoolExpr:
		return w.compared(w.exprs(n.BoolExpr.Args, sc))
	case *pg.Node_NullTest:
		return w.compared(w.expr(n.NullTest.Arg, sc))
	case *pg.Node_BooleanTest:
		return w.compared(w.expr(n.BooleanTest.Arg, sc))
	case *pg.Node_SubLink:
		return w.subLink(n.SubLink, sc)
	case *pg.Node_CaseExpr:
		return w.caseExpr(n.CaseExpr, sc)
	case *pg.Node_CoalesceExpr:
		return derived(w.exprs(n.CoalesceExpr.Args, sc))
	case *pg.Node_MinMaxExpr:
		return derived(w.exprs(n.MinMaxExpr.Args, sc))
	case *pg.Node_TypeCast:
		w.typed(n.TypeCast.TypeName)
		v := derived(w.expr(n.TypeCast.Arg, sc))
		if !totalCast(n.TypeCast.TypeName) {
			w.mayFail(v)
		}
		return v
	case *pg.Node_CollateClause:
		return derived(w.expr(n.CollateClause.Arg, sc))
	case *pg.Node_AIndirection:
		return w.indirection(n.AIndirection, sc)
	case *pg.Node_AArrayExpr:
		return derived(w.exprs(n.AArrayExpr.Elements, sc))
	case *pg.Node_RowExpr:
		return derived(w.exprs(n.RowExpr.Args, sc))
	case *pg.Node_List:
		return derived(w.exprs(n.List.Items, sc))
	case *pg.Node_GroupingFunc:
		return derived(w.exprs(n.GroupingFunc.Args, sc))
	case *pg.Node_ResTarget: // a named argument of XML functions
		return w.expr(n.ResTarget.Val, sc)
	case *pg.Node_MultiAssignRef:
		return derived(w.expr(n.MultiAssignRef.Source, sc))
	}
	return w.document(node, sc)
}

// compared is what a comparison of v is made of.
func (w *walker) compared(v value) value {
	w.decides(v)
	return derived(v)
}

// columnRef reads a name: a, t.a, s.t.a, d.s.t.a, each with * in a's place, or t
// alone for its whole row.
func (w *walker) columnRef(ref *pg.ColumnRef, sc *scope) value {
	names := stringsOf(ref.Fields)
	if isStar(ref.Fields) {
		return w.use(w.star(ref, sc, everything(w, sc)).all(w))
	}
	switch len(names) {
	case 0:
		w.fail("a name without a name")
		return value{}
	case 1:
		return w.name(names[0], sc)
	case 2:
		if r := sc.relation(names[0]); r != nil {
			return w.member(r, names[1])
		}
		return w.use(value{of: w.column(sql.Ref{Table: names[0], Column: names[1]}), plain: true})
	}
	table := qualified(ref.Fields[:len(names)-1])
	name := names[len(names)-1]
	found := sc.relationsOf(table.Schema, table.Name)
	if len(found) == 0 {
		return w.use(value{of: w.column(sql.Ref{Schema: table.Schema, Table: table.Name, Column: name}), plain: true})
	}
	v := w.member(found[0], name)
	for _, r := range found[1:] {
		v = w.either(v, w.member(r, name))
	}
	return v
}

// everything is all that sc's innermost relations have.
func everything(w *walker, sc *scope) *shape {
	s := new(shape)
	for ; sc != nil && len(s.columns) == 0 && !s.open; sc = sc.outer {
		for _, r := range sc.relations {
			s.join(w, r.shape)
		}
	}
	return s
}

// operation reads an operator and its like.
func (w *walker) operation(e *pg.A_Expr, sc *scope) value {
	v := derived(w.both(w.expr(e.Lexpr, sc), w.expr(e.Rexpr, sc)))
	switch e.Kind {
	case pg.A_Expr_Kind_AEXPR_OP:
		if own := w.operator(e.Name); !own.constant() {
			v = shown(w.both(v, own))
		} else if computes[qualified(e.Name).Name] || e.Lexpr == nil {
			if qualified(e.Name).Name != "||" {
				w.mayFail(v)
			}
			return v
		}
		return w.compared(v)
	case pg.A_Expr_Kind_AEXPR_OP_ANY, pg.A_Expr_Kind_AEXPR_OP_ALL:
		if own := w.operator(e.Name); !own.constant() {
			v = shown(w.both(v, own))
		}
		return w.compared(v)
	case pg.A_Expr_Kind_AEXPR_BETWEEN, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN,
		pg.A_Expr_Kind_AEXPR_BETWEEN_SYM, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM:
		return w.compared(v) // their name is none of an operator
	case pg.A_Expr_Kind_AEXPR_DISTINCT, pg.A_Expr_Kind_AEXPR_NOT_DISTINCT, pg.A_Expr_Kind_AEXPR_NULLIF,
		pg.A_Expr_Kind_AEXPR_IN, pg.A_Expr_Kind_AEXPR_LIKE, pg.A_Expr_Kind_AEXPR_ILIKE, pg.A_Expr_Kind_AEXPR_SIMILAR:
		return w.compared(v)
	}
	w.fail("an operator of a kind that is not known")
	return value{of: w.unclearSet()}
}

// subLink reads a query in an expression.
func (w *walker) subLink(link *pg.SubLink, sc *scope) value {
	result, decided := w.inner(link, sc)
	test := w.expr(link.Testexpr, sc)
	own := w.operator(link.OperName)
	switch link.SubLinkType {
	case pg.SubLinkType_EXISTS_SUBLINK:
		return value{of: decided.of, counts: true}
	case pg.SubLinkType_EXPR_SUBLINK, pg.SubLinkType_ARRAY_SUBLINK, pg.SubLinkType_MULTIEXPR_SUBLINK:
		v := w.both(decided, result.all(w))
		v.counts = result.counts()
		return derived(v)
	case pg.SubLinkType_ALL_SUBLINK, pg.SubLinkType_ANY_SUBLINK, pg.SubLinkType_ROWCOMPARE_SUBLINK:
		return w.compared(w.both(w.both(w.both(decided, result.all(w)), test), own))
	}
	w.fail("a query of a kind that is not known in an expression")
	return value{of: w.unclearSet()}
}

// inner reads the query of a subLink. decided is what decides which rows it
// has.
func (w *walker) inner(link *pg.SubLink, sc *scope) (result *shape, decided value) {
	before := w.predicates
	w.predicates = nil
	w.exists = link.SubLinkType == pg.SubLinkType_EXISTS_SUBLINK
	result = w.query(link.Subselect, sc)
	w.exists = false
	decided.of = w.predicates
	w.predicates = w.union(before, w.predicates)
	return result, decided
}

// counts says that all columns of s are counts.
func (s *shape) counts() bool {
	for _, c := range s.columns {
		if !c.value.counts {
			return false
		}
	}
	return !s.open && len(s.columns) > 0
}

// caseExpr reads CASE.
func (w *walker) caseExpr(e *pg.CaseExpr, sc *scope) value {
	arg := w.expr(e.Arg, sc)
	w.decides(arg)
	v := w.both(arg, w.expr(e.Defresult, sc))
	for _, node := range e.Args {
		when := node.GetCaseWhen()
		if when == nil {
			w.unknown("a branch of CASE", node)
			continue
		}
		cond := w.expr(when.Expr, sc)
		w.decides(cond)
		v = w.both(w.both(v, cond), w.expr(when.Result, sc))
	}
	return derived(v)
}

// indirection reads (x).a, x[1], x[1:2] and (x).*.
func (w *walker) indirection(e *pg.A_Indirection, sc *scope) value {
	v := w.expr(e.Arg, sc)
	for _, node := range e.Indirection {
		v = w.both(v, w.step(node, sc))
		if node.GetAIndices() != nil { // NULL beyond the end
			w.mayFail(v)
		}
		name := node.GetString_().GetSval()
		if rowFunctions[name] { // (t).f is f(t), if there is no such column
			v = w.both(v, w.calls(sql.Qualified{Name: name}))
		} else if name != "" {
			w.attribute(sql.Ref{Column: name})
		}
	}
	return shown(v)
}

// step reads one part of an indirection.
func (w *walker) step(node *pg.Node, sc *scope) value {
	switch n := node.GetNode().(type) {
	case *pg.Node_String_, *pg.Node_AStar:
		return value{}
	case *pg.Node_AIndices:
		return w.both(w.expr(n.AIndices.Lidx, sc), w.expr(n.AIndices.Uidx, sc))
	}
	w.unknown("a part of a value", node)
	return value{of: w.unclearSet()}
}
