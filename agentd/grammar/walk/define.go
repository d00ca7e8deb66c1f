package walk

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"agentd.dev/decoders/sql"
)

// ddl notes that the statement defines something.
func (w *walker) ddl(verb string) {
	w.verb(verb)
	w.st.DDL = true
}

// definition reads a statement that defines things.
func (w *walker) definition(node *pg.Node, outer *scope) *shape {
	switch n := node.GetNode().(type) {
	case *pg.Node_CreateTableAsStmt:
		s := n.CreateTableAsStmt
		w.ddl("create")
		w.made(s.Into.GetRel(), stringsOf(s.Into.GetColNames()), w.query(s.Query, outer))
	case *pg.Node_ViewStmt:
		s := n.ViewStmt
		w.ddl("create")
		w.made(s.View, stringsOf(s.Aliases), w.query(s.Query, outer))
	case *pg.Node_RefreshMatViewStmt:
		w.ddl("refresh")
		w.table(n.RefreshMatViewStmt.Relation, true)
	case *pg.Node_CreateSchemaStmt:
		w.ddl("create")
		for _, e := range n.CreateSchemaStmt.SchemaElts {
			w.statement(e, outer)
		}
	case *pg.Node_CreateStmt:
		w.createStmt(n.CreateStmt)
	case *pg.Node_CreateForeignTableStmt:
		w.createStmt(n.CreateForeignTableStmt.BaseStmt)
	case *pg.Node_AlterTableStmt:
		w.alterTable(n.AlterTableStmt)
	case *pg.Node_IndexStmt:
		w.indexStmt(n.IndexStmt)
	case *pg.Node_CreateStatsStmt:
		w.createStats(n.CreateStatsStmt)
	case *pg.Node_RuleStmt:
		w.ruleStmt(n.RuleStmt)
	case *pg.Node_CreatePolicyStmt:
		s := n.CreatePolicyStmt
		w.ddl("create")
		w.policy(s.Table, s.Qual, s.WithCheck)
	case *pg.Node_AlterPolicyStmt:
		s := n.AlterPolicyStmt
		w.ddl("alter")
		w.policy(s.Table, s.Qual, s.WithCheck)
	case *pg.Node_CreateTrigStmt:
		w.createTrigger(n.CreateTrigStmt)
	case *pg.Node_CreateEventTrigStmt:
		w.ddl("create")
		w.st.Opaque = true
		w.calls(qualified(n.CreateEventTrigStmt.Funcname))
	case *pg.Node_CreateFunctionStmt:
		w.createFunction(n.CreateFunctionStmt)
	case *pg.Node_CreateDomainStmt:
		s := n.CreateDomainStmt
		w.ddl("create")
		w.typed(s.TypeName)
		w.domain(s.Constraints)
	case *pg.Node_AlterDomainStmt:
		w.ddl("alter")
		if def := n.AlterDomainStmt.Def; def.GetConstraint() != nil {
			w.domain([]*pg.Node{def})
		} else { // SET DEFAULT
			w.expr(def, nil)
			if def.GetNode() != nil {
				w.wrote("alter", sql.Ref{Column: "*"}) // the columns of that type
			}
		}
	case *pg.Node_CreatePublicationStmt:
		s := n.CreatePublicationStmt
		w.ddl("create")
		w.published(s.Pubobjects, s.ForAllTables)
	case *pg.Node_AlterPublicationStmt:
		s := n.AlterPublicationStmt
		w.ddl("alter")
		w.published(s.Pubobjects, s.ForAllTables)
	case *pg.Node_RenameStmt:
		w.renameStmt(n.RenameStmt)
	case *pg.Node_AlterObjectSchemaStmt:
		s := n.AlterObjectSchemaStmt
		w.ddl("alter")
		w.table(s.Relation, true)
		if s.Relation != nil {
			w.moved(sql.Ref{Schema: s.Newschema, Table: s.Relation.Relname, Column: "*"}, w.ofTable(s.Relation, "*"))
		}
	case *pg.Node_DropStmt:
		w.dropStmt(n.DropStmt)
	case *pg.Node_CommentStmt:
		w.ddl("comment")
		w.object(n.CommentStmt.Objtype, n.CommentStmt.Object)
	case *pg.Node_SecLabelStmt:
		w.ddl("security")
		w.object(n.SecLabelStmt.Objtype, n.SecLabelStmt.Object)
	case *pg.Node_GrantStmt:
		w.grantStmt(n.GrantStmt)
	case *pg.Node_AlterDefaultPrivilegesStmt:
		w.ddl("alter")
		w.grantStmt(n.AlterDefaultPrivilegesStmt.Action)
	default:
		return w.plainDefinition(node)
	}
	return nil
}

// plainDefinition reads a definition that holds no expressions, and uses no
// columns.
func (w *walker) plainDefinition(node *pg.Node) *shape {
	name := kind(node)
	verb := plainVerbs[name]
	if verb == "" {
		w.unknown("a statement", node)
		return w.unclearShape()
	}
	w.ddl(verb)
	w.st.Opaque = w.st.Opaque || opaqueDefinitions[name]
	switch n := node.GetNode().(type) {
	case *pg.Node_GrantRoleStmt:
		if !n.GrantRoleStmt.IsGrant {
			w.st.Verbs[len(w.st.Verbs)-1] = "revoke"
		}
	case *pg.Node_CreateSeqStmt:
		w.table(n.CreateSeqStmt.Sequence, true)
	case *pg.Node_AlterSeqStmt:
		w.table(n.AlterSeqStmt.Sequence, true)
	case *pg.Node_AlterObjectDependsStmt:
		w.table(n.AlterObjectDependsStmt.Relation, true)
	case *pg.Node_AlterOwnerStmt:
		w.table(n.AlterOwnerStmt.Relation, true)
	case *pg.Node_ClusterStmt:
		w.table(n.ClusterStmt.Relation, true)
	case *pg.Node_CompositeTypeStmt:
		w.table(n.CompositeTypeStmt.Typevar, true)
		for _, node := range n.CompositeTypeStmt.Coldeflist {
			w.typed(node.GetColumnDef().GetTypeName())
		}
	case *pg.Node_DefineStmt: // the functions that an operator, aggregate or type is made of
		for _, node := range n.DefineStmt.Args { // a list of parameters, and a number
			for _, p := range node.GetList().GetItems() {
				w.typed(p.GetFunctionParameter().GetArgType())
			}
		}
		for _, node := range n.DefineStmt.Definition {
			if t := node.GetDefElem().GetArg().GetTypeName(); t != nil {
				w.calls(qualified(t.Names))
			}
		}
	case *pg.Node_CreateCastStmt:
		w.typed(n.CreateCastStmt.Sourcetype)
		w.typed(n.CreateCastStmt.Targettype)
		w.callsObject(n.CreateCastStmt.Func)
	case *pg.Node_CreateTransformStmt:
		w.typed(n.CreateTransformStmt.TypeName)
		w.callsObject(n.CreateTransformStmt.Fromsql)
		w.callsObject(n.CreateTransformStmt.Tosql)
	case *pg.Node_CreateConversionStmt:
		w.calls(qualified(n.CreateConversionStmt.FuncName))
	case *pg.Node_CreateOpClassStmt:
		w.typed(n.CreateOpClassStmt.Datatype)
		w.opItems(n.CreateOpClassStmt.Items)
	case *pg.Node_CreateRangeStmt:
		for _, node := range n.CreateRangeStmt.Params {
			w.typed(node.GetDefElem().GetArg().GetTypeName())
		}
	case *pg.Node_AlterOpFamilyStmt:
		w.opItems(n.AlterOpFamilyStmt.Items)
	}
	return nil
}

func (w *walker) callsObject(o *pg.ObjectWithArgs) {
	if o != nil {
		w.calls(qualified(o.Objname))
	}
}

func (w *walker) opItems(list []*pg.Node) {
	for _, node := range list {
		w.callsObject(node.GetCreateOpClassItem().GetName())
		w.typed(node.GetCreateOpClassItem().GetStoredtype())
	}
}

// plainVerbs are the definitions that plainDefinition reads.
var plainVerbs = map[string]string{
	"AlterCollationStmt": "alter", "AlterDatabaseRefreshCollStmt": "alter", "AlterDatabaseSetStmt": "alter",
	"AlterDatabaseStmt": "alter", "AlterEnumStmt": "alter", "AlterEventTrigStmt": "alter",
	"AlterExtensionContentsStmt": "alter", "AlterExtensionStmt": "alter", "AlterFdwStmt": "alter",
	"AlterForeignServerStmt": "alter", "AlterFunctionStmt": "alter", "AlterObjectDependsStmt": "alter",
	"AlterOpFamilyStmt": "alter", "AlterOperatorStmt": "alter", "AlterOwnerStmt": "alter",
	"AlterRoleSetStmt": "alter", "AlterRoleStmt": "alter", "AlterSeqStmt": "alter", "AlterStatsStmt": "alter",
	"AlterSubscriptionStmt": "alter", "AlterSystemStmt": "alter", "AlterTableMoveAllStmt": "alter",
	"AlterTableSpaceOptionsStmt": "alter", "AlterTsconfigurationStmt": "alter", "AlterTsdictionaryStmt": "alter",
	"AlterTypeStmt": "alter", "AlterUserMappingStmt": "alter",
	"ClusterStmt":       "cluster",
	"CompositeTypeStmt": "create", "CreateAmStmt": "create", "CreateCastStmt": "create",
	"CreateConversionStmt": "create", "CreateEnumStmt": "create", "CreateExtensionStmt": "create",
	"CreateFdwStmt": "create", "CreateForeignServerStmt": "create", "CreateOpClassStmt": "create",
	"CreateOpFamilyStmt": "create", "CreatePlangStmt": "create", "CreateRangeStmt": "create",
	"CreateRoleStmt": "create", "CreateSeqStmt": "create", "CreateSubscriptionStmt": "create",
	"CreateTableSpaceStmt": "create", "CreateTransformStmt": "create", "CreateUserMappingStmt": "create",
	"CreatedbStmt": "create", "DefineStmt": "create",
	"DropOwnedStmt": "drop", "DropRoleStmt": "drop", "DropSubscriptionStmt": "drop", "DropTableSpaceStmt": "drop",
	"DropUserMappingStmt": "drop", "DropdbStmt": "drop",
	"GrantRoleStmt": "grant", "ImportForeignSchemaStmt": "import", "ReassignOwnedStmt": "reassign",
}

// opaqueDefinitions run what is not in their text.
var opaqueDefinitions = map[string]bool{
	"CreateExtensionStmt": true, "AlterExtensionStmt": true, "CreatePlangStmt": true,
	"CreateSubscriptionStmt": true, "AlterSubscriptionStmt": true,
}

// policy reads the conditions of a row security policy.
func (w *walker) policy(rv *pg.RangeVar, conditions ...*pg.Node) {
	w.table(rv, true)
	for _, c := range conditions {
		w.decides(w.expr(c, inside(nil, w.base(rv))))
	}
}

// domain reads the constraints of a domain, where VALUE is what is checked.
func (w *walker) domain(constraints []*pg.Node) {
	checked := &relation{shape: &shape{columns: []column{{name: "value", sure: true}}}}
	for _, node := range constraints {
		if node.GetNode() != nil {
			w.constraint(node.GetConstraint(), nil, inside(nil, checked))
		}
	}
}

// published notes the tables that a publication sends away.
func (w *walker) published(objects []*pg.Node, all bool) {
	if all {
		w.moved(sql.Ref{}, w.use(value{of: w.column(sql.Ref{Column: "*"})}))
	}
	for _, node := range objects {
		spec := node.GetPublicationObjSpec()
		if spec == nil {
			w.unknown("a part of a publication", node)
			continue
		}
		t := spec.Pubtable
		if t == nil {
			schema := spec.Name // of all tables in it; none for the current one
			w.moved(sql.Ref{}, w.use(value{of: w.column(sql.Ref{Schema: schema, Column: "*"})}))
			continue
		}
		w.table(t.Relation, false)
		w.decides(w.expr(t.WhereClause, inside(nil, w.base(t.Relation))))
		names := stringsOf(t.Columns)
		if len(names) == 0 {
			names = []string{"*"}
		}
		for _, name := range names {
			w.moved(sql.Ref{}, w.use(w.ofTable(t.Relation, name)))
		}
	}
}
