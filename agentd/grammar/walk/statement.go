package walk

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// isQuery says whether node is a statement that is no utility.
func isQuery(node *pg.Node) bool {
	switch node.GetNode().(type) {
	case *pg.Node_SelectStmt, *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
		return true
	}
	return false
}

// statement reads a statement, or one inside another, and returns its result,
// nil if it has none.
func (w *walker) statement(node *pg.Node, outer *scope) *shape {
	if !w.enter() {
		w.leave()
		return nil
	}
	defer w.leave()
	switch n := node.GetNode().(type) {
	case *pg.Node_SelectStmt:
		return w.selectStmt(n.SelectStmt, outer)
	case *pg.Node_InsertStmt:
		return w.insertStmt(n.InsertStmt, outer)
	case *pg.Node_UpdateStmt:
		return w.updateStmt(n.UpdateStmt, outer)
	case *pg.Node_DeleteStmt:
		return w.deleteStmt(n.DeleteStmt, outer)
	case *pg.Node_MergeStmt:
		return w.mergeStmt(n.MergeStmt, outer)
	}
	return w.utility(node, outer)
}

// utility reads a statement that is no query, but may hold one.
func (w *walker) utility(node *pg.Node, outer *scope) *shape {
	switch n := node.GetNode().(type) {
	case *pg.Node_CopyStmt:
		return w.copyStmt(n.CopyStmt, outer)
	case *pg.Node_ExplainStmt:
		return w.explainStmt(n.ExplainStmt, outer)
	case *pg.Node_PrepareStmt:
		w.verb("prepare")
		for _, t := range n.PrepareStmt.Argtypes {
			w.typed(t.GetTypeName())
		}
		return w.statement(n.PrepareStmt.Query, outer)
	case *pg.Node_ExecuteStmt:
		w.verb("execute")
		w.exprs(n.ExecuteStmt.Params, inside(outer))
		return w.opaque()
	case *pg.Node_DeallocateStmt:
		w.verb("deallocate")
	case *pg.Node_DeclareCursorStmt:
		w.verb("declare")
		return w.statement(n.DeclareCursorStmt.Query, outer)
	case *pg.Node_FetchStmt:
		if n.FetchStmt.Ismove {
			w.verb("move")
			return nil
		}
		w.verb("fetch")
		return w.unclearShape()
	case *pg.Node_ClosePortalStmt:
		w.verb("close")
	case *pg.Node_CallStmt:
		w.verb("call")
		w.st.Opaque = true
		return &shape{open: true, further: w.funcCall(n.CallStmt.Funccall, inside(outer))}
	case *pg.Node_DoStmt:
		w.verb("do")
		w.st.Opaque = true
	case *pg.Node_LoadStmt:
		w.verb("load")
		w.st.Opaque = true
	case *pg.Node_TransactionStmt:
		w.transaction(n.TransactionStmt)
	case *pg.Node_VariableSetStmt:
		w.variableSet(n.VariableSetStmt)
	case *pg.Node_VariableShowStmt:
		w.verb("show")
		return w.settings(n.VariableShowStmt.Name)
	case *pg.Node_ConstraintsSetStmt:
		w.verb("set")
	case *pg.Node_DiscardStmt:
		w.verb("discard")
		if n.DiscardStmt.Target == pg.DiscardMode_DISCARD_ALL {
			w.sets("*")
		}
	case *pg.Node_NotifyStmt:
		w.verb("notify")
	case *pg.Node_ListenStmt:
		w.verb("listen")
	case *pg.Node_UnlistenStmt:
		w.verb("unlisten")
	case *pg.Node_CheckPointStmt:
		w.verb("checkpoint")
	case *pg.Node_LockStmt:
		w.verb("lock")
		w.relations(n.LockStmt.Relations, false)
	case *pg.Node_TruncateStmt:
		w.verb("truncate")
		w.relations(n.TruncateStmt.Relations, true)
	case *pg.Node_VacuumStmt:
		w.vacuum(n.VacuumStmt)
	case *pg.Node_ReindexStmt:
		w.verb("reindex")
		w.table(n.ReindexStmt.Relation, true)
	case *pg.Node_ReturnStmt: // of a function's body
		v := w.expr(n.ReturnStmt.Returnval, inside(outer))
		return &shape{columns: []column{{value: v}}}
	default:
		return w.definition(node, outer)
	}
	return nil
}

// opaque is the result of a statement that is not in the text.
func (w *walker) opaque() *shape {
	w.st.Opaque = true
	return w.unclearShape()
}

// explainStmt reads EXPLAIN, which shows conditions and counts of all that its
// statement touches, and with ANALYZE runs it.
func (w *walker) explainStmt(s *pg.ExplainStmt, outer *scope) *shape {
	w.verb("explain")
	result := w.statement(s.Query, outer)
	v := value{of: w.union(w.columns, w.predicates)}
	if result != nil {
		v = w.both(v, result.all(w))
	}
	for f := range w.functions {
		v = w.both(v, value{of: w.function(f)})
	}
	return &shape{columns: []column{{name: "QUERY PLAN", sure: true, value: shown(v)}}}
}

// relations notes a list of relations.
func (w *walker) relations(list []*pg.Node, write bool) {
	for _, node := range list {
		rv := node.GetRangeVar()
		if rv == nil {
			w.unknown("a relation", node)
			continue
		}
		w.table(rv, write)
	}
}

// vacuum reads VACUUM and ANALYZE.
func (w *walker) vacuum(s *pg.VacuumStmt) {
	if s.IsVacuumcmd {
		w.verb("vacuum")
	} else {
		w.verb("analyze")
	}
	for _, node := range s.Rels {
		rel := node.GetVacuumRelation()
		w.table(rel.GetRelation(), false)
		for _, name := range stringsOf(rel.GetVaCols()) {
			w.use(w.ofTable(rel.GetRelation(), name))
		}
	}
}

// settings is the result of SHOW.
func (w *walker) settings(name string) *shape {
	s := &shape{columns: []column{{name: name, sure: true}}}
	if name == "all" {
		s.columns = make([]column, 3)
	}
	return s
}
