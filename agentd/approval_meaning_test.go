package agentd_test

import (
	"strings"
	"testing"

	"agentd.dev/agentd/internal/asker"
	"agentd.dev/agentd/internal/lab"
)

// grown is what some agent could have put into the database, in a schema of its
// own, before anybody is asked.
const grown = `
create schema evil;
create table evil.ran (n int);
create function evil.move() returns int language plpgsql as $$ begin perform set_config('search_path', 'evil, public', false); return 1; end $$;
create function evil.moved(int, int) returns int language sql as $$ select evil.move() $$;
create function evil.touch() returns trigger language plpgsql as $$ begin perform evil.move(); return new; end $$;
create procedure evil.walk() language plpgsql as $$ begin perform evil.move(); end $$;
create view evil.peek as select evil.move() as m;
create operator evil.+ (leftarg = int, rightarg = int, function = evil.moved);
create function evil.good(text) returns bool language plpgsql as $$ begin perform evil.move(); return true; end $$;
create domain evil.word as text check (evil.good(value));
create table evil.guarded (n int);
insert into evil.guarded values (1);
alter table evil.guarded enable row level security;
create policy p on evil.guarded using (evil.move() = 1);
create table evil.trap (n int);
create trigger t before insert or update on evil.trap for each row execute function evil.touch();
create trigger u before truncate on evil.trap execute function evil.touch();
create type evil.pair as (a int, b int);
create function evil.pairing(evil.pair) returns int language sql as $$ select evil.move() $$;
create cast (evil.pair as int) with function evil.pairing(evil.pair) as implicit;
create aggregate evil.agg(int) (sfunc = evil.moved, stype = int, initcond = '0');
create table evil.drawn (n int, m int generated always as (n + 1) stored);
grant usage, create on schema evil to public;
grant all on all tables in schema evil to public;
`

// What was agreed to for a while is not what the same words mean to a session in
// which they mean something else.
func TestWhatWasAgreedToMeansTheSameWhenItRuns(t *testing.T) {
	t.Parallel()
	o := newOffice(t, strings.Replace(askingRules, "expires: 1h", "for: 10m", 1), lab.Setup{})
	o.server.SQL(t, grown)
	a := o.agent()
	insert := asker.Order{SQL: "insert into ran values (7)", Simple: true}
	a.do(insert)
	o.approve(a.held(0))
	a.result(0)
	for i, tt := range []struct {
		name  string
		texts []string
	}{
		{"a temporary table", []string{"create temp table ran (n int)"}},
		{"set_config", []string{"select set_config('search_path', 'evil, public', false)"}},
		{"a view", []string{"select * from evil.peek"}},
		{"a view in a transaction", []string{"begin", "select * from evil.peek", "commit"}},
		{"an operator", []string{"select 1 operator(evil.+) 1"}},
		{"a domain", []string{"select 'x'::evil.word"}},
		{"a policy", []string{"select * from evil.guarded"}},
		{"a cast", []string{"select ((1, 2)::evil.pair)::int"}},
		{"an implicit cast", []string{"select abs((1, 2)::evil.pair)"}},
		{"copy to", []string{"copy (select m from evil.peek) to stdout"}},
		{"a trigger", []string{"truncate evil.trap"}},
		{"a cursor", []string{"begin", "declare c cursor for select * from evil.peek", "fetch c", "commit"}},
		{"a cursor that is kept", []string{"begin", "declare c cursor with hold for select * from evil.peek", "commit"}},
		{"execute", []string{"prepare p as select * from evil.peek", "execute p"}},
		{"query_to_xml", []string{"select query_to_xml('select evil.move()', true, false, '')"}},
		{"a temporary view", []string{"create temp view v as select evil.move()", "select * from v"}},
		{"a savepoint", []string{"begin", "savepoint a", "set search_path = evil", "release a", "commit"}},
	} {
		conn := i + 1
		for _, text := range tt.texts {
			if got := a.say(asker.Order{Conn: conn, SQL: text, Simple: true}); got.Code != "" {
				t.Fatalf("%s: %s: %s %s", tt.name, text, got.Code, got.Message)
			}
		}
		insert.Conn = conn
		a.do(insert)
		a.held(conn)
	}
	o.server.SQL(t, "alter role "+o.server.User+" set search_path = evil, public")
	insert.Conn = 1000
	a.do(insert)
	a.held(insert.Conn)
	o.server.SQL(t, "alter role "+o.server.User+" reset search_path")
	insert.Conn = 2000 // reads, and means the same
	for _, text := range []string{"select count(*) from ran", "begin", "select n from ran", "commit"} {
		a.say(asker.Order{Conn: insert.Conn, SQL: text, Simple: true})
	}
	if got := a.say(insert); got.Tag != "INSERT 0 1" {
		t.Errorf("in a session that has read: %+v", got)
	}
	if got := o.server.SQL(t, "select count(*) from evil.ran"); got != "0" {
		t.Errorf("%s have run with another meaning", got)
	}
}

// What was refused with a token in a transaction that has read is let through
// when the transaction is tried again, and not where what it means has changed
// between the two.
func TestATokenIsForWhatTheStatementMeant(t *testing.T) {
	t.Parallel()
	o := newOffice(t, askingRules, lab.Setup{})
	o.server.SQL(t, grown)
	a := o.agent()
	try := func(conn, n int) asker.Answer {
		for _, text := range []string{"begin", "select count(*) from ran"} {
			a.say(asker.Order{Conn: conn, SQL: text})
		}
		got := a.say(asker.Order{Conn: conn, SQL: "insert into ran values ($1)", Args: []any{n}})
		end := "commit"
		if got.Code != "" {
			end = "rollback"
		}
		a.say(asker.Order{Conn: conn, SQL: end})
		return got
	}
	id := idIn(t, try(0, 1).Message)
	o.approve(id)
	a.say(asker.Order{SQL: "select n from evil.trap"}) // and has done other things meanwhile
	if got := try(0, 1); got.Tag != "INSERT 0 1" {
		t.Errorf("tried again: %+v", got)
	}
	id = idIn(t, try(1, 2).Message)
	o.approve(id)
	a.say(asker.Order{Conn: 1, SQL: "select * from evil.peek"})
	if got := try(1, 2); got.Code == "" || idIn(t, got.Message) == id {
		t.Errorf("with another meaning: %+v", got)
	}
	if got := try(2, 2); got.Tag != "INSERT 0 1" {
		t.Errorf("in a session in which it means the same: %+v", got)
	}
}
