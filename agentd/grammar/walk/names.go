package walk

import (
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"agentd.dev/decoders/sql"
)

// kind is the grammar's name of a node.
func kind(node *pg.Node) string {
	if node == nil || node.Node == nil {
		return "nothing"
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", node.Node), "*pg_query.Node_")
}

// qualified is a name of one, two or three parts; a database's is left out.
func qualified(parts []*pg.Node) sql.Qualified {
	names := stringsOf(parts)
	switch len(names) {
	case 0:
		return sql.Qualified{}
	case 1:
		return sql.Qualified{Name: names[0]}
	}
	return sql.Qualified{Schema: names[len(names)-2], Name: names[len(names)-1]}
}

// stringsOf are the strings among nodes.
func stringsOf(nodes []*pg.Node) []string {
	var list []string
	for _, n := range nodes {
		if s, ok := n.GetNode().(*pg.Node_String_); ok {
			list = append(list, s.String_.Sval)
		}
	}
	return list
}

// isStar says whether node ends in a star, as t.* and (f(x)).* do.
func isStar(nodes []*pg.Node) bool {
	return len(nodes) > 0 && nodes[len(nodes)-1].GetAStar() != nil
}

// figure is the name that the server gives to a column which has none, as its
// FigureColname does. sure: every server does.
func figure(node *pg.Node) (name string, sure bool) {
	name, _, sure = figured(node, 0)
	if name == "" {
		name = "?column?"
	}
	return name, sure
}

// figured says how good a name is, too: 2 is better than 1, 0 is none.
func figured(node *pg.Node, depth int) (name string, good int, sure bool) {
	if depth > maxDepth {
		return "", 0, false
	}
	switch n := node.GetNode().(type) {
	case *pg.Node_ColumnRef:
		if names := stringsOf(n.ColumnRef.Fields); len(names) > 0 {
			return names[len(names)-1], 2, true
		}
		return "", 0, true
	case *pg.Node_AIndirection:
		if names := stringsOf(n.AIndirection.Indirection); len(names) > 0 {
			return names[len(names)-1], 2, true
		}
		return figured(n.AIndirection.Arg, depth+1)
	case *pg.Node_FuncCall:
		f := qualified(n.FuncCall.Funcname)
		// The grammar's own calls were named otherwise by other versions.
		return f.Name, 2, n.FuncCall.Funcformat == pg.CoercionForm_COERCE_EXPLICIT_CALL
	case *pg.Node_AExpr:
		if n.AExpr.Kind == pg.A_Expr_Kind_AEXPR_NULLIF {
			return "nullif", 2, true
		}
		return "", 0, true
	case *pg.Node_TypeCast:
		name, good, sure = figured(n.TypeCast.Arg, depth+1)
		if good <= 1 && n.TypeCast.TypeName != nil {
			return qualified(n.TypeCast.TypeName.Names).Name, 1, sure
		}
		return name, good, sure
	case *pg.Node_CollateClause:
		return figured(n.CollateClause.Arg, depth+1)
	case *pg.Node_CaseExpr:
		name, good, sure = figured(n.CaseExpr.Defresult, depth+1)
		if good <= 1 {
			return "case", 1, sure
		}
		return name, good, sure
	case *pg.Node_AArrayExpr:
		return "array", 2, true
	case *pg.Node_RowExpr:
		return "row", 2, true
	case *pg.Node_CoalesceExpr:
		return "coalesce", 2, true
	case *pg.Node_MinMaxExpr:
		if n.MinMaxExpr.Op == pg.MinMaxOp_IS_LEAST {
			return "least", 2, true
		}
		return "greatest", 2, true
	case *pg.Node_SubLink:
		return figuredQuery(n.SubLink, depth)
	case *pg.Node_AConst:
		// Through PostgreSQL 14, TRUE was a cast, and so called bool.
		return "", 0, n.AConst.GetBoolval() == nil
	case *pg.Node_ParamRef, *pg.Node_BoolExpr, *pg.Node_NullTest:
		return "", 0, true
	case nil:
		return "", 0, true
	}
	return "", 0, false
}

func figuredQuery(link *pg.SubLink, depth int) (name string, good int, sure bool) {
	switch link.SubLinkType {
	case pg.SubLinkType_EXISTS_SUBLINK:
		return "exists", 2, true
	case pg.SubLinkType_ARRAY_SUBLINK:
		return "array", 2, true
	case pg.SubLinkType_EXPR_SUBLINK:
	default:
		return "", 0, true
	}
	s := link.Subselect.GetSelectStmt()
	for s.GetLarg() != nil {
		s = s.Larg
	}
	if len(s.GetValuesLists()) > 0 {
		return "column1", 2, true
	}
	if len(s.GetTargetList()) == 0 {
		return "", 0, false
	}
	t := s.TargetList[0].GetResTarget()
	if t.GetName() != "" {
		return t.Name, 2, true
	}
	if isStar(t.GetVal().GetColumnRef().GetFields()) || isStar(t.GetVal().GetAIndirection().GetIndirection()) {
		return "", 0, false
	}
	name, _, sure = figured(t.GetVal(), depth+1)
	if name == "" {
		return "?column?", 2, sure
	}
	return name, 2, sure
}
