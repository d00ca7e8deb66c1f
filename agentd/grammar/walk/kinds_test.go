package walk

import (
	"os"
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// never are the kinds of nodes that a parser does not make: they come of
// analysis and planning, or stand for what is written differently. Where one of
// them is found, a text is unclear.
var never = strings.Fields(`
	TableFunc Var Param Aggref WindowFunc WindowFuncRunCondition SubscriptingRef FuncExpr OpExpr
	DistinctExpr NullIfExpr ScalarArrayOpExpr SubPlan AlternativeSubPlan FieldSelect FieldStore RelabelType
	CoerceViaIo ArrayCoerceExpr ConvertRowtypeExpr CollateExpr CaseTestExpr ArrayExpr RowCompareExpr
	JsonConstructorExpr JsonExpr JsonTablePath JsonTablePathScan JsonTableSiblingJoin
	CoerceToDomain CoerceToDomainValue NextValueExpr InferenceElem TargetEntry RangeTblRef FromExpr
	OnConflictExpr Query RangeTblEntry RtepermissionInfo RangeTblFunction TableSampleClause WithCheckOption
	SortGroupClause WindowClause RowMarkClause SetOperationStmt InlineCodeBlock CallContext MergeAction
	OidList IntList PlassignStmt PartitionRangeDatum`)

// inOthers are kinds that a parser makes, but that stand in typed fields of
// others alone, or that hold nothing which a meaning is made of.
var inOthers = strings.Fields(`
	RawStmt Alias IntoClause WithClause OnConflictClause InferClause CtesearchClause CtecycleClause JsonFormat
	JsonReturning JsonBehavior JsonOutput JsonAggConstructor JsonTablePathSpec PartitionSpec
	PartitionBoundSpec SinglePartitionSpec PublicationTable TriggerTransition Float BitString`)

// TestEveryKindOfNodeIsKnown: each kind is in one of the statements of
// testdata/meanings.txt, whose meanings are clear, or is listed above.
func TestEveryKindOfNodeIsKnown(t *testing.T) {
	known := map[string]bool{}
	for _, name := range append(never, inOthers...) {
		known[name] = true
	}
	file, err := os.ReadFile("testdata/meanings.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(file)) {
		tree, err := pg.Parse(line)
		if err != nil || strings.HasPrefix(line, " ") {
			continue
		}
		eachMessage(tree.ProtoReflect(), func(m any) bool {
			if n, ok := m.(*pg.Node); ok {
				known[kind(n)] = true
			}
			return true
		})
	}
	for _, n := range allKinds() {
		if !known[kind(n)] {
			t.Errorf("%s is in no statement of testdata/meanings.txt, and not said to be in none", kind(n))
		}
	}
}

// TestUnknownNodesAreUnclear puts nodes where they are not known to stand.
func TestUnknownNodesAreUnclear(t *testing.T) {
	for _, n := range allKinds() {
		var statement, expression, from walker
		statement.statement(n, nil)
		expression.expr(n, nil)
		from.fromItem(n, new(scope))
		unclear := 0
		for _, w := range []*walker{&statement, &expression, &from} {
			if w.unclear != "" {
				unclear++
			}
		}
		want := 2
		for _, name := range append(never, inOthers...) {
			if name == kind(n) {
				want = 3
			}
		}
		if unclear < want {
			t.Errorf("%s is known as %d of a statement, an expression and an item of FROM, want at most %d", kind(n), 3-unclear, 3-want)
		}
	}
}

// allKinds are empty nodes of every kind.
func allKinds() (list []*pg.Node) {
	m := new(pg.Node).ProtoReflect()
	fields := m.Descriptor().Oneofs().Get(0).Fields()
	for i := range fields.Len() {
		n := new(pg.Node)
		n.ProtoReflect().Set(fields.Get(i), n.ProtoReflect().NewField(fields.Get(i)))
		list = append(list, n)
	}
	return list
}
