package walk

import pg "github.com/pganalyze/pg_query_go/v6"

// document is what an expression of SQL/XML or SQL/JSON is made of.
func (w *walker) document(node *pg.Node, sc *scope) value {
	var v value
	switch n := node.GetNode().(type) {
	case *pg.Node_XmlExpr:
		v = w.both(w.exprs(n.XmlExpr.NamedArgs, sc), w.exprs(n.XmlExpr.Args, sc))
	case *pg.Node_XmlSerialize:
		w.typed(n.XmlSerialize.TypeName)
		v = w.expr(n.XmlSerialize.Expr, sc)
	case *pg.Node_JsonFuncExpr:
		w.since(17)
		f := n.JsonFuncExpr
		w.jsonOutput(f.Output)
		v = w.both(w.jsonValue(f.ContextItem, sc), w.both(w.expr(f.Pathspec, sc), w.exprs(f.Passing, sc)))
		v = w.both(v, w.both(w.jsonBehavior(f.OnEmpty, sc), w.jsonBehavior(f.OnError, sc)))
		if f.Op == pg.JsonExprOp_JSON_EXISTS_OP {
			w.decides(v)
		}
	case *pg.Node_JsonObjectConstructor:
		w.since(16)
		w.jsonOutput(n.JsonObjectConstructor.Output)
		v = w.exprs(n.JsonObjectConstructor.Exprs, sc)
	case *pg.Node_JsonArrayConstructor:
		w.since(16)
		w.jsonOutput(n.JsonArrayConstructor.Output)
		v = w.exprs(n.JsonArrayConstructor.Exprs, sc)
	case *pg.Node_JsonArrayQueryConstructor:
		w.since(16)
		w.jsonOutput(n.JsonArrayQueryConstructor.Output)
		v = w.subLink(&pg.SubLink{
			SubLinkType: pg.SubLinkType_ARRAY_SUBLINK, Subselect: n.JsonArrayQueryConstructor.Query,
		}, sc)
	case *pg.Node_JsonObjectAgg:
		w.since(16)
		a := n.JsonObjectAgg
		key := w.expr(a.Arg.GetKey(), sc)
		w.mayFail(key) // if it is NULL, or there twice
		v = w.both(w.jsonAgg(a.Constructor, sc), w.both(key, w.jsonValue(a.Arg.GetValue(), sc)))
	case *pg.Node_JsonArrayAgg:
		w.since(16)
		v = w.both(w.jsonAgg(n.JsonArrayAgg.Constructor, sc), w.jsonValue(n.JsonArrayAgg.Arg, sc))
	case *pg.Node_JsonKeyValue:
		key := w.expr(n.JsonKeyValue.Key, sc)
		w.mayFail(key)
		v = w.both(key, w.jsonValue(n.JsonKeyValue.Value, sc))
	case *pg.Node_JsonValueExpr:
		v = w.jsonValue(n.JsonValueExpr, sc)
	case *pg.Node_JsonArgument:
		v = w.jsonValue(n.JsonArgument.Val, sc)
	case *pg.Node_JsonIsPredicate:
		w.since(16)
		v = w.compared(w.expr(n.JsonIsPredicate.Expr, sc))
	case *pg.Node_JsonParseExpr:
		w.since(17)
		w.jsonOutput(n.JsonParseExpr.Output)
		v = w.jsonValue(n.JsonParseExpr.Expr, sc)
	case *pg.Node_JsonScalarExpr:
		w.since(17)
		w.jsonOutput(n.JsonScalarExpr.Output)
		v = w.expr(n.JsonScalarExpr.Expr, sc)
	case *pg.Node_JsonSerializeExpr:
		w.since(17)
		w.jsonOutput(n.JsonSerializeExpr.Output)
		v = w.jsonValue(n.JsonSerializeExpr.Expr, sc)
	default:
		w.unknown("an expression", node)
		return value{of: w.unclearSet()}
	}
	switch node.GetNode().(type) {
	case *pg.Node_JsonArrayConstructor, *pg.Node_JsonArrayQueryConstructor, *pg.Node_JsonArrayAgg,
		*pg.Node_JsonObjectConstructor, *pg.Node_JsonObjectAgg, *pg.Node_JsonScalarExpr, *pg.Node_JsonIsPredicate,
		*pg.Node_JsonKeyValue, *pg.Node_JsonValueExpr, *pg.Node_JsonArgument:
		// Keys and what is parsed were noted where they are read.
	default:
		w.mayFail(v)
	}
	return derived(v)
}

// jsonValue reads a value with a format. Of its two forms a parser makes the
// raw one alone.
func (w *walker) jsonValue(e *pg.JsonValueExpr, sc *scope) value {
	if e == nil {
		return value{}
	}
	v := w.both(w.expr(e.RawExpr, sc), w.expr(e.FormattedExpr, sc))
	if e.Format.GetFormatType() == pg.JsonFormatType_JS_FORMAT_JSON { // it is parsed
		w.mayFail(v)
	}
	return v
}

func (w *walker) jsonBehavior(b *pg.JsonBehavior, sc *scope) value {
	return w.expr(b.GetExpr(), sc)
}

func (w *walker) jsonPath(p *pg.JsonTablePathSpec, sc *scope) value {
	return w.expr(p.GetString_(), sc)
}

func (w *walker) jsonOutput(o *pg.JsonOutput) {
	w.typed(o.GetTypeName())
}

// jsonAgg reads what JSON_OBJECTAGG and JSON_ARRAYAGG share.
func (w *walker) jsonAgg(c *pg.JsonAggConstructor, sc *scope) value {
	if c == nil {
		return value{}
	}
	w.jsonOutput(c.Output)
	filter := w.expr(c.AggFilter, sc)
	w.decides(filter)
	return w.both(w.both(filter, w.ordered(c.AggOrder, sc)), w.over(c.Over, sc))
}
