package sql_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"agentd.dev/decoders/sql"
)

// scope is one with two schemas in the path, of which the second has what the
// first has not.
var scope = newScope()

func newScope() *sql.Scope {
	s := &sql.Scope{
		Path: []string{"pg_temp", "pg_catalog", "public", "billing"}, Current: "public",
		Relations: map[string]string{"pg_class": "pg_catalog", "orders": "public", "accounts": "billing", "scratch": "pg_temp"},
		Shadows:   map[string]bool{"lower": true},
	}
	s.Reach(sql.Qualified{Schema: "public", Name: "v"}, sql.Qualified{Schema: "billing", Name: "secrets"}, false)
	return s
}

func read(schema, table string) sql.Table { return sql.Table{Schema: schema, Table: table} }
func write(schema, table string) sql.Table {
	return sql.Table{Schema: schema, Table: table, Write: true}
}

func query(tables ...sql.Table) sql.Statement {
	return sql.Statement{Kind: "SelectStmt", HasWhere: true, Tables: tables}
}

func kind(kind string, tables ...sql.Table) sql.Statement {
	return sql.Statement{Kind: kind, HasWhere: true, Tables: tables, DDL: kind != "VariableSetStmt" && kind != "TransactionStmt"}
}

func TestNamesAreResolvedInTheOrderOfTheText(t *testing.T) {
	set := kind("VariableSetStmt")
	set.Sets = []string{"search_path"}
	limit := kind("VariableSetStmt")
	limit.Sets = []string{"statement_timeout"}
	end, begin := kind("TransactionStmt"), kind("TransactionStmt")
	begin.Verbs = []string{"begin"}
	calls := query()
	calls.Functions = []sql.Qualified{{Name: "my_function"}}
	for _, tt := range []struct {
		name       string
		statements []sql.Statement
		want       []string
		unclear    bool
	}{
		{"names of the path", []sql.Statement{query(read("", "orders"), read("", "accounts"), read("", "scratch"))}, []string{"public.orders", "billing.accounts", "pg_temp.scratch"}, false},
		{"a name that is written is what it is", []sql.Statement{query(read("x", "orders"), read("pg_temp_3", "t"))}, []string{"x.orders", "pg_temp.t"}, false},
		{"what nobody has seen may be anywhere on the path", []sql.Statement{query(read("", "new"))}, []string{"public.new", "billing.new"}, false},
		{"what is below", []sql.Statement{query(read("public", "v")), query(read("", "v"))}, []string{"public.v", "billing.secrets", "billing.v"}, false},
		{"dots in names", []sql.Statement{query(read("a.b", "c"), read("a", "b.c"), read(`"`, ""))}, []string{`"a.b".c`, `a."b.c"`, `"""".""`}, false},
		{"behind SET search_path", []sql.Statement{set, query(read("", "orders"))}, nil, true},
		{"behind SET search_path, written", []sql.Statement{set, query(read("x", "orders"))}, []string{"x.orders"}, false},
		{"behind another SET", []sql.Statement{limit, begin, query(read("", "orders"))}, []string{"public.orders"}, false},
		{"behind the end of a transaction", []sql.Statement{end, query(read("", "orders"))}, nil, true},
		{"behind a function of the user's", []sql.Statement{calls, query(read("", "orders"))}, nil, true},
		{"behind DROP", []sql.Statement{kind("DropStmt", write("", "orders")), query(read("x", "y"))}, nil, true},
		{"behind CREATE VIEW", []sql.Statement{kind("ViewStmt", write("", "w"), read("billing", "secrets")), query(read("public", "w"))}, nil, true},
		{"a table that is made", []sql.Statement{kind("CreateStmt", write("", "new")), query(read("", "new"))}, []string{"public.new", "billing.new"}, false},
		{"a table that hides another", []sql.Statement{kind("CreateStmt", write("", "accounts")), query(read("", "accounts"))}, []string{"public.accounts", "billing.accounts"}, false},
		{"a temporary table", []sql.Statement{kind("CreateTableAsStmt", write("pg_temp", "orders")), query(read("", "orders"))}, []string{"pg_temp.orders", "public.orders", "billing.orders"}, false},
		{"a child", []sql.Statement{kind("CreateStmt", write("", "c"), read("billing", "accounts")), query(read("", "c"))}, nil, true},
		{"a schema", []sql.Statement{kind("CreateSchemaStmt", write("", "t"))}, nil, true},
	} {
		r := sql.Resolve(analyze("select"), &sql.Meaning{Statements: tt.statements}, scope)
		got, _ := r.Field("sql.tables").([]string)
		if (r.Unclear != "") != tt.unclear || !slices.Equal(got, tt.want) {
			t.Errorf("%s: uses %q, unclear %q; want %q, unclear %v", tt.name, got, r.Unclear, tt.want, tt.unclear)
		}
	}
}

func TestUsesReachWhatBelongsToARelation(t *testing.T) {
	name := func(n string) sql.Qualified { return sql.Qualified{Schema: "x", Name: n} }
	s := &sql.Scope{}
	for _, child := range []string{"child", "sibling"} {
		s.Reach(name("parent"), name(child), true)
	}
	s.Reach(name("child"), name("grandchild"), true)
	s.Reach(name("other"), name("child"), true)
	s.Reach(name("view"), name("child"), false)
	s.Reach(name("view"), name("base"), false)
	s.Reach(name("view of view"), name("view"), false)
	s.Reach(name("base"), name("view of view"), false) // by a rule
	for i := range 12_000 {
		s.Reach(name("many"), name(fmt.Sprint("part", i)), true)
	}
	for _, tt := range []struct{ name, want string }{
		{"parent", "x.child x.grandchild x.other x.parent x.sibling"},
		{"child", "x.child x.grandchild x.other x.parent"},
		{"sibling", "x.parent x.sibling"},
		{"view", "x.base x.child x.grandchild x.other x.parent x.view x.view of view"},
		{"base", "x.base x.child x.grandchild x.other x.parent x.view x.view of view"},
		{"part1", "x.many x.part1"},
		{"nothing", "x.nothing"},
		{"many", ""},
	} {
		r := sql.Resolve(analyze("select"), &sql.Meaning{Statements: []sql.Statement{query(read("x", tt.name))}}, s)
		got, _ := r.Field("sql.tables").([]string)
		got = slices.Sorted(slices.Values(got))
		if strings.Join(got, " ") != tt.want || (r.Unclear != "") != (tt.want == "") {
			t.Errorf("%s reaches %q (%s), want %q", tt.name, got, r.Unclear, tt.want)
		}
	}
}

func TestFieldsSayWhatTheGrammarSaid(t *testing.T) {
	m := &sql.Meaning{Statements: []sql.Statement{
		{
			Kind: "SelectStmt", Verbs: []string{"select", "delete"}, Tables: []sql.Table{read("", "orders"), write("", "accounts")},
			Columns:    []sql.Ref{{Table: "orders", Column: "id"}, {Schema: "billing", Table: "accounts", Column: "*"}},
			Predicates: []sql.Ref{{Table: "orders", Column: "id"}},
			Functions:  []sql.Qualified{{Name: "count"}, {Schema: "audit", Name: "log"}},
		},
		{Kind: "CopyStmt", Verbs: []string{"copy"}, HasWhere: true, Utility: true, Copy: "program"},
		{Kind: "VariableSetStmt", Verbs: []string{"set"}, HasWhere: true, Utility: true, Sets: []string{"work_mem"}},
	}}
	r := sql.Resolve(analyze("select 1"), m, scope)
	for field, want := range map[string]any{
		"sql.verbs": []string{"select", "delete", "copy", "set"}, "sql.statements": int64(1),
		"sql.tables": []string{"public.orders", "billing.accounts"}, "sql.tables_read": []string{"public.orders"}, "sql.tables_written": []string{"billing.accounts"},
		"sql.columns":    []string{"public.orders.id", "billing.accounts.*"},
		"sql.predicates": []string{"public.orders.id"}, "sql.functions": []string{"count", "log", "audit.log"},
		"sql.has_where": false, "sql.ddl": false, "sql.utility": true, "sql.volatile": true,
		"sql.copy": []string{"program"}, "sql.sets": []string{"work_mem"},
		"sql.names_read": []string{"orders"}, "sql.names_written": []string{"accounts"},
	} {
		got := r.Field(field)
		if list, ok := want.([]string); ok && slices.Equal(got.([]string), list) {
			continue
		} else if !ok && got == want {
			continue
		}
		t.Errorf("%s is %v, want %v", field, got, want)
	}
	if !r.Moves {
		t.Error("names stay as they are, though audit.log may do anything")
	}
}

func TestWhatIsNotKnownIsNoAnswer(t *testing.T) {
	m := &sql.Meaning{Statements: []sql.Statement{query(read("", "orders"))}}
	broken := newScope()
	broken.Unclear = "too many"
	for name, r := range map[string]*sql.Resolved{
		"no scope":     sql.Resolve(analyze("select"), m, nil),
		"a bad scope":  sql.Resolve(analyze("select"), m, broken),
		"unclear text": sql.Resolve(analyze("select"), &sql.Meaning{Statements: []sql.Statement{kind("DropStmt"), query(read("", "orders"))}}, scope),
	} {
		for _, field := range []string{"sql.tables", "sql.tables_written", "sql.columns", "sql.volatile"} {
			if got := r.Field(field); got != nil {
				t.Errorf("%s: %s is %v, want nothing", name, field, got)
			}
		}
		if got := r.Field("sql.has_where"); got != true {
			t.Errorf("%s: sql.has_where is %v, want true", name, got)
		}
	}
	if got := analyze("select 1").Field("sql.has_where"); got != nil {
		t.Errorf("without the grammar sql.has_where is %v, want nothing", got)
	}
}

func TestColumnsOfNoTableAreNoAnswer(t *testing.T) {
	for _, tt := range []struct {
		name     string
		column   string
		function string
		known    bool
	}{
		{"a column that no table has", "x", "count", false},
		{"what a setting holds", "*", "current_setting", true},
		{"what a file holds", "*", "pg_read_file", false},
		{"whatever a query says", "*", "query_to_xml", false},
	} {
		m := &sql.Meaning{Statements: []sql.Statement{{Kind: "SelectStmt", Columns: []sql.Ref{{Column: tt.column}}, Functions: []sql.Qualified{{Name: tt.function}}}}}
		if got := sql.Resolve(analyze("select"), m, scope).Field("sql.columns"); (got != nil) != tt.known {
			t.Errorf("%s: sql.columns is %v, want it known %v", tt.name, got, tt.known)
		}
	}
}

func TestOnlyHarmlessFunctionsAreNotVolatile(t *testing.T) {
	for _, tt := range []struct {
		function sql.Qualified
		want     bool
	}{
		{sql.Qualified{Name: "count"}, false},
		{sql.Qualified{Schema: "pg_catalog", Name: "now"}, false},
		{sql.Qualified{Schema: "pg_catalog", Name: "lower"}, false},
		{sql.Qualified{Name: "lower"}, true}, // there is another
		{sql.Qualified{Schema: "public", Name: "count"}, true},
		{sql.Qualified{Name: "pg_read_file"}, true},
		{sql.Qualified{Name: "nextval"}, true},
		{sql.Qualified{Name: "table_to_xml"}, true},
		{sql.Qualified{Name: "my_function"}, true},
	} {
		m := &sql.Meaning{Statements: []sql.Statement{{Kind: "SelectStmt", Functions: []sql.Qualified{tt.function}}}}
		if got := sql.Resolve(analyze("select"), m, scope).Field("sql.volatile"); got != tt.want {
			t.Errorf("%v: volatile %v, want %v", tt.function, got, tt.want)
		}
	}
	for name, st := range map[string]sql.Statement{"DO": {Kind: "DoStmt"}, "CALL": {Kind: "CallStmt"}, "an operator": {Operators: []sql.Qualified{{Name: "<->"}}}} {
		if got := sql.Resolve(analyze("select"), &sql.Meaning{Statements: []sql.Statement{st}}, scope).Field("sql.volatile"); got != true {
			t.Errorf("%s: volatile %v, want true", name, got)
		}
	}
}
