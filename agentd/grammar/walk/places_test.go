package walk

import (
	"os"
	"slices"
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"agentd.dev/decoders/sql"
)

// TestNothingInAStatementIsPassedOver puts a call in the place of each column,
// another name in the place of each relation, type and function, and looks
// whether the meaning has it.
func TestNothingInAStatementIsPassedOver(t *testing.T) {
	file, err := os.ReadFile("testdata/meanings.txt")
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for line := range strings.Lines(string(file)) {
		tree, err := pg.Parse(line)
		if err != nil || strings.HasPrefix(line, " ") {
			continue
		}
		for n := range places(tree) {
			changed := proto.Clone(tree).(*pg.ParseResult)
			at := places(changed)[n]
			has := at.change()
			text, err := pg.Deparse(changed)
			if err != nil || !strings.Contains(text, "zz") {
				continue
			}
			m := Read(text)
			if m.Syntax || len(m.Statements) == 0 {
				continue
			}
			looked++
			if !slices.ContainsFunc(m.Statements, has) {
				t.Errorf("%s passes over zz, a %s", text, at.what)
			}
		}
	}
	if looked < 900 {
		t.Errorf("%d places were looked at, want more than 900", looked)
	}
}

// A place is where something can be changed.
type place struct {
	what   string
	change func() (has func(sql.Statement) bool)
}

// places are the places in a tree, always in the same order.
func places(tree *pg.ParseResult) (list []place) {
	zz := []*pg.Node{pg.MakeStrNode("zz")}
	add := func(what string, change func(), has func(sql.Statement) bool) {
		list = append(list, place{what, func() func(sql.Statement) bool { change(); return has }})
	}
	eachMessage(tree.ProtoReflect(), func(m any) bool {
		switch m := m.(type) {
		case *pg.ObjectWithArgs, *pg.LockingClause, *pg.AlterTypeStmt, *pg.AlterTSDictionaryStmt:
			return false // names of what there is, and words
		case *pg.Node:
			if m.GetColumnRef() != nil && !isStar(m.GetColumnRef().Fields) {
				add("column", func() { *m = pg.Node{Node: pg.MakeFuncCallNode(zz, nil, 0).Node} }, calls)
			}
		case *pg.FuncCall:
			add("function", func() { m.Funcname = zz }, calls)
		case *pg.RangeVar:
			add("relation", func() { m.Schemaname, m.Relname = "", "zz" }, func(s sql.Statement) bool {
				return slices.ContainsFunc(s.Tables, func(t sql.Table) bool { return t.Table == "zz" })
			})
		case *pg.TypeName:
			add("type", func() { m.Names = zz }, func(s sql.Statement) bool {
				return slices.Contains(s.Types, sql.Qualified{Name: "zz"}) || calls(s)
			})
		}
		return true
	})
	return list
}

func calls(s sql.Statement) bool { return slices.Contains(s.Functions, sql.Qualified{Name: "zz"}) }

// eachMessage calls f with m and all messages below it, in order, but with none
// below those of which f says no.
func eachMessage(m protoreflect.Message, f func(any) bool) {
	if !f(m.Interface()) {
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case fd.Message() == nil || !m.Has(fd):
		case fd.IsList():
			for i := range m.Get(fd).List().Len() {
				eachMessage(m.Get(fd).List().Get(i).Message(), f)
			}
		default:
			eachMessage(m.Get(fd).Message(), f)
		}
	}
}
