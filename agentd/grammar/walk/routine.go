package walk

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"agentd.dev/decoders/sql"
)

// createFunction reads CREATE FUNCTION and PROCEDURE. A body in a literal is
// not seen; one in SQL is read, and what it returns is moved into the function.
func (w *walker) createFunction(s *pg.CreateFunctionStmt) {
	w.ddl("create")
	w.typed(s.ReturnType)
	params := new(shape)
	for _, node := range s.Parameters {
		p := node.GetFunctionParameter()
		if p == nil {
			w.unknown("a parameter", node)
			continue
		}
		w.typed(p.ArgType)
		w.expr(p.Defexpr, nil)
		params.add(column{name: p.Name, sure: true})
	}
	if s.SqlBody == nil {
		w.st.Opaque = true
		return
	}
	name := qualified(s.Funcname)
	sc := inside(nil, &relation{shape: params, alias: name.Name})
	w.body(s.SqlBody, sc, sql.Ref{Schema: name.Schema, Table: name.Name})
}

// body reads the statements of a function.
func (w *walker) body(node *pg.Node, sc *scope, to sql.Ref) {
	if list, ok := node.GetNode().(*pg.Node_List); ok {
		for _, item := range list.List.Items {
			w.body(item, sc, to)
		}
		return
	}
	if node.GetNode() == nil {
		return
	}
	if result := w.statement(node, sc); result != nil {
		w.moved(to, result.all(w))
	}
}

// createTrigger reads CREATE TRIGGER. The function gets the rows.
func (w *walker) createTrigger(s *pg.CreateTrigStmt) {
	w.ddl("create")
	w.st.Opaque = true
	w.table(s.Relation, true)
	w.table(s.Constrrel, false)
	w.calls(qualified(s.Funcname))
	w.use(w.ofTable(s.Relation, "*"))
	w.decides(w.expr(s.WhenClause, w.oldAndNew(s.Relation)))
}

// oldAndNew is the scope of a rule's or trigger's conditions.
func (w *walker) oldAndNew(rv *pg.RangeVar) *scope {
	r := w.base(rv)
	return inside(nil, &relation{shape: r.shape, alias: "old"}, &relation{shape: r.shape, alias: "new"})
}

// ruleStmt reads CREATE RULE.
func (w *walker) ruleStmt(s *pg.RuleStmt) {
	w.ddl("create")
	w.table(s.Relation, true)
	sc := w.oldAndNew(s.Relation)
	w.decides(w.expr(s.WhereClause, sc))
	for _, node := range s.Actions {
		if node.GetNode() == nil {
			continue
		}
		result := w.statement(node, sc)
		if result != nil { // of a view, or of RETURNING
			w.stored(sql.Ref{Schema: schemaOf(s.Relation), Table: s.Relation.GetRelname()}, result)
		}
	}
}

// renameStmt reads ALTER ... RENAME: what was called by one name is by another.
func (w *walker) renameStmt(s *pg.RenameStmt) {
	w.ddl("alter")
	w.table(s.Relation, true)
	if s.RenameType == pg.ObjectType_OBJECT_SCHEMA {
		w.moved(sql.Ref{Schema: s.Newname, Column: "*"}, value{of: w.column(sql.Ref{Schema: s.Subname, Column: "*"}), plain: true})
	}
	if s.Relation == nil {
		return
	}
	to := sql.Ref{Schema: schemaOf(s.Relation), Table: s.Relation.Relname, Column: s.Newname}
	switch s.RenameType {
	case pg.ObjectType_OBJECT_COLUMN, pg.ObjectType_OBJECT_ATTRIBUTE:
		w.moved(to, w.ofTable(s.Relation, s.Subname))
	case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW,
		pg.ObjectType_OBJECT_FOREIGN_TABLE:
		to.Table, to.Column = s.Newname, "*"
		w.moved(to, w.ofTable(s.Relation, "*"))
	}
}

// dropStmt reads DROP.
func (w *walker) dropStmt(s *pg.DropStmt) {
	w.ddl("drop")
	for _, node := range s.Objects {
		w.object(s.RemoveType, node)
	}
}

// object notes the relation that a statement about an object is about.
func (w *walker) object(t pg.ObjectType, node *pg.Node) {
	names := stringsOf(node.GetList().GetItems())
	switch t {
	case pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW,
		pg.ObjectType_OBJECT_FOREIGN_TABLE, pg.ObjectType_OBJECT_SEQUENCE:
	case pg.ObjectType_OBJECT_COLUMN, pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_RULE,
		pg.ObjectType_OBJECT_POLICY, pg.ObjectType_OBJECT_TABCONSTRAINT:
		names = names[:max(len(names)-1, 0)]
	default:
		return
	}
	switch n := len(names); n {
	case 0:
	case 1:
		w.named(sql.Table{Table: names[0], Write: true})
	default:
		w.named(sql.Table{Schema: names[n-2], Table: names[n-1], Write: true})
	}
}

// grantStmt reads GRANT and REVOKE.
func (w *walker) grantStmt(s *pg.GrantStmt) {
	if s == nil {
		w.fail("a GRANT of nothing")
		return
	}
	if s.IsGrant {
		w.ddl("grant")
	} else {
		w.ddl("revoke")
	}
	for _, node := range s.Objects {
		w.table(node.GetRangeVar(), true)
	}
}
