package agentd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
)

// ledgers is a database with a schema that agents must not write to, and much
// that leads there.
const ledgers = `
create schema billing; create schema shop; create schema hr;
create table billing.accounts (id int primary key, amount int);
create table billing.archive () inherits (billing.accounts);
create table billing.entries (id int, amount int) partition by range (id);
create table shop.entries_1 partition of billing.entries for values from (0) to (100);
create table shop.accounts (id int primary key, amount int);
create table shop."Orders" (id int, note text);
create table shop.base (id int, amount int);
create table billing.heir () inherits (shop.base);
create view shop.balance as select id, amount from billing.accounts;
create view shop.balances as select * from shop.balance;
create view shop.ruled as select 1 as id;
create rule r as on insert to shop.ruled do instead insert into billing.accounts values (99, 0);
create table hr.employees (id int, name text, salary int);
create function shop.purge() returns void language sql as 'delete from billing.accounts';
insert into billing.accounts values (1, 100); insert into billing.archive values (2, 200);
insert into billing.entries values (1, 1); insert into billing.heir values (1, 1);
insert into shop.accounts values (1, 1), (2, 2); insert into shop."Orders" values (1, 'a');
insert into hr.employees values (1, 'Ada', 70000), (2, 'Grace', 90000);
grant all on schema billing, shop, hr to agent;
grant all on all tables in schema billing, shop, hr to agent;
alter table shop.accounts owner to agent; alter table shop."Orders" owner to agent;
`

// touches are statements, each a session of its own, and the rule of
// tables-and-functions.yaml that refuses the last of them, "" if none does.
var touches = []struct{ name, text, rule string }{
	{"by its name", "delete from billing.accounts where id = 1;", "billing-is-read-only"},
	{"read by its name", "select amount from billing.accounts where id = 1;", ""},
	{"quoted", `delete from "billing"."accounts" where id = 1;`, "billing-is-read-only"},
	{"spelt in code points", `delete from U&"b\0069lling".accounts where id = 1;`, "billing-is-read-only"},
	{"in capitals", "DELETE FROM Billing.ACCOUNTS WHERE id = 1;", "billing-is-read-only"},
	{"with the database's name", "delete from orders.billing.accounts where id = 1;", "billing-is-read-only"},
	{"ONLY", "update only billing.accounts set amount = 0 where id = 1;", "billing-is-read-only"},
	{"ONLY in parentheses", "update only (billing.accounts) set amount = 0 where id = 1;", "billing-is-read-only"},
	{"with a star", "update billing.accounts * set amount = 0 where id = 1;", "billing-is-read-only"},
	{"under an alias", "update billing.accounts as shop set amount = 0 where shop.id = 1;", "billing-is-read-only"},
	{"an alias that is called so", "update shop.accounts as billing set amount = 0 where billing.id = 1;", ""},
	{"search_path", "set search_path = billing;\nupdate accounts set amount = 0 where id = 1;", "billing-is-read-only"},
	{"search_path, first one first", "set search_path = shop, billing;\nupdate accounts set amount = 0 where id = 1;", ""},
	{"search_path, the one that has it", "set search_path = shop, billing;\nupdate entries set amount = 0 where id = 1;", "billing-is-read-only"},
	{"search_path by a function", "select set_config('search_path', 'billing', false);", "stay-who-you-are"}, // or any other
	{"search_path for a transaction", "begin;\nset local search_path = billing;\nupdate accounts set amount = 0 where id = 1;", "billing-is-read-only"},
	{"search_path after a transaction", "set search_path = shop;\nbegin;\nset local search_path = billing;\ncommit;\nupdate accounts set amount = 0 where id = 1;", ""},
	{"search_path before a savepoint", "set search_path = billing;\nbegin;\nsavepoint s;\nset search_path = shop;\nrollback to s;\nupdate accounts set amount = 0 where id = 1;", "billing-is-read-only"},
	{"search_path in the same text", "set search_path = shop\\; set search_path = billing\\; update accounts set amount = 0 where id = 1;", "unclassified"},
	{"search_path reset", "set search_path = billing;\nreset search_path;\nset search_path = shop;\nupdate accounts set amount = 0 where id = 1;", ""},
	{"a table that was in the way", "set search_path = shop, billing;\nbegin;\ndrop table shop.accounts;\nupdate accounts set amount = 0 where id = 1;", "billing-is-read-only"},
	{"a temporary table in the way", "set search_path = billing;\ncreate temp table accounts (id int, amount int);\nupdate accounts set amount = 0 where id = 1;", ""},
	{"a temporary table gone", "set search_path = billing;\ncreate temp table accounts (id int, amount int);\ndrop table accounts;\nupdate accounts set amount = 0 where id = 1;", "billing-is-read-only"},
	{"a table of the same text", "create temp table x (id int)\\; insert into x values (1)\\; select * from x;", ""},
	{"prepared under another path", "set search_path = shop;\nprepare p as update accounts set amount = 0 where id = 1;\nset search_path = billing;\nexecute p;", "unclassified"},
	{"prepared", "set search_path = shop;\nprepare p as update accounts set amount = 0 where id = 1;\nexecute p;", ""},
	{"PREPARE", "prepare p as delete from billing.accounts where id = 1;", "billing-is-read-only"},
	{"EXPLAIN ANALYZE", "explain (analyze, costs off) delete from billing.accounts where id = 1;", "billing-is-read-only"},
	{"a CTE", "with x as (delete from billing.accounts where id = 1 returning *) select * from x;", "billing-is-read-only"},
	{"a CTE that is called so", "with accounts as (select 1 as id) select * from accounts;", ""},
	{"MERGE", "merge into billing.accounts a using shop.accounts s on a.id = s.id when matched then delete;", "billing-is-read-only"},
	{"COPY", "copy billing.accounts from stdin;\n\\.\n", "billing-is-read-only"},
	{"COPY out", "copy billing.accounts to stdout;", ""},
	{"TRUNCATE beside another", "truncate shop.accounts, billing.accounts;", "billing-is-read-only"},
	{"DDL", "alter table billing.accounts add column note text;", "billing-is-read-only"},
	{"SELECT INTO", "select 1 as x into billing.mine;", "billing-is-read-only"},
	{"CREATE TABLE AS", "set search_path = billing;\ncreate table mine as select 1;", "billing-is-read-only"},
	{"a view", "update shop.balance set amount = 0 where id = 1;", "billing-is-read-only"},
	{"a view of a view", "update shop.balances set amount = 0 where id = 1;", "billing-is-read-only"},
	{"a rule", "insert into shop.ruled values (1);", "billing-is-read-only"},
	{"a parent", "update shop.base set amount = 0 where id = 1;", "billing-is-read-only"},
	{"a partition elsewhere", "update shop.entries_1 set amount = 0 where id = 1;", "billing-is-read-only"},
	{"a quoted name of another", `update shop."Orders" set note = 'b' where id = 1;`, ""},
	{"a name that holds a dot", `create temp table "billing.x" (id int);`, ""},

	{"no WHERE", "delete from shop.accounts;", "where-or-nothing"},
	{"no WHERE, but a word", "delete from shop.accounts -- where\n;", "where-or-nothing"},
	{"no WHERE in a CTE", "with x as (delete from shop.accounts returning *) select * from x where id = 1;", "where-or-nothing"},
	{"no WHERE in the second", "update shop.accounts set amount = 1 where id = 1\\; update shop.accounts set amount = 1;", "where-or-nothing"},
	{"no WHERE but of a subquery", "update shop.accounts set amount = (select 1 where true);", "where-or-nothing"},
	{"a WHERE", "update shop.accounts set amount = 1 where id in (select id from shop.base);", ""},

	{"a column", "select salary from hr.employees;", "salaries-are-not-used"},
	{"all columns", "select * from hr.employees;", "salaries-are-not-used"},
	{"the row", "select e from hr.employees e;", "salaries-are-not-used"},
	{"an order", "set search_path = hr;\nselect name from employees order by salary;", "salaries-are-not-used"},
	{"a condition of a subquery", "select 1 from shop.base where exists (select from hr.employees where salary > 80000);", "salaries-are-not-used"},
	{"other columns", "select id, name from hr.employees order by name;", ""},

	{"a function", "select pg_sleep(1);", "no-server-functions"},
	{"a function with its schema", "select pg_catalog.pg_sleep(1);", "no-server-functions"},
	{"a function with its schema, quoted", `select "pg_catalog"."pg_sleep"(1);`, "no-server-functions"},
	{"a function in FROM", "select * from pg_ls_dir('.');", "no-server-functions"},
	{"a function in a DEFAULT", "create temp table x (a text default pg_read_file('x'));", "no-server-functions"},
	{"another function", "select upper('pg_sleep');", ""},
	{"COPY to a file", "copy shop.base to '/tmp/x';", "copy-to-the-client-only"},
	{"SET ROLE", "set role postgres;", "stay-who-you-are"},
	{"SET SESSION ROLE", "set session role to default;", "stay-who-you-are"},
	{"RESET of all", "reset all;", "stay-who-you-are"},
	{"a setting", "set statement_timeout = 1000;", ""},
}

func TestWhatStatementsTouchIsWhatTheyTouchAtTheServer(t *testing.T) {
	t.Parallel()
	policy, err := os.ReadFile("../deploy/policies/tables-and-functions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	server := lab.Postgres(t)
	server.SQL(t, ledgers)
	const look = `select array_agg(x::text order by x::text) from (select tableoid::regclass || '|' || a as x from billing.accounts a
		union all select tableoid::regclass || '|' || e from billing.entries e union all select 'heir|' || h from billing.heir h) s`
	before := server.SQL(t, look)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: string(policy), Target: server})
	// One psql runs them all, each in a session of its own.
	const mark = "--next--"
	var script []string
	for _, tt := range touches {
		script = append(script, `\c -`, tt.text, `\warn `+mark)
	}
	var errors strings.Builder
	cmd := psql(server, script...)
	cmd.Stderr = &errors
	if err := agentd.Captured(t, cmd).Run(); err != nil {
		t.Fatalf("psql: %v\n%s", err, errors.String())
	}
	said := strings.Split(errors.String(), mark)
	for i, tt := range touches {
		switch got := said[min(i, len(said)-1)]; {
		case tt.rule == "" && strings.Contains(got, "ERROR"):
			t.Errorf("%s: %s\nprinted %q, want no error", tt.name, tt.text, got)
		case tt.rule != "" && !strings.Contains(got, "(agentd, rule "+tt.rule+")"):
			t.Errorf("%s: %s\nprinted %q, want it refused by %s", tt.name, tt.text, got, tt.rule)
		}
	}
	if after := server.SQL(t, look); after != before {
		t.Errorf("billing is now %s, want %s", after, before)
	}
}

// A rule on tables that comes while a session goes on cannot be kept by it: its
// decoder has not asked what names mean.
func TestANewRuleOnTablesEndsASessionThatCannotKeepIt(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, ledgers)
	a := lab.StartAgentd(t, lab.Setup{Policy: judged, Target: server})
	c := converse(t, a, server)
	if got := c.say(t, "delete from billing.accounts where id = 7 returning 'x';"); got != "" {
		t.Fatalf("got %q, want it served", got)
	}
	before := status(t, a)
	write(t, filepath.Join(a.Dir, "policies", "policy.yaml"), `
rules:
  - {name: billing, on: request, when: 'sql.tables.exists(t, t.startsWith("billing."))', do: deny, message: Not that.}
`)
	eventually(t, a, "a rule is new", func(s control.Status) bool { return s.Policy.Loaded.After(before.Policy.Loaded) })
	if got := c.say(t, "select 1 from billing.accounts;"); !strings.Contains(got, "The rules have changed") {
		t.Errorf("got %q, want the session to be ended", got)
	}
	if got := converse(t, a, server).say(t, "select 1 from billing.accounts;"); !strings.Contains(got, "Not that.") {
		t.Errorf("a new session got %q, want it refused", got)
	}
}
