package walk

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"agentd.dev/decoders/sql"
)

// from reads a FROM list. It returns the scope of what stands beside it, and
// what * is.
func (w *walker) from(list []*pg.Node, outer *scope) (*scope, *shape) {
	sc := inside(outer)
	star := new(shape)
	for _, node := range list {
		item := w.fromItem(node, sc)
		if w.unclear != "" {
			break
		}
		sc = &scope{
			// Scopes that were handed out see fewer of the same; whoever else
			// adds to them copies them first.
			relations: append(sc.relations, item.relations...),
			outer:     outer, with: sc.with,
			merged: mergedNames(sc.merged, item.merged), natural: sc.natural || item.natural,
		}
		star.join(w, item.star)
	}
	return sc, star
}

// An item is one of a FROM list.
type item struct {
	relations []*relation
	star      *shape
	merged    map[string]bool
	natural   bool
}

// single is an item of one relation.
func single(r *relation) item { return item{relations: []*relation{r}, star: r.shape} }

// fromItem reads an item of a FROM list. In sc are those to its left, which
// functions and LATERAL see, and nothing else does.
func (w *walker) fromItem(node *pg.Node, sc *scope) item {
	nothing := single(&relation{shape: w.unclearShape()})
	if !w.enter() {
		w.leave()
		return nothing
	}
	defer w.leave()
	blind := &scope{outer: sc.outer, with: sc.with}
	switch n := node.GetNode().(type) {
	case *pg.Node_RangeVar:
		return single(w.rangeVar(n.RangeVar, sc, false))
	case *pg.Node_RangeSubselect:
		at := blind
		if n.RangeSubselect.Lateral {
			at = sc
		}
		return single(aliased(w, w.query(n.RangeSubselect.Subquery, at), n.RangeSubselect.Alias))
	case *pg.Node_RangeFunction:
		return single(w.rangeFunction(n.RangeFunction, sc))
	case *pg.Node_RangeTableFunc:
		return single(w.xmlTable(n.RangeTableFunc, sc))
	case *pg.Node_JsonTable:
		return single(w.jsonTable(n.JsonTable, sc))
	case *pg.Node_RangeTableSample:
		t := n.RangeTableSample
		if name := qualified(t.Method); !samplers[name.Name] || name.Schema != "" && name.Schema != "pg_catalog" {
			w.calls(name)
		}
		w.decides(w.exprs(t.Args, sc))
		w.decides(w.expr(t.Repeatable, sc))
		return w.fromItem(t.Relation, sc)
	case *pg.Node_JoinExpr:
		return w.joinExpr(n.JoinExpr, sc)
	}
	w.unknown("an item of FROM", node)
	return nothing
}

// rangeVar reads the name of a relation or CTE.
func (w *walker) rangeVar(rv *pg.RangeVar, sc *scope, write bool) *relation {
	if rv == nil {
		w.fail("a relation without a name")
		return &relation{shape: w.unclearShape()}
	}
	if rv.Schemaname == "" && !write {
		if c := sc.ctes().find(rv.Relname); c != nil {
			alias := rv.Alias
			if alias == nil {
				alias = &pg.Alias{Aliasname: rv.Relname}
			}
			return aliased(w, w.cteShape(c), alias)
		}
	}
	w.table(rv, write)
	r := w.base(rv)
	if rv.Alias == nil {
		return r
	}
	return aliased(w, r.shape, rv.Alias)
}

// base is a base relation under its own name.
func (w *walker) base(rv *pg.RangeVar) *relation {
	ref := sql.Ref{Schema: schemaOf(rv), Table: rv.GetRelname(), Column: "*"}
	return &relation{
		shape: &shape{open: true, parts: []sql.Ref{ref}},
		alias: ref.Table, base: ref,
	}
}

// aliased is a relation under an alias.
func aliased(w *walker, s *shape, alias *pg.Alias) *relation {
	if alias == nil {
		return &relation{shape: s}
	}
	return &relation{shape: s.rename(w, stringsOf(alias.Colnames)), alias: alias.Aliasname}
}

func (w *walker) joinExpr(j *pg.JoinExpr, sc *scope) item {
	w.work += len(sc.relations)
	left := w.fromItem(j.Larg, sc)
	right := w.fromItem(j.Rarg, &scope{
		relations: append(sc.relations[:len(sc.relations):len(sc.relations)], left.relations...),
		outer:     sc.outer, with: sc.with,
	})
	it := item{
		relations: append(left.relations[:len(left.relations):len(left.relations)], right.relations...),
		merged:    mergedNames(left.merged, right.merged),
		natural:   left.natural || right.natural || j.IsNatural,
	}
	using := stringsOf(j.UsingClause)
	for _, name := range using {
		it.merged = mergedNames(it.merged, map[string]bool{name: true})
	}
	switch {
	case j.IsNatural && (left.star.open || right.star.open):
		// Whichever columns they have in common.
		w.decides(w.use(left.star.all(w)))
		w.decides(w.use(right.star.all(w)))
	case j.IsNatural:
		using = common(left.star, right.star)
	}
	shared := new(shape)
	for _, name := range using {
		l, _, _ := left.star.named(w, name)
		r, _, _ := right.star.named(w, name)
		v := w.use(w.either(l, r))
		w.decides(v)
		shared.add(column{name, true, v})
	}
	it.star = new(shape)
	it.star.join(w, shared)
	it.star.join(w, left.star.without(using))
	it.star.join(w, right.star.without(using))
	if unsure := left.star.unsure() || right.star.unsure(); j.IsNatural && it.star.open || len(using) > 0 && unsure {
		// It is not known which columns become one, and so which is where.
		it.star.open, it.star.first, it.star.last = true, nil, nil
	}
	if j.Quals != nil {
		w.decides(w.expr(j.Quals, &scope{
			relations: it.relations, outer: sc.outer, with: sc.with, merged: it.merged, natural: it.natural,
		}))
	}
	if j.JoinUsingAlias != nil {
		r := aliased(w, shared, j.JoinUsingAlias)
		r.qualified = true
		it.relations = append(it.relations, r)
	}
	if j.Alias != nil {
		return single(aliased(w, it.star, j.Alias))
	}
	return it
}

// unsure says that some column may have any name.
func (s *shape) unsure() bool {
	return slices.ContainsFunc(s.columns, func(c column) bool { return !c.sure })
}

// without is s without the columns of these names.
func (s *shape) without(names []string) *shape {
	if len(names) == 0 {
		return s
	}
	out := map[string]bool{}
	for _, name := range names {
		out[name] = true
	}
	r := *s
	keep := func(list []column) (kept []column) {
		for _, c := range list {
			if !out[c.name] {
				kept = append(kept, c)
			}
		}
		return kept
	}
	r.columns, r.first, r.last = keep(s.columns), keep(s.first), keep(s.last)
	return &r
}

// common returns the names that both have.
func common(a, b *shape) (names []string) {
	in := map[string]bool{}
	for _, c := range b.columns {
		in[c.name] = true
	}
	for _, c := range a.columns {
		if in[c.name] {
			names = append(names, c.name)
		}
	}
	return names
}

func mergedNames(a, b map[string]bool) map[string]bool {
	if len(a) == 0 {
		return b
	}
	all := map[string]bool{}
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return all
}

// unclearShape is what nothing is known of.
func (w *walker) unclearShape() *shape {
	return &shape{open: true, further: value{of: w.unclearSet()}}
}
