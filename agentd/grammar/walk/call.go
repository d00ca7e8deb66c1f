package walk

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"agentd.dev/decoders/sql"
)

// funcCall reads a call, of an aggregate or window function as well.
func (w *walker) funcCall(f *pg.FuncCall, sc *scope) value {
	if f == nil {
		w.fail("a call of nothing")
		return value{of: w.unclearSet()}
	}
	name := qualified(f.Funcname)
	own := name.Schema == "" || name.Schema == "pg_catalog"
	if name.Name == "system_user" && f.Funcformat == pg.CoercionForm_COERCE_SQL_SYNTAX {
		w.since(16) // before, a column
	}
	v := w.exprs(f.Args, sc)
	// Of a column as it stands, count shows which values are NULL. Of anything
	// else it may show more: count(substring(a from '^x')).
	column := len(f.Args) == 0 || len(f.Args) == 1 && w.columnAsItStands(f.Args[0], sc)
	w.calledTotally(name.Name, own, f, v, sc)
	if f.AggDistinct {
		w.decides(v)
	}
	order := w.ordered(f.AggOrder, sc)
	filter := w.expr(f.AggFilter, sc)
	w.decides(filter)
	over := w.over(f.Over, sc)
	v = w.both(w.both(v, order), w.both(filter, over))
	counts := v.counts
	switch {
	case own && name.Name == "count":
		// Which rows there were in a window can show what orders them.
		counts = over.constant() && (column || v.constant())
	case !own || !keepsCounts[name.Name]:
		counts = false
	}
	// Wherever these are, and whatever is called so: dblink is in any schema.
	if keeps[name.Name] {
		w.moved(sql.Ref{}, derived(v))
	}
	if name.Name == "set_config" {
		w.sets("*")
	}
	v = derived(w.both(v, w.calls(name)))
	v.counts = counts
	if manyRows[name.Name] { // how many shows what it was called with
		w.decides(v)
	}
	if reads[name.Name] {
		w.st.Opaque = true
		v = shown(w.use(value{of: w.union(v.of, w.unclearSet())}))
	}
	return v
}

// columnAsItStands says whether an expression, which was read before, is a
// column.
func (w *walker) columnAsItStands(node *pg.Node, sc *scope) bool {
	return node.GetColumnRef() != nil && w.expr(node, sc).plain
}

// ordered reads an ORDER BY in a call or window.
func (w *walker) ordered(list []*pg.Node, sc *scope) value {
	var v value
	for _, node := range list {
		by := node.GetSortBy()
		if by == nil {
			w.unknown("an item of ORDER BY", node)
			continue
		}
		v = w.both(v, w.both(w.operator(by.UseOp), w.expr(by.Node, sc)))
	}
	w.decides(v)
	return v
}

// windows reads a WINDOW clause.
func (w *walker) windows(list []*pg.Node, sc *scope) {
	for _, node := range list {
		def := node.GetWindowDef()
		if def == nil {
			w.unknown("a window", node)
			continue
		}
		v := w.over(def, sc)
		if sc.windows == nil {
			sc.windows = make(map[string]value)
		}
		sc.windows[def.Name] = v
	}
}

// over is what decides which rows a window function sees, and in what order.
func (w *walker) over(def *pg.WindowDef, sc *scope) value {
	if def == nil {
		return value{}
	}
	v := w.exprs(def.PartitionClause, sc)
	w.decides(v)
	v = w.both(v, w.ordered(def.OrderClause, sc))
	ends := w.both(w.expr(def.StartOffset, sc), w.expr(def.EndOffset, sc))
	w.decides(ends)
	v = w.both(v, ends)
	for _, name := range []string{def.Refname, def.Name} {
		if sc != nil && name != "" {
			v = w.both(v, sc.windows[name])
		}
	}
	return v
}
