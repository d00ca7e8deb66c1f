package walk

import (
	"strconv"

	pg "github.com/pganalyze/pg_query_go/v6"

	"agentd.dev/decoders/sql"
)

// query reads a statement that may have a result, as CTEs and the like hold.
func (w *walker) query(node *pg.Node, outer *scope) *shape {
	if s := w.statement(node, outer); s != nil {
		return s
	}
	return new(shape)
}

// selectStmt reads SELECT, VALUES and set operations.
func (w *walker) selectStmt(s *pg.SelectStmt, outer *scope) *shape {
	exists := w.exists
	w.exists = false
	if !w.enter() || s == nil {
		w.leave()
		return w.unclearShape()
	}
	defer w.leave()
	outer = w.withClause(s.WithClause, outer)
	switch {
	case s.Op != pg.SetOperation_SETOP_NONE:
		return w.setOperation(s, outer)
	case len(s.ValuesLists) > 0:
		return w.values(s, outer)
	}
	w.verb("select")
	sc, star := w.from(s.FromClause, outer)
	w.windows(s.WindowClause, sc)
	result := w.targets(s.TargetList, sc, star, exists)
	w.decides(w.expr(s.WhereClause, sc))
	w.decides(w.expr(s.HavingClause, sc))
	for _, node := range s.GroupClause {
		w.grouped(node, sc, result)
	}
	for _, node := range s.DistinctClause {
		if node.GetNode() == nil { // DISTINCT without ON
			w.decides(result.all(w))
			continue
		}
		w.sorted(node, sc, result)
	}
	w.tail(s, sc, result)
	w.into(s.IntoClause, result)
	return result
}

// tail reads what may end a SELECT and a set operation.
func (w *walker) tail(s *pg.SelectStmt, sc *scope, result *shape) {
	for _, node := range s.SortClause {
		w.sorted(node, sc, result)
	}
	w.decides(w.expr(s.LimitOffset, sc))
	w.decides(w.expr(s.LimitCount, sc))
}

// targets reads a list of outputs. If unused, what a star brings does not count.
func (w *walker) targets(list []*pg.Node, sc *scope, star *shape, unused bool) *shape {
	result := new(shape)
	for _, node := range list {
		t := node.GetResTarget()
		if t == nil {
			w.unknown("an output", node)
			continue
		}
		if ref := t.Val.GetColumnRef(); ref != nil && isStar(ref.Fields) {
			s := w.star(ref, sc, star)
			if !unused {
				w.use(s.all(w))
			}
			result.join(w, s)
			continue
		}
		if ind := t.Val.GetAIndirection(); ind != nil && isStar(ind.Indirection) {
			result.join(w, &shape{open: true, further: derived(w.expr(t.Val, sc))})
			continue
		}
		name, sure := t.Name, true
		if name == "" {
			name, sure = figure(t.Val)
		}
		result.add(column{name, sure, w.expr(t.Val, sc)})
	}
	return result
}

// star is what * or t.* stands for.
func (w *walker) star(ref *pg.ColumnRef, sc *scope, all *shape) *shape {
	names := stringsOf(ref.Fields)
	switch len(names) {
	case 0:
		return all
	case 1:
		if r := sc.relation(names[0]); r != nil {
			return r.shape
		}
		return &shape{open: true, parts: []sql.Ref{{Table: names[0], Column: "*"}}}
	}
	name := qualified(ref.Fields[:len(ref.Fields)-1])
	s := new(shape)
	for _, r := range sc.relationsOf(name.Schema, name.Name) {
		s.join(w, r.shape)
	}
	if len(s.parts) == 0 {
		return &shape{open: true, parts: []sql.Ref{{Schema: name.Schema, Table: name.Name, Column: "*"}}}
	}
	return s
}

// sorted reads an item of ORDER BY or DISTINCT ON, which may be an output's
// name or number.
func (w *walker) sorted(node *pg.Node, sc *scope, result *shape) {
	if by := node.GetSortBy(); by != nil {
		w.decides(w.operator(by.UseOp))
		node = by.Node
	}
	w.decides(w.ofOutput(node, result))
	w.decides(w.expr(node, sc))
}

// ofOutput is the output that an item of ORDER BY or GROUP BY means. Numbers
// were taken out of the text: it is any.
func (w *walker) ofOutput(node *pg.Node, result *shape) value {
	if node.GetAConst() != nil {
		return result.all(w)
	}
	if names := stringsOf(node.GetColumnRef().GetFields()); len(names) == 1 {
		v, _, _ := result.named(w, names[0])
		return v
	}
	return value{}
}

// grouped reads an item of GROUP BY.
func (w *walker) grouped(node *pg.Node, sc *scope, result *shape) {
	if !w.enter() {
		w.leave()
		return
	}
	defer w.leave()
	switch n := node.GetNode().(type) {
	case *pg.Node_GroupingSet:
		for _, c := range n.GroupingSet.Content {
			w.grouped(c, sc, result)
		}
	case *pg.Node_RowExpr:
		for _, c := range n.RowExpr.Args {
			w.grouped(c, sc, result)
		}
	case *pg.Node_List:
		for _, c := range n.List.Items {
			w.grouped(c, sc, result)
		}
	default:
		w.sorted(node, sc, result)
	}
}

// values reads VALUES.
func (w *walker) values(s *pg.SelectStmt, outer *scope) *shape {
	w.verb("values")
	sc := inside(outer)
	result := w.rows(s.ValuesLists, sc)
	w.tail(s, sc, result)
	return result
}

// rows reads lists of values. Of a list of literals alone two are left, however
// many there were: other lists say how long it was, or nothing does.
func (w *walker) rows(lists []*pg.Node, sc *scope) *shape {
	result, known := new(shape), false
	for n, node := range lists {
		items := node.GetList().GetItems()
		row := w.targetsOf(items, sc)
		known = known || len(items) != 2 || items[0].GetAConst() == nil || items[1].GetAConst() == nil
		if n == 0 {
			result = row
		} else {
			result = w.anyOf(result, row)
		}
	}
	for i := range result.columns {
		if !result.open {
			result.columns[i].name, result.columns[i].sure = "column"+strconv.Itoa(i+1), true
		}
	}
	if !known {
		result.open, result.literals = true, true
	}
	return result
}

// targetsOf reads the values of a row, where t.* are the columns of t.
func (w *walker) targetsOf(list []*pg.Node, sc *scope) *shape {
	row := new(shape)
	for _, node := range list {
		if ref := node.GetColumnRef(); ref != nil && isStar(ref.Fields) {
			s := w.star(ref, sc, new(shape))
			w.use(s.all(w))
			row.join(w, s)
			continue
		}
		if ind := node.GetAIndirection(); ind != nil && isStar(ind.Indirection) {
			row.join(w, &shape{open: true, further: derived(w.expr(node, sc))})
			continue
		}
		row.add(column{"", false, w.expr(node, sc)})
	}
	return row
}

// setOperation reads UNION, INTERSECT and EXCEPT.
func (w *walker) setOperation(s *pg.SelectStmt, outer *scope) *shape {
	sc := inside(outer)
	left := w.selectStmt(s.Larg, sc)
	if c := w.reading[s]; c != nil { // which may refer to itself from here on
		c.first(w, left)
	}
	right := w.selectStmt(s.Rarg, sc)
	result := w.anyOf(left, right)
	if s.Op != pg.SetOperation_SETOP_UNION || !s.All {
		w.decides(left.all(w))
		w.decides(right.all(w))
	}
	w.tail(s, sc, result)
	// INTO stands in the first of the queries, and means them all.
	first := s.Larg
	for first.GetLarg() != nil {
		first = first.Larg
	}
	w.into(first.GetIntoClause(), result)
	return result
}

// anyOf is the shape of rows that are of one shape or the other.
func (w *walker) anyOf(left, right *shape) *shape {
	if left.open || right.open {
		all := right.all(w)
		s := &shape{open: true, parts: left.parts, further: w.both(left.further, all)}
		for _, c := range left.columns {
			s.columns = append(s.columns, column{c.name, c.sure, derived(w.both(c.value, all))})
		}
		return s
	}
	s := new(shape)
	for i := range max(len(left.columns), len(right.columns)) {
		switch {
		case i >= len(right.columns):
			s.add(left.columns[i])
		case i >= len(left.columns): // a row of literals was longer
			s.add(column{value: right.columns[i].value})
		default:
			c := left.columns[i]
			c.value = w.either(c.value, right.columns[i].value)
			s.add(c)
		}
	}
	return s
}

// into reads SELECT INTO.
func (w *walker) into(clause *pg.IntoClause, result *shape) {
	if clause == nil {
		return
	}
	w.verb("create")
	w.st.DDL = true
	w.kept = true
	w.made(clause.Rel, stringsOf(clause.ColNames), result)
}

// made notes a relation that is made of a result.
func (w *walker) made(rel *pg.RangeVar, names []string, result *shape) {
	w.table(rel, true)
	to := sql.Ref{Schema: schemaOf(rel), Table: rel.GetRelname()}
	w.stored(to, result.rename(w, names))
}

// stored notes that a result goes to a relation, whose columns have its names.
func (w *walker) stored(to sql.Ref, result *shape) {
	if result.open {
		to.Column = "*"
		w.moved(to, result.all(w))
		return
	}
	for _, c := range result.columns {
		to.Column = c.name
		w.moved(to, c.value)
	}
}
