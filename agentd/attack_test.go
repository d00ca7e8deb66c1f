package agentd_test

import (
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// loot is what an attacker would like to read, and places to carry it to. The
// attacker owns all of it, as agents that run migrations do.
const loot = customers + `
create table shops (id int primary key, city text);
insert into shops values (1, 'Rome'), (2, 'Oslo');
create table above (id int, name text, email text);
alter table customers inherit above;
create domain mail as text;
create table letters (id int, recipient mail);
`

// attacks are ways to read a masked column that once worked, and neighbours of
// theirs. Each runs in a session of its own, one statement at a time.
var attacks = []struct{ name, text string }{
	{"a notification sent by a name in code points", `listen n; select U&"pg\005fnotify"('n', email) from customers; select 1;`},
	{"the same with an escape of its own", `listen n; select U&"pg!005fnotify" uescape '!' ('n', email) from customers; select 1;`},
	{"a setting", `select U&"set\005fconfig"('a.b', email, false) from customers limit 1; select current_setting('a.b');`},
	{"an error about too long a word", "select (repeat(replace(email, '@', '_'), 200))::tsquery from customers where id = 1;"},
	{"an error about a cursor's name", `select U&"cursor\005fto_xml"(email::refcursor, 1, false, false, '') from customers;`},
	{"MERGE that also inserts", "merge into shops s using customers c on s.id = c.id when matched then update set city = c.email when not matched then insert values (9, 'x'); select city from shops;"},
	{"UPDATE beside an INSERT", "with x as (insert into shops values (77, 'x')) update shops set city = email from customers; select city from shops;"},
	{"ON CONFLICT from the old row", "insert into customers values (1, 'x', 'y') on conflict (id) do update set name = customers.email; select name from customers;"},
	{"ON CONFLICT from the old row's whole", "insert into customers as c values (1, 'x', 'y') on conflict (id) do update set name = c::text; select name from customers;"},
	{"UPDATE from the whole row", "update customers set name = customers::text; select name from customers;"},
	{"UPDATE from the whole row by assignment", "update customers set name = customers where id > 0; select name from customers;"},
	{"UPDATE from the whole row's columns", "update only public.customers set name = upper(public.customers.*::text); select name from customers;"},
	{"UPDATE from a column by another name", "update shops set city = x from customers as c(a, b, x); select city from shops;"},
	{"UPDATE from a column of a star", "update shops set city = t from (select * from customers where id = 1) s(a, b, t); select city from shops;"},
	{"UPDATE from TABLE", "update shops set (id, city) = (select a, x from (table customers) t(a, b, x) limit 1); select city from shops;"},
	{"UPDATE from what another returns", "with x as (update customers set name = 'a' returning *) update shops set city = c from x as x(a, b, c); select city from shops;"},
	{"UPDATE from what DELETE returns", "with x(a, b, c) as (delete from customers where id = 3 returning *) update shops set city = c from x; select city from shops;"},
	{"INSERT of what DELETE returns", "with x(a, b, c) as (delete from customers where id = 3 returning *) insert into shops table x; select city from shops;"},
	{"characters as numbers", "select ascii(substr(x, 1, 1)) + 100000 from customers as c(a, b, x);"},
	{"characters as numbers without a function", `select ('a' || x)::"char"::int + 100000 from customers as c(a, b, x);`},
	{"a constraint that is checked at COMMIT", "begin; set constraints all deferred; delete from customers where id = 1; commit;"},
	{"a constraint that is checked by SET", "begin; set constraints all deferred; delete from customers where id = 1; set constraints all immediate; rollback;"},
	{"a domain's check", "alter domain mail add constraint c check (value::text::int > 0);"},
	{"a schema by another name", "alter schema public rename to p2; select email from p2.customers; alter schema p2 rename to public;"},
	{"a parent table", "select email from above; select lower(email) from above; select a from above a;"},
	{"a function by attribute notation", "select customers.row_to_json from customers; select c.to_jsonb from customers c;"},
	{"a cursor that outlives its transaction", "begin; declare c scroll cursor with hold for select email from customers; commit; fetch all c; fetch backward all c;"},
	{"EXPLAIN of a prepared statement", "prepare p as select lower(email) from customers; explain analyze execute p; execute p;"},
	{"a function that keeps what it is given", "create function keep(text) returns void begin atomic insert into shops values (5, $1); end; select keep(email) from customers limit 1; select city from shops;"},
	{"an aggregate that sets", "create aggregate keep(text, boolean) (sfunc = set_config, stype = text, initcond = 'a.b'); select keep(email, false) from customers; select current_setting('a.b');"},
	{"a domain that sets", "create domain keep as text check (set_config('a.b', value, false) is not null); select email::keep from customers limit 1; select current_setting('a.b');"},
	{"an operator that notifies", "create operator ==> (leftarg = text, rightarg = text, function = pg_notify); listen n; select 'n' ==> email from customers; select 1;"},
	{"COPY with a delimiter that is none", "copy customers to stdout with (format csv, quote 'A', header);"},
	{"a table under a protected one's name", "create temp table customers (id int, name text, email text); insert into customers select * from public.customers; select upper(email) from customers; select upper(name) from customers;"},
	{"a name of four parts", "select lower(postgres.public.customers.email), upper(customers.email) from postgres.public.customers;"},
	{"a view that hides the name", "create view v as select id, reverse(email) as r from customers; select r || '' from v;"},
	{"a view of a row", "create view v as select c as r from customers c; select (r).email from v; select r::text from v;"},
	{"rows built from documents", "select upper(email) from jsonb_populate_recordset(null::above, (select jsonb_agg(c) from customers c));"},
	{"an array taken apart", "select lower(u) from unnest(array(select email from customers)) u;"},
	{"a recursive query", "with recursive r(n, x) as (select 1, name from customers union all select n + 1, email from r join customers on true where n < 3) select upper(x) from r;"},
	{"a unique violation", "insert into customers (id, email) select 9, email from customers where id = 1; insert into customers (id, email) values (9, 'ada@' || 'exam' || 'ple.com');"},
	{"a shadowed catalogue", "create schema pgc; set search_path = pgc, pg_catalog, public; create view pgc.pg_class as select 1 as oid; select email from customers;"},
}

// lootedServer has loot whose foreign key shows addresses when it is broken.
func lootedServer(t *testing.T) *lab.Server {
	server := lab.Postgres(t)
	server.SQL(t, loot+`
		alter table above alter email type mail;
		alter table customers add unique (email);
		alter table letters add foreign key (recipient) references customers (email) deferrable;
		insert into letters values (1, 'ada@example.com');
		alter table shops owner to agent; alter table letters owner to agent;
		alter table above owner to agent; alter domain mail owner to agent;`)
	return server
}

func TestNoKnownAttackReadsAMaskedColumn(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]string{"guesses refused": strict, "guesses allowed": guessable} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := lootedServer(t)
			agentd := lab.StartAgentd(t, lab.Setup{Policy: policy, Target: server})
			for _, tt := range attacks {
				t.Run(tt.name, func(t *testing.T) {
					got := output(t, agentd.Captured(t, psql(server, strings.ReplaceAll(tt.text, "; ", ";\n"))))
					if strings.Contains(got, "example") || strings.Contains(got, "1000") {
						t.Errorf("%s\nshows a protected value:\n%.500s", tt.text, got)
					}
				})
			}
		})
	}
}

// guessable is strict, but for guesses.
const guessable = strict + "    guesses: allow\n"

func TestOrdinaryStatementsOnATableWithAMaskedColumnRun(t *testing.T) {
	t.Parallel()
	ordinary(t, guessable, []struct{ text, want string }{
		{"select count(*), max(id), round(avg(id)) from customers where name like 'A%';", "1|1|1\n"},
		{"select c.id, s.city, count(*) over () from customers c join shops s using (id) order by 1;", "1|Rome|2\n2|Oslo|2\n"},
		{"insert into customers (id, name, email) values (8, 'Tim', 'new') on conflict (id) do update set name = excluded.name, email = excluded.email returning id;", "8\n"},
		{"update customers set name = 'Ada L.', email = 'ada@new' where id = 1 and email <> 'x' returning id, name;", ""},
		{"update customers set name = 'Ada L.', email = 'ada@new' where id = 3 returning id, name;", "3|Ada L.\n"},
		{"select name from customers where email = 'ada@new';", ""},
		{"select name from customers order by email;", ""},
		{"insert into customers values (9, 'x', 'y') on conflict (email) do nothing;", ""},
		{"update shops set city = 'Bern' from customers where customers.id = shops.id and shops.id = 2 returning shops.city;", "Bern\n"},
		{"update shops set id = id * 10 where id in (select id from customers where name = 'Grace') returning id;", "20\n"},
		{"select lower(name), count(*) from customers group by name having count(*) > 0 order by name limit 1;", "ada|1\n"},
		{"create temp table names as select id, upper(name) as n from customers; select n from names order by id limit 1;", "ADA\n"},
		{"create temp view named as select id, name from customers; select length(name) from named where id = 2;", "5\n"},
		{"update customers set email = lower(email) where id = 2 returning id;", "2\n"},
		{"copy (select id, email, name from customers where id = 3) to stdout;", "3\t[masked]\tAda L.\n"},
		{"insert into letters values (7, 'ada@new') returning id;", "7\n"},
	})
}

func TestWritesThatGuessNothingRun(t *testing.T) {
	t.Parallel()
	ordinary(t, strict, []struct{ text, want string }{
		{"insert into customers (id, name, email) values (8, 'Tim', 'new') returning id;", ""},
		{"insert into customers values (8, 'Tim', 'new');", ""},
		{"update customers set email = lower(email) where id = 2 returning id;", ""},
		{"delete from customers where id = 3;", ""},
		{"insert into letters values (7, 'ada@new') returning id;", ""},
		{"update letters set recipient = 'x';", ""},
		{"insert into customers (id, name) values (8, 'Tim') on conflict (id) do update set name = excluded.name returning id;", "8\n"},
		{"insert into customers (id, name, email) values (9, 'Tom', null), (10, 'Sue', default) returning id;", "9\n10\n"},
		{"update customers set name = 'Ada L.' where id = 1 returning id, name;", "1|Ada L.\n"},
		{"update customers set email = null where id = 8 returning id;", "8\n"},
		{"insert into letters (id) values (7) returning id;", "7\n"},
		{"insert into letters values (8, null) returning id;", ""}, // which column is NULL is not known
		{"update letters set id = 70, recipient = null where id = 7 returning id;", "70\n"},
		{"delete from letters where id = 70 returning id;", "70\n"},
		{"insert into shops values (3, 'Bern') returning city;", "Bern\n"},
		{"create temp table seen (id int, note text)\\; insert into seen (id, note) values (1, 'x') returning id;", "1\n"},
		{"create table more (id int unique, note text);\ninsert into more values (1, 'x') returning note;", "x\n"},
	})
}

// ordinary runs statements on loot under a policy, each of which answers, or is
// refused if nothing is wanted.
func ordinary(t *testing.T, policy string, statements []struct{ text, want string }) {
	t.Helper()
	server := lootedServer(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: policy, Target: server})
	for _, tt := range statements {
		got := output(t, agentd.Captured(t, psql(server, tt.text)))
		if tt.want == "" {
			if !strings.Contains(got, "42501") {
				t.Errorf("%s printed %q, want a refusal", tt.text, got)
			}
		} else if got != tt.want {
			t.Errorf("%s printed %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestClientThatAsksForEncryptionAgainAndAgainIsSentAway(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: strict, Target: server})
	ask := message("", "\x04\xd2\x16\x2f")
	cmd := exec.Command("/usr/bin/python3", "-c", throw, server.Addr.Addr().String(), portOf(server),
		hex.EncodeToString([]byte(strings.Repeat(ask, 1000))))
	if got := output(t, agentd.Captured(t, cmd)); strings.Count(got, "N") > 5 || !strings.HasPrefix(got, "N") {
		t.Errorf("the client was told %.100q, want one N and the end", got)
	}
}
