package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// tables is a grammar that knows one thing of each statement: its last word,
// and that of what it is made with, are relations.
type tables struct{}

func (tables) Known([]byte) (any, bool) { return nil, false }

func (tables) Study(_ []byte, text string) any {
	m := &sql.Meaning{}
	for part := range strings.SplitSeq(text, ";") {
		words := strings.Fields(part)
		if len(words) == 0 {
			continue
		}
		st := sql.Statement{Kind: "SelectStmt", Verbs: words[:1], HasWhere: true}
		last := words[len(words)-1]
		use := func(name string, write bool) {
			schema, table, ok := strings.Cut(name, ".")
			if !ok {
				schema, table = "", name
			}
			st.Tables = append(st.Tables, sql.Table{Schema: schema, Table: table, Write: write})
		}
		switch words[0] {
		case "select", "table":
			use(last, false)
			if strings.Contains(part, "set_config") {
				st.Sets = []string{"*"}
			}
		case "delete", "prepare":
			st.Kind = "DeleteStmt"
			use(last, true)
		case "set":
			st.Kind, st.Sets = "VariableSetStmt", words[1:2]
			if words[1] == "local" {
				st.Sets = words[2:3]
			}
		case "create", "drop", "alter":
			st.Kind, st.DDL = "ViewStmt", true
			if words[1] == "table" {
				st.Kind = "CreateStmt"
				use(words[2], true)
			}
		case "begin", "commit", "rollback":
			st.Kind = "TransactionStmt"
		case "execute":
			st.Kind = "ExecuteStmt"
		case "discard":
			st.Kind = "DiscardStmt"
		}
		m.Statements = append(m.Statements, st)
	}
	return m
}

var relations = decoders.Want{Grammar: tables{}, Fields: []string{"sql.tables"}}

// schemas makes two schemas with relations of the same names, and a third with
// what is made of them.
func schemas(t *testing.T) {
	c := dial(t, serverAddr(t), "postgres")
	for _, r := range c.run(`
		drop schema if exists shop, billing, extra cascade;
		create schema shop; create schema billing; create schema extra;
		create table shop.orders (id int); create table shop.accounts (id int);
		create table billing.accounts (id int); create table billing.invoices (id int) partition by range (id);
		create table extra.invoices_1 partition of billing.invoices for values from (0) to (10);
		create table extra.children () inherits (billing.accounts);
		create view extra.view as select o.id from shop.orders o, billing.accounts;
		create view extra.views as select * from extra.view;
		create table extra."a.b" (id int)`) {
		if r.typ == 'E' {
			t.Fatal(field(r.body, 'M'))
		}
	}
	t.Cleanup(func() { c.run("drop schema shop, billing, extra cascade") })
}

// names are what the newest request is said to use, or why that is not known.
func (p *proxy) names() string {
	evs := p.seen(decoders.Request)
	ev := evs[len(evs)-1].ev
	if ev.Unclassified != "" {
		return ev.Unclassified
	}
	list := slices.Clone(ev.Facts.Field("sql.tables").([]string))
	slices.Sort(list)
	return strings.Join(list, " ")
}

func TestNamesMeanWhatTheyMeanToTheServer(t *testing.T) {
	schemas(t)
	p, c := session(t, relations)
	for _, tt := range []struct{ text, want string }{
		{"select * from billing.accounts", "billing.accounts extra.children"},
		{"select * from nowhere", "public.nowhere"},
		{"select * from pg_class", "pg_catalog.pg_class"},
		{"set search_path = shop, billing", ""},
		{"select * from accounts", "shop.accounts"},
		{"select * from orders", "shop.orders"},
		{"select * from invoices", "billing.invoices extra.invoices_1"},
		{"select * from nowhere", "billing.nowhere shop.nowhere"},
		{"set search_path = billing, shop", ""},
		{"select * from accounts", "billing.accounts extra.children"},
		{"set search_path = extra", ""},
		{"select * from views", "billing.accounts extra.children extra.view extra.views shop.orders"},
		{"select * from invoices_1", "billing.invoices extra.invoices_1"},
		{"select * from children", "billing.accounts extra.children"},
		{"select * from accounts", "extra.accounts"},
		{"begin", ""},
		{"set local search_path = billing", ""},
		{"select * from accounts", "billing.accounts extra.children"},
		{"rollback", ""},
		{"select * from accounts", "extra.accounts"},
		{"create table accounts (id int)", "extra.accounts"},
		{"select * from accounts", "extra.accounts"},
		{"drop table extra.accounts", ""},
		{"set search_path = extra, billing", ""},
		{"select * from accounts", "billing.accounts extra.children"},
		{"create temp table accounts as select 1", ""},
		{"select * from accounts", "pg_temp.accounts"},
		{"discard temp", ""},
		{"select * from accounts", "billing.accounts extra.children"},
		{"select set_config('search_path', 'billing', false) from pg_class limit 1", ""},
		{"select * from accounts", "billing.accounts extra.children"},
		{"set search_path = ''", ""},
		{"select * from accounts", "?.accounts"},
		{"select * from pg_temp.accounts", "pg_temp.accounts"},
	} {
		c.run(tt.text)
		if got := p.names(); tt.want != "" && got != tt.want {
			t.Errorf("%s: uses %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestNamesWaitForWhatMayChangeThem(t *testing.T) {
	schemas(t)
	p, c := session(t, relations)
	c.send(join(msg('Q', "set search_path = billing", 0), msg('Q', "select * from accounts", 0),
		parseMsg("", "set search_path = shop"), bindMsg("", ""), executeMsg(""), syncMsg(),
		parseMsg("", "table accounts"), bindMsg("", ""), executeMsg(""), syncMsg(),
	))
	c.ready(4)
	var got []string
	for _, e := range p.seen(decoders.Request) {
		got = append(got, fmt.Sprint(e.ev.Facts.Field("sql.tables"), e.ev.Unclassified))
	}
	if want := []string{"[]", "[billing.accounts extra.children]", "[]", "[shop.accounts]"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNamesThatCannotBeKnownAreUnclassified(t *testing.T) {
	schemas(t)
	for _, tt := range []struct {
		name, why string
		said      []byte
	}{
		{"one pipeline", "wait for that one", join(parseMsg("", "set search_path = shop"), bindMsg("", ""), executeMsg(""), parseMsg("", "table accounts"), bindMsg("", ""), executeMsg(""), syncMsg())},
		{"one text", "send it by itself", msg('Q', "set search_path = shop; table accounts", 0)},
		{"a view of the same text", "send it by itself", msg('Q', "create view x as table shop.orders; table shop.accounts", 0)},
		{"a transaction that failed", "wait for that one", join(msg('Q', "begin", 0), msg('Q', "select 1/0 from x", 0), msg('Q', "set search_path = shop", 0), msg('Q', "table accounts", 0))},
	} {
		p, c := session(t, relations)
		c.send(tt.said)
		c.ready(readies(tt.said))
		if got := p.names(); !strings.Contains(got, tt.why) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.why)
		}
	}
}

func TestPreparedStatementsAreJudgedByWhatTheirNamesMeanNow(t *testing.T) {
	schemas(t)
	p, c := session(t, relations)
	run := join(bindMsg("", "s"), executeMsg(""), syncMsg())
	c.run("set search_path = shop")
	c.send(join(parseMsg("s", "table accounts"), syncMsg(), run))
	c.ready(2)
	if got, want := p.names(), "shop.accounts"; got != want {
		t.Errorf("uses %s, want %s", got, want)
	}
	c.run("set search_path = billing")
	c.send(run)
	c.ready(1)
	if got, want := p.names(), "billing.accounts extra.children"; got != want {
		t.Errorf("uses %s, want %s", got, want)
	}
	c.run("execute s")
	if got := p.names(); !strings.Contains(got, "DEALLOCATE ALL") {
		t.Errorf("EXECUTE under another path: got %q", got)
	}
	c.run("deallocate all")
	c.run("prepare p as delete from accounts")
	c.run("execute p")
	if got := p.names(); got != "" {
		t.Errorf("EXECUTE under the same path: got %q", got)
	}
	c.run("set search_path = shop")
	c.run("execute p")
	if got := p.names(); !strings.Contains(got, "DEALLOCATE ALL") {
		t.Errorf("EXECUTE under another path: got %q", got)
	}
}

func TestABoundPortalKeepsWhatItsNamesMeant(t *testing.T) {
	schemas(t)
	p, c := session(t, relations)
	c.run("set search_path = shop")
	c.run("begin")
	c.send(join(parseMsg("", "table accounts"), bindMsg("p", ""), syncMsg()))
	c.ready(1)
	c.run("set search_path = billing")
	c.send(join(executeMsg("p"), syncMsg()))
	c.ready(1)
	if got, want := p.names(), "shop.accounts"; got != want {
		t.Errorf("uses %s, want %s", got, want)
	}
}

func TestNamesAreAskedForOnlyWhereRulesNeedThem(t *testing.T) {
	for _, tt := range []struct {
		want  decoders.Want
		asked int
	}{
		{decoders.Want{}, 0},
		{decoders.Want{Grammar: tables{}}, 0},
		{decoders.Want{Fields: []string{"sql.tables"}}, 0},
		{relations, 2}, // at login, and after SET search_path
	} {
		p, c := session(t, tt.want)
		for _, text := range []string{"select 1 from pg_class", "begin", "select 2 from pg_class", "commit", "set work_mem = 1000", "", "set search_path = public", "select 1 from pg_class"} {
			c.run(text)
		}
		if got := len(p.seen(decoders.Own)); got != tt.asked {
			t.Errorf("%v: asked %d times, want %d", tt.want.Fields, got, tt.asked)
		}
	}
}

func TestMasksAndNamesAreBothLearned(t *testing.T) {
	schemas(t)
	want := relations
	want.Columns = []decoders.ColumnName{{Schema: "shop", Table: "orders", Column: "id"}}
	p, c := session(t, want)
	c.run("select * from orders")
	if got, want := p.names(), "public.orders"; got != want {
		t.Errorf("uses %s, want %s", got, want)
	}
	c.run("create table shop.new (id int)")
	c.run("set search_path = shop")
	c.run("select * from orders")
	if got, want := p.names(), "shop.orders"; got != want {
		t.Errorf("uses %s, want %s", got, want)
	}
}
