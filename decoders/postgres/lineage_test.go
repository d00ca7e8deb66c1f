package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// crm is what the catalogue says of a database of customers.
func crm() *known {
	k := newKnown([]decoders.ColumnName{{Schema: "public", Table: "customers", Column: "email"}})
	email := decoders.Column{Schema: "public", Table: "customers", Name: "email"}
	k.protect(1<<16|3, decoders.ColumnName{Schema: "public", Table: "customers", Column: "email"}, 25, email)
	k.protect(2<<16|1, decoders.ColumnName{Schema: "sales", Table: "contacts", Column: "mail"}, 25, email)
	for name, list := range map[string]string{"public.customers": "-1 27 4 ctid1 23 2 id2 25 4 name3 25 5 email", "sales.contacts": "1 25 4 mail"} {
		schema, table, _ := strings.Cut(name, ".")
		if err := k.relation(decoders.ColumnName{Schema: schema, Table: table}).list(list); err != nil {
			panic(err)
		}
	}
	k.functions["similarity"] = []own{{schema: "public", safe: true}}
	k.functions["lower"] = []own{{schema: "evil"}}
	k.operators["<->"] = []own{{schema: "public", safe: true}}
	k.operators["==>"] = []own{{schema: "public"}}
	k.types["keep"] = []own{{schema: "public"}}
	k.rows["to_card"] = true
	guarded := email
	guarded.Derived = true
	k.guarded = []decoders.Column{guarded}
	k.guards["customers"] = []guard{{"public", "email", inserts | updates, false, guarded}, {"public", "tenant", updates, false, guarded}, {"public", "", deletes, true, guarded}}
	k.guards["letters"] = []guard{{"public", "recipient", inserts | updates, true, guarded}}
	return &k
}

func ref(schema, table, column string) sql.Ref {
	return sql.Ref{Schema: schema, Table: table, Column: column}
}

func fn(names ...string) (all []sql.Qualified) {
	for _, name := range names {
		schema, bare, found := strings.Cut(name, ".")
		if !found {
			schema, bare = "", name
		}
		all = append(all, sql.Qualified{Schema: schema, Name: bare})
	}
	return all
}

func TestNamesMeanProtectedColumnsIfTheyMay(t *testing.T) {
	k := crm()
	for _, tt := range []struct {
		ref  sql.Ref
		want bool
	}{
		{ref("public", "customers", "email"), true},
		{ref("", "customers", "email"), true},
		{ref("other", "customers", "email"), false},
		{ref("", "customers", "name"), false},
		{ref("", "customers", "ctid"), false},
		{ref("", "customers", "*"), true},
		{ref("", "customers", "row_to_json"), true}, // a function of the row
		{ref("", "customers", "to_card"), true},
		{ref("", "customers", "city"), false}, // of another relation in scope
		{ref("", "contacts", "mail"), true},
		{ref("public", "contacts", "mail"), false},
		{ref("", "shops", "email"), false},
		{ref("", "shops", "*"), false},
		{ref("", "", "email"), true},
		{ref("", "", "mail"), true},
		{ref("", "", "name"), false},
		{ref("", "", "*"), true},
		{ref("pg_catalog", "pg_class", "*"), false},
	} {
		if got := len(k.matching(tt.ref)) > 0; got != tt.want {
			t.Errorf("%v is protected: %t, want %t", tt.ref, got, tt.want)
		}
	}
	all := newKnown([]decoders.ColumnName{{Schema: "*", Table: "*", Column: "email"}})
	for column, want := range map[string]bool{"email": true, "id": false, "*": false} {
		if got := len(all.matching(ref("", "new", column))) > 0; got != want {
			t.Errorf("%s of a table that came later is protected: %t, want %t", column, got, want)
		}
	}
}

func TestFunctionsAreTrustedThatAreKnownToComputeOnly(t *testing.T) {
	k := crm()
	for name, want := range map[string]trust{
		"upper": sound, "count": sound, "random": sound, "pg_catalog.lower": sound, "information_schema._pg_truetypid": sound,
		"similarity": sound, "public.similarity": sound, "other.similarity": stranger,
		"lower":  stranger, // evil.lower may be meant
		"report": stranger, "public.upper": stranger,
		"set_config": careless, "pg_notify": careless, "setval": careless, "pg_advisory_lock": careless, "lo_put": careless, "pg_sleep": careless,
		"query_to_xml": nosy, "ts_stat": nosy, "pg_read_file": nosy, "pg_logical_slot_get_changes": nosy,
	} {
		if got := k.function(fn(name)[0]); got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
}

func TestAMeaningIsHeldAgainstTheCatalogue(t *testing.T) {
	email, name := ref("", "customers", "email"), ref("", "customers", "name")
	out := func(refs ...sql.Ref) sql.Output { return sql.Output{Refs: refs} }
	for _, tt := range []struct {
		name      string
		statement sql.Statement
		exposes   string // ways and functions
		masks     string // of five columns
	}{
		{"an expression", sql.Statement{Columns: []sql.Ref{email, name}, Outputs: []sql.Output{out(name), out(email), out(), out(), out()}}, "", ".x..."},
		{"a count", sql.Statement{Columns: []sql.Ref{email}, Outputs: []sql.Output{{Refs: []sql.Ref{email}, Counts: true}, out(), out(), out(), out()}}, "", "....."},
		{"what is unclear", sql.Statement{Outputs: []sql.Output{out(), {Unclear: true}, out(), out(), out()}}, "", ".x..."},
		{"another number of columns", sql.Statement{Outputs: []sql.Output{out(email), out()}}, "", "xxxxx"},
		{"a star", sql.Statement{Open: true, All: out(email), First: []sql.Output{out(name)}, Last: []sql.Output{out(name), out(email)}}, "", ".xx.x"},
		{"a star of nothing", sql.Statement{Open: true, All: out(name)}, "", "....."},
		{"EXPLAIN", sql.Statement{Kind: "ExplainStmt", Columns: []sql.Ref{email}}, "", "xxxxx"},
		{"a predicate", sql.Statement{Columns: []sql.Ref{email}, Predicates: []sql.Ref{name, email}, Outputs: make([]sql.Output, 5)}, "1", "....."},
		{"another predicate", sql.Statement{Columns: []sql.Ref{email}, Predicates: []sql.Ref{name}, Outputs: make([]sql.Output, 5)}, "", "....."},
		{"a move", sql.Statement{Moves: []sql.Move{{To: ref("", "shops", "city"), From: out(email)}}}, "0", "....."},
		{"a move within the row", sql.Statement{Moves: []sql.Move{{To: name, From: out(email)}}}, "0", "....."},
		{"a move of something else", sql.Statement{Moves: []sql.Move{{To: ref("", "shops", "city"), From: out(name)}}}, "", "....."},
		{"a move of what is unclear", sql.Statement{Moves: []sql.Move{{To: email, From: sql.Output{Unclear: true}}}}, "0", "....."},
		{"a move to itself", sql.Statement{Moves: []sql.Move{{To: email, From: out(email)}}}, "", "....."},
		{"a move to its like in another schema", sql.Statement{Moves: []sql.Move{{To: ref("x", "customers", "email"), From: out(email)}}}, "0", "....."},
		{"a move of rows to itself", sql.Statement{Moves: []sql.Move{{To: ref("", "customers", "*"), From: out(ref("", "customers", "*"))}}}, "0", "....."},
		{"an unknown function", sql.Statement{Functions: fn("upper", "public.report")}, "2:public.report", "....."},
		{"a function of a row", sql.Statement{Attributes: []sql.Ref{ref("", "shops", "to_card"), name}}, "2:to_card", "....."},
		{"a function that sends", sql.Statement{Functions: fn("pg_notify"), Columns: []sql.Ref{name}}, "", "....."},
		{"a function that sends it", sql.Statement{Functions: fn("pg_notify"), Columns: []sql.Ref{email}, Outputs: make([]sql.Output, 5)}, "0", "....."},
		{"a function that runs statements", sql.Statement{Functions: fn("query_to_xml")}, "0", "....."},
		{"an operator", sql.Statement{Operators: fn("<->", "pg_catalog.+")}, "", "....."},
		{"an unknown operator", sql.Statement{Operators: fn("==>")}, "2:==>", "....."},
		{"an operator that came later", sql.Statement{Operators: fn("public.+")}, "2:public.+", "....."},
		{"a type", sql.Statement{Types: fn("text", "other.keep")}, "", "....."},
		{"a type that calls", sql.Statement{Types: fn("_keep")}, "2:_keep", "....."},
		{"a view", sql.Statement{Kind: "ViewStmt", DDL: true, Verbs: []string{"create", "select"}, Columns: []sql.Ref{name}}, "", "....."},
		{"a view of it", sql.Statement{Kind: "ViewStmt", DDL: true, Verbs: []string{"create", "select"}, Columns: []sql.Ref{email}, Outputs: make([]sql.Output, 5)}, "0", "....."},
		{"a guess", sql.Statement{Writes: []sql.Write{{Verb: "insert", To: email}}}, "3", "....."},
		{"a guess among all", sql.Statement{Writes: []sql.Write{{Verb: "insert", To: ref("public", "customers", "*")}}}, "3", "....."},
		{"a guess elsewhere", sql.Statement{Writes: []sql.Write{{Verb: "insert", To: ref("other", "customers", "name")}, {Verb: "insert", To: ref("", "shops", "*")}}}, "", "....."},
		{"a guess by a foreign key", sql.Statement{Writes: []sql.Write{{Verb: "update", To: ref("", "letters", "recipient")}}}, "3", "....."},
		{"another column", sql.Statement{Writes: []sql.Write{{Verb: "insert", To: name}, {Verb: "insert", To: ref("", "letters", "id")}}}, "", "....."},
		{"a new row's part of a key", sql.Statement{Writes: []sql.Write{{Verb: "insert", To: ref("", "customers", "tenant")}}}, "", "....."},
		{"a row that moves", sql.Statement{Writes: []sql.Write{{Verb: "update", To: ref("", "customers", "tenant")}}}, "3", "....."},
		{"a row that is referred to", sql.Statement{Writes: []sql.Write{{Verb: "delete", To: ref("", "customers", "")}}}, "3", "....."},
		{"a row that refers", sql.Statement{Writes: []sql.Write{{Verb: "delete", To: ref("", "letters", "")}}}, "", "....."},
		{"a default", sql.Statement{Writes: []sql.Write{{Verb: "alter", To: ref("", "letters", "recipient")}}}, "3", "....."},
		{"a default of a domain", sql.Statement{Writes: []sql.Write{{Verb: "alter", To: ref("", "", "*")}}}, "3", "....."},
		{"FETCH", sql.Statement{Kind: "FetchStmt", Open: true, All: sql.Output{Unclear: true}}, "", "....."},
	} {
		facts := &sql.Facts{Statements: 1}
		l := crm().weigh(facts, &sql.Meaning{Statements: []sql.Statement{tt.statement}})
		var ways []string
		for _, e := range l.exposures {
			way := fmt.Sprint(e.Risk)
			if e.Function != "" {
				way += ":" + e.Function
			}
			ways = append(ways, way)
		}
		masks := ""
		for i := range 5 {
			switch found := l.results[0].derived(i, 5); {
			case len(found) == 0:
				masks += "."
			case slices.ContainsFunc(found, func(c decoders.Column) bool { return c.Name != "email" || !c.Derived }):
				t.Errorf("%s: column %d shows %v", tt.name, i, found)
			default:
				masks += "x"
			}
		}
		if got := strings.Join(ways, " "); got != tt.exposes || masks != tt.masks {
			t.Errorf("%s: exposes %q and masks %s, want %q and %s", tt.name, got, masks, tt.exposes, tt.masks)
		}
	}
}

func TestAMeaningOfOtherStatementsThanTheWordsIsNotBelieved(t *testing.T) {
	facts := &sql.Facts{Statements: 2}
	if clearly(facts, &sql.Meaning{Statements: make([]sql.Statement, 1)}) || clearly(facts, nil) || clearly(facts, &sql.Meaning{Unclear: "x"}) {
		t.Error("it is")
	}
}

func TestTheMajorVersionIsWhatServerVersionBeginsWith(t *testing.T) {
	for version, want := range map[string]int{"15.14 (Debian 15.14-0+deb12u1)": 15, "16beta1": 16, "9.6.24": 9, "17": 17, "": 0, "none": 0, "99999999999": 9999} {
		if got := major([]byte(version)); got != want {
			t.Errorf("major version of %q is %d, want %d", version, got, want)
		}
	}
}

func TestAViewShowsWhatItsDefinitionDoesAndWhatARuleNames(t *testing.T) {
	k := newKnown([]decoders.ColumnName{{Schema: "public", Table: "customers", Column: "email"}, {Schema: "public", Table: "orders", Column: "id"}})
	email := decoders.Column{Schema: "public", Table: "customers", Name: "email", Derived: true}
	analyzer := sql.NewAnalyzer(nil)
	for i, v := range []struct {
		name   string
		second sql.Ref
	}{{"bare", ref("", "customers", "name")}, {"documents", ref("", "customers", "*")}, {"orders", ref("", "customers", "name")}} {
		of := decoders.ColumnName{Schema: "public", Table: v.name}
		at := uint64(10+i) << 16
		for n, column := range []string{"id", "note"} {
			of.Column = column
			k.protect(at|uint64(n+1), of, 25, email)
			k.watchToo(of, email, 25)
		}
		of.Column = ""
		if err := k.relation(of).list("1 25 2 id2 25 4 note"); err != nil {
			t.Fatal(err)
		}
		k.views = append(k.views, view{
			at: at >> 16, name: of, relation: k.relation(of), facts: analyzer.Analyze([]byte("select id, note from customers")),
			meaning: &sql.Meaning{Statements: []sql.Statement{{Outputs: []sql.Output{{Refs: []sql.Ref{ref("", "customers", "id")}}, {Refs: []sql.Ref{v.second}}}}}},
		})
	}
	ruled := decoders.Column{Schema: "public", Table: "orders", Name: "id"}
	k.protect(12<<16|1, decoders.ColumnName{Schema: "public", Table: "orders", Column: "id"}, 25, ruled)
	k.narrow()
	for at, want := range map[uint64][]decoders.Column{
		10<<16 | 1: nil, 10<<16 | 2: nil, 11<<16 | 1: nil, 11<<16 | 2: {email}, 12<<16 | 1: {ruled}, 12<<16 | 2: nil,
	} {
		if got := k.columns[at]; !slices.Equal(got, want) {
			t.Errorf("column %d of view %d shows %v, want %v", at&0xffff, at>>16, got, want)
		}
	}
	for table, want := range map[string]bool{"customers": true, "bare": false, "documents": true, "orders": true} {
		if got := slices.ContainsFunc(k.watch, func(c decoders.ColumnName) bool { return c.Table == table }); got != want {
			t.Errorf("%s is watched for: %v, want %v", table, got, want)
		}
	}
}
