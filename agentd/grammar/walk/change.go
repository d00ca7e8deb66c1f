package walk

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"agentd.dev/decoders/sql"
)

// target is the relation that a statement writes, for names to refer to.
func (w *walker) target(rv *pg.RangeVar) (*relation, sql.Ref) {
	r := w.rangeVar(rv, nil, true)
	return r, sql.Ref{Schema: schemaOf(rv), Table: rv.GetRelname()}
}

// insertStmt reads INSERT.
func (w *walker) insertStmt(s *pg.InsertStmt, outer *scope) *shape {
	w.verb("insert")
	outer = w.withClause(s.WithClause, outer)
	t, to := w.target(s.Relation)
	inserted := new(shape)
	var rows []*pg.Node // of VALUES
	if s.SelectStmt != nil {
		if sel := s.SelectStmt.GetSelectStmt(); sel != nil && len(sel.ValuesLists) > 0 && sel.Op == pg.SetOperation_SETOP_NONE {
			in := w.withClause(sel.WithClause, outer)
			rows = sel.ValuesLists
			inserted = w.rows(sel.ValuesLists, inside(in))
			w.tail(sel, inside(in), inserted)
		} else {
			inserted = w.query(s.SelectStmt, outer)
		}
	}
	var names []string
	for _, node := range s.Cols {
		col := node.GetResTarget()
		if col == nil {
			w.unknown("a column of INSERT", node)
			continue
		}
		for _, step := range col.Indirection {
			w.decides(w.step(step, inside(outer)))
		}
		names = append(names, col.Name)
	}
	if s.SelectStmt != nil {
		w.inserts(to, names, rows)
	}
	// Without a list, which columns of the result go where is not known, nor is
	// it of rows that look shorter than the list.
	row := &shape{open: true, further: inserted.all(w)}
	exact := len(rows) == 0 || len(names) == len(inserted.columns) && !slices.ContainsFunc(rows, func(row *pg.Node) bool {
		return len(row.GetList().GetItems()) != len(names)
	})
	for i, c := range inserted.columns {
		to.Column = "*"
		switch {
		case inserted.open:
			continue
		case i < len(names) && exact:
			to.Column = names[i]
			row.columns = append(row.columns, column{names[i], true, c.value})
		}
		w.moved(to, c.value)
	}
	if inserted.open {
		to.Column = "*"
		w.moved(to, inserted.all(w))
	}
	w.onConflict(s.OnConflictClause, t, row, names, to, outer)
	return w.returning(s.ReturningList, t, outer, t)
}

// inserts notes which columns rows give values to, all if they have no names.
func (w *walker) inserts(to sql.Ref, names []string, rows []*pg.Node) {
	if len(names) == 0 {
		to.Column = "*"
		w.wrote("insert", to)
		return
	}
	for i, name := range names {
		if len(rows) > 0 && !slices.ContainsFunc(rows, func(row *pg.Node) bool {
			items := row.GetList().GetItems() // literals are left out of those that look shorter
			return len(items) != len(names) || !unguessed(items[i])
		}) {
			continue
		}
		to.Column = name
		w.wrote("insert", to)
	}
}

// unguessed reports whether a value that is written is DEFAULT or NULL.
func unguessed(node *pg.Node) bool {
	return node.GetSetToDefault() != nil || node.GetAConst().GetIsnull()
}

// onConflict reads ON CONFLICT, in which excluded is the row that was refused.
func (w *walker) onConflict(c *pg.OnConflictClause, t *relation, row *shape, names []string, to sql.Ref, outer *scope) {
	if c == nil {
		return
	}
	sc := inside(outer, t, &relation{shape: row, alias: "excluded", qualified: true})
	if c.Infer != nil {
		for _, node := range c.Infer.IndexElems {
			w.decides(w.indexElem(node, inside(outer, t)))
		}
		w.decides(w.expr(c.Infer.WhereClause, inside(outer, t)))
	}
	switch {
	case c.Action == pg.OnConflictAction_ONCONFLICT_UPDATE:
		w.verb("update")
	case c.Infer == nil: // whether there is a row shows whether there was one of the same values
		if len(names) == 0 {
			names = []string{"*"}
		}
		for _, name := range names {
			to.Column = name
			w.decides(w.use(value{of: w.column(to)}))
		}
	}
	w.assigned(c.TargetList, to, sc)
	w.decides(w.expr(c.WhereClause, sc))
}

// updateStmt reads UPDATE.
func (w *walker) updateStmt(s *pg.UpdateStmt, outer *scope) *shape {
	w.verb("update")
	w.st.HasWhere = w.st.HasWhere && s.WhereClause != nil
	outer = w.withClause(s.WithClause, outer)
	t, to := w.target(s.Relation)
	sc, star := w.beside(t, s.FromClause, outer)
	w.assigned(s.TargetList, to, sc)
	w.decides(w.expr(s.WhereClause, sc))
	return w.returned(s.ReturningList, t, sc, star)
}

// deleteStmt reads DELETE.
func (w *walker) deleteStmt(s *pg.DeleteStmt, outer *scope) *shape {
	w.verb("delete")
	w.st.HasWhere = w.st.HasWhere && s.WhereClause != nil
	outer = w.withClause(s.WithClause, outer)
	t, to := w.target(s.Relation)
	w.wrote("delete", to)
	sc, star := w.beside(t, s.UsingClause, outer)
	w.decides(w.expr(s.WhereClause, sc))
	return w.returned(s.ReturningList, t, sc, star)
}

// mergeStmt reads MERGE.
func (w *walker) mergeStmt(s *pg.MergeStmt, outer *scope) *shape {
	w.verb("merge")
	outer = w.withClause(s.WithClause, outer)
	t, to := w.target(s.Relation)
	from, star := w.from([]*pg.Node{s.SourceRelation}, outer)
	sc := *from
	sc.relations = append([]*relation{t}, from.relations...)
	all := new(shape)
	all.join(w, star) // RETURNING *: the source, then the target
	all.join(w, t.shape)
	w.decides(w.expr(s.JoinCondition, &sc))
	for _, node := range s.MergeWhenClauses {
		when := node.GetMergeWhenClause()
		if when == nil {
			w.unknown("a branch of MERGE", node)
			continue
		}
		w.decides(w.expr(when.Condition, &sc))
		switch when.CommandType {
		case pg.CmdType_CMD_UPDATE:
			w.verb("update")
			w.assigned(when.TargetList, to, &sc)
		case pg.CmdType_CMD_DELETE:
			w.verb("delete")
			w.wrote("delete", to)
		case pg.CmdType_CMD_INSERT:
			w.verb("insert")
			w.mergeInsert(when, to, &sc)
		case pg.CmdType_CMD_NOTHING:
		default:
			w.unknown("a branch of MERGE", node)
		}
	}
	return w.returned(s.ReturningList, t, &sc, all)
}

// mergeInsert reads the INSERT of a MERGE.
func (w *walker) mergeInsert(when *pg.MergeWhenClause, to sql.Ref, sc *scope) {
	row := w.targetsOf(when.Values, sc)
	var names []string
	for _, node := range when.TargetList {
		names = append(names, node.GetResTarget().GetName())
	}
	exact := len(when.Values) == len(names) // otherwise literals were left out
	if len(when.Values) > 0 {
		w.inserts(to, names, []*pg.Node{{Node: &pg.Node_List{List: &pg.List{Items: when.Values}}}})
	}
	to.Column = "*"
	if row.open {
		w.moved(to, row.all(w))
		return
	}
	for i, c := range row.columns {
		to.Column = "*"
		if i < len(when.TargetList) {
			t := when.TargetList[i].GetResTarget()
			if exact {
				to.Column = t.GetName()
			}
			for _, step := range t.GetIndirection() {
				w.decides(w.step(step, sc))
			}
		}
		w.moved(to, c.value)
	}
}

// beside is the scope of a target and of what is joined to it.
func (w *walker) beside(t *relation, list []*pg.Node, outer *scope) (*scope, *shape) {
	from, star := w.from(list, outer)
	sc := *from
	sc.relations = append([]*relation{t}, from.relations...)
	all := new(shape)
	all.join(w, t.shape)
	all.join(w, star)
	return &sc, all
}

// assigned reads the assignments of an UPDATE.
func (w *walker) assigned(list []*pg.Node, to sql.Ref, sc *scope) {
	var source []value
	for _, node := range list {
		t := node.GetResTarget()
		if t == nil {
			w.unknown("an assignment", node)
			continue
		}
		for _, step := range t.Indirection {
			w.decides(w.step(step, sc))
		}
		to.Column = t.Name
		if !unguessed(t.Val) {
			w.wrote("update", to)
		}
		multi := t.Val.GetMultiAssignRef()
		if multi == nil {
			w.moved(to, w.expr(t.Val, sc))
			continue
		}
		// Each of (a, b) = ... has a copy of the source; the first is read.
		if multi.Colno == 1 || source == nil {
			source = w.several(multi, sc)
		}
		v := source[0]
		if n := int(multi.Colno); n > 0 && n < len(source) {
			v = source[n]
		}
		w.moved(to, v)
	}
}

// several reads the source of an assignment to several columns. What column n
// gets has index n; index 0 is what any gets.
func (w *walker) several(ref *pg.MultiAssignRef, sc *scope) []value {
	if row := ref.Source.GetRowExpr(); row != nil {
		values := make([]value, 1, len(row.Args)+1)
		for _, arg := range row.Args {
			v := w.expr(arg, sc)
			values = append(values, v)
			values[0] = w.both(values[0], v)
		}
		if len(row.Args) != int(ref.Ncolumns) { // t.* among them
			return values[:1]
		}
		return values
	}
	link := ref.Source.GetSubLink()
	if link == nil {
		return []value{derived(w.expr(ref.Source, sc))}
	}
	result, decided := w.inner(link, sc)
	values := []value{w.both(decided, result.all(w))}
	for _, c := range result.columns {
		if !result.open {
			values = append(values, w.both(decided, c.value))
		}
	}
	return values
}

// returning reads RETURNING beside one relation.
func (w *walker) returning(list []*pg.Node, t *relation, outer *scope, relations ...*relation) *shape {
	star := new(shape)
	star.join(w, t.shape)
	return w.returned(list, t, inside(outer, relations...), star)
}

// returned reads RETURNING, in which old and new are the target's rows.
func (w *walker) returned(list []*pg.Node, t *relation, sc *scope, star *shape) *shape {
	if len(list) == 0 {
		return nil
	}
	under := &scope{
		relations: []*relation{
			{shape: t.shape, alias: "old", qualified: true},
			{shape: t.shape, alias: "new", qualified: true},
		},
		outer: sc.outer, with: sc.with,
	}
	at := *sc
	at.outer = under
	return w.targets(list, &at, star, false)
}
