package walk

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"agentd.dev/decoders/sql"
)

// createStmt reads CREATE TABLE.
func (w *walker) createStmt(s *pg.CreateStmt) {
	w.ddl("create")
	if s == nil || s.Relation == nil {
		w.fail("a table without a name")
		return
	}
	w.table(s.Relation, true)
	w.typed(s.OfTypename)
	all := sql.Ref{Schema: schemaOf(s.Relation), Table: s.Relation.Relname, Column: "*"}
	for _, node := range s.InhRelations { // parents, which show what is in the table
		if rv := node.GetRangeVar(); rv != nil {
			w.table(rv, false)
			w.inherits(all, rv)
		}
	}
	sc := inside(nil, w.base(s.Relation))
	for _, node := range append(s.TableElts[:len(s.TableElts):len(s.TableElts)], s.Constraints...) {
		switch n := node.GetNode().(type) {
		case *pg.Node_ColumnDef:
			w.columnDef(n.ColumnDef, s.Relation, sc)
		case *pg.Node_Constraint:
			w.constraint(n.Constraint, s.Relation, sc)
		case *pg.Node_TableLikeClause:
			w.table(n.TableLikeClause.Relation, false)
		default:
			w.unknown("a part of a table", node)
		}
	}
	for _, node := range s.Partspec.GetPartParams() {
		e := node.GetPartitionElem()
		w.expr(e.GetExpr(), sc)
	}
	w.bound(s.Partbound)
}

// inherits notes that a parent shows the rows of a child, and that what was
// asked of the parent is asked of the child.
func (w *walker) inherits(child sql.Ref, parent *pg.RangeVar) {
	w.moved(child, w.ofTable(parent, "*"))
	w.moved(sql.Ref{Schema: parent.Schemaname, Table: parent.Relname, Column: "*"}, value{of: w.column(child), plain: true})
}

// bound reads the expressions of a partition's bounds.
func (w *walker) bound(b *pg.PartitionBoundSpec) {
	if b == nil {
		return
	}
	for _, list := range [][]*pg.Node{b.Listdatums, b.Lowerdatums, b.Upperdatums} {
		for _, node := range list {
			if d := node.GetPartitionRangeDatum(); d != nil {
				node = d.Value
			}
			w.expr(node, nil)
		}
	}
}

// columnDef reads the definition of a column.
func (w *walker) columnDef(def *pg.ColumnDef, rv *pg.RangeVar, sc *scope) {
	w.typed(def.TypeName)
	to := sql.Ref{Schema: schemaOf(rv), Table: rv.GetRelname(), Column: def.Colname}
	w.moved(to, w.expr(def.RawDefault, sc))
	for _, node := range def.Constraints {
		c := node.GetConstraint()
		switch c.GetContype() {
		case pg.ConstrType_CONSTR_DEFAULT, pg.ConstrType_CONSTR_GENERATED:
			w.moved(to, w.expr(c.RawExpr, sc))
		default:
			w.constraint(c, rv, sc)
		}
	}
}

// constraint reads a constraint of a table, column or domain. Whether it is met
// shows something of what it checks.
func (w *walker) constraint(c *pg.Constraint, rv *pg.RangeVar, sc *scope) {
	if c == nil {
		w.fail("a constraint of a kind that is not known")
		return
	}
	w.decides(w.expr(c.RawExpr, sc))
	w.decides(w.expr(c.WhereClause, sc))
	for _, name := range append(stringsOf(c.Keys), stringsOf(c.FkAttrs)...) {
		w.decides(w.name(name, sc))
	}
	for _, node := range c.Exclusions { // (element, operator)
		items := node.GetList().GetItems()
		if len(items) != 2 {
			w.unknown("a part of an EXCLUDE constraint", node)
			continue
		}
		w.decides(w.indexElem(items[0], sc))
		w.decides(w.operator(items[1].GetList().GetItems()))
	}
	if c.Pktable != nil {
		w.table(c.Pktable, false)
		names := stringsOf(c.PkAttrs)
		if len(names) == 0 {
			names = []string{"*"} // its primary key
		}
		for _, name := range names {
			w.decides(w.use(w.ofTable(c.Pktable, name)))
		}
	}
}

// alterTable reads ALTER TABLE, also of views, indexes, types and the like.
func (w *walker) alterTable(s *pg.AlterTableStmt) {
	w.ddl("alter")
	w.table(s.Relation, true)
	sc := inside(nil, w.base(s.Relation))
	for _, node := range s.Cmds {
		cmd := node.GetAlterTableCmd()
		if cmd == nil {
			w.unknown("a part of ALTER TABLE", node)
			continue
		}
		w.alterCmd(cmd, s.Relation, sc)
	}
}

func (w *walker) alterCmd(cmd *pg.AlterTableCmd, rv *pg.RangeVar, sc *scope) {
	to := sql.Ref{Schema: schemaOf(rv), Table: rv.GetRelname(), Column: cmd.Name}
	switch d := cmd.Def.GetNode().(type) {
	case nil:
	case *pg.Node_ColumnDef:
		if d.ColumnDef.Colname == "" { // ALTER COLUMN TYPE ... USING
			w.typed(d.ColumnDef.TypeName)
			w.wrote("alter", to)
			w.moved(to, w.expr(d.ColumnDef.RawDefault, sc))
			return
		}
		w.columnDef(d.ColumnDef, rv, sc)
	case *pg.Node_Constraint:
		w.constraint(d.Constraint, rv, sc)
	case *pg.Node_RangeVar: // INHERIT and NO INHERIT
		w.table(d.RangeVar, false)
		w.inherits(sql.Ref{Schema: to.Schema, Table: to.Table, Column: "*"}, d.RangeVar)
	case *pg.Node_PartitionCmd: // ATTACH and DETACH
		w.table(d.PartitionCmd.Name, true)
		if cmd.Subtype == pg.AlterTableType_AT_AttachPartition {
			w.wrote("alter", sql.Ref{Schema: to.Schema, Table: to.Table, Column: "*"})
		}
		if name := d.PartitionCmd.Name; name != nil {
			w.inherits(sql.Ref{Schema: name.Schemaname, Table: name.Relname, Column: "*"}, rv)
		}
		w.bound(d.PartitionCmd.Bound)
	case *pg.Node_TypeName: // OF type
		w.typed(d.TypeName)
	case *pg.Node_List, *pg.Node_ReplicaIdentityStmt, *pg.Node_String_, *pg.Node_Integer, *pg.Node_RoleSpec:
		// Options, which hold no expressions.
	default: // SET DEFAULT, SET EXPRESSION
		if to.Column != "" {
			w.wrote("alter", to)
		}
		w.moved(to, w.expr(cmd.Def, sc))
	}
}

// indexStmt reads CREATE INDEX.
func (w *walker) indexStmt(s *pg.IndexStmt) {
	w.ddl("create")
	w.table(s.Relation, true)
	sc := inside(nil, w.base(s.Relation))
	for _, node := range append(s.IndexParams[:len(s.IndexParams):len(s.IndexParams)], s.IndexIncludingParams...) {
		w.decides(w.indexElem(node, sc))
	}
	w.decides(w.expr(s.WhereClause, sc))
}

// indexElem reads what an index is on.
func (w *walker) indexElem(node *pg.Node, sc *scope) value {
	e := node.GetIndexElem()
	if e == nil {
		w.unknown("a part of an index", node)
		return value{}
	}
	if e.Name != "" {
		return w.name(e.Name, sc)
	}
	return w.expr(e.Expr, sc)
}

// createStats reads CREATE STATISTICS, which keeps some of the values.
func (w *walker) createStats(s *pg.CreateStatsStmt) {
	w.ddl("create")
	sc, _ := w.from(s.Relations, nil)
	for _, node := range s.Exprs {
		e := node.GetStatsElem()
		if e == nil {
			w.unknown("a part of CREATE STATISTICS", node)
			continue
		}
		v := w.expr(e.Expr, sc)
		if e.Name != "" {
			v = w.name(e.Name, sc)
		}
		w.moved(sql.Ref{Schema: "pg_catalog", Table: "pg_statistic_ext_data", Column: "*"}, v)
	}
}
