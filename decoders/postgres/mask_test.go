package postgres_test

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"agentd.dev/decoders"
	ways "agentd.dev/decoders/masks"
	"github.com/jackc/pgx/v5"
	_ "github.com/lib/pq"
)

// protected are the columns of these tests.
var protected = decoders.Want{Grammar: newGrammar(), Columns: []decoders.ColumnName{
	{Schema: "public", Table: "people", Column: "email"},
	{Schema: "public", Table: "people", Column: "salary"},
}}

// maskAll masks whatever is protected and refuses what was not understood.
func maskAll(ev *decoders.Event) (*decoders.Refusal, []decoders.Mask) {
	var masks []decoders.Mask
	for _, c := range ev.Columns {
		masks = append(masks, decoders.Mask{Index: c.Index, Way: ways.Text("***")})
	}
	if ev.Unclassified != "" {
		return &decoders.Refusal{Rule: "unclassified", Reason: ev.Unclassified}, nil
	}
	if len(ev.Exposures) > 0 {
		return &decoders.Refusal{Rule: "masks", Reason: ev.Exposures[0].What}, nil
	}
	return nil, masks
}

// people makes a database with protected columns and returns its name.
func people(t testing.TB) string {
	t.Helper()
	name := strings.ToLower(t.Name())
	admin := dial(t, serverAddr(t), "postgres")
	for _, r := range admin.run("CREATE DATABASE " + name) {
		if r.typ == 'E' {
			t.Fatal(field(r.body, 'M'))
		}
	}
	admin.conn.Close()
	c := dial(t, serverAddr(t), name)
	for _, r := range c.run(`
		CREATE TABLE people (id int PRIMARY KEY, name text, email varchar(40), salary int, dropped int);
		ALTER TABLE people DROP COLUMN dropped;
		CREATE TABLE shops (id int, city text, email_like text);
		INSERT INTO people SELECT i, 'name' || i, 'secret' || i || '@example.com', 777000 + i FROM generate_series(1, 3) i;
		INSERT INTO people VALUES (4, 'none', NULL, NULL);
		INSERT INTO shops VALUES (1, 'Rome', 'harmless');
		CREATE VIEW contacts AS SELECT id AS contact, lower(email) AS mail, email AS plain FROM people;
		CREATE VIEW names AS SELECT id, name FROM people;
		CREATE VIEW deep AS SELECT mail AS m, contact AS n FROM contacts;
		CREATE MATERIALIZED VIEW kept AS SELECT length(name) AS l, salary * 2 AS s FROM people;
		CREATE FUNCTION peek(int) RETURNS text STABLE LANGUAGE sql AS 'SELECT email FROM people WHERE id = $1';
		CREATE VIEW hides AS SELECT id, peek(id) AS peeked, name FROM people WHERE email IS NOT NULL;
		CREATE TABLE staff (extra text, more int) INHERITS (people);
		INSERT INTO staff VALUES (9, 'boss', 'secret9@example.com', 777009, 'x', 1);
		CREATE SCHEMA other; CREATE TABLE other.people (id int, email varchar(40), salary int);
		INSERT INTO other.people VALUES (1, 'public@other', 1); ANALYZE`) {
		if r.typ == 'E' {
			t.Fatal(field(r.body, 'M'))
		}
	}
	c.conn.Close()
	return name
}

// leaks reports protected values among bytes from the server.
func leaks(b []byte) bool {
	raw := string(b)
	for i := range int32(10) {
		if strings.Contains(raw, string(binary.BigEndian.AppendUint32(nil, uint32(777000+i)))) {
			return true
		}
	}
	for _, secret := range []string{"secret", "SECRET", "77700", "terces", "7365637265"} {
		if strings.Contains(raw, secret) {
			return true
		}
	}
	return false
}

// reads are ways to read protected columns, with the rows that must come.
var reads = []struct {
	text string
	want []string // nil: whatever does not leak
}{
	{"select email from people where id = 1", []string{"***"}},
	{"select id, name, email, salary from people order by id", []string{"1|name1|***|NULL", "2|name2|***|NULL", "3|name3|***|NULL", "4|none|NULL|NULL", "9|boss|***|NULL"}},
	{"select * from only people where id = 2", []string{"2|name2|***|NULL"}},
	{"select p.email as innocent from people p where id < 2", []string{"***"}},
	{"select x from (select email as x from people where id = 1) s", []string{"***"}},
	{"with c as (select email from people where id = 1) select * from c", []string{"***"}},
	{"table people", nil},
	{"select lower(email), id from people where id = 1", []string{"***|1"}},
	{"select email || 'x' from people where id = 1", []string{"***"}},
	{"select round(salary) from people where id = 1", []string{"NULL"}},
	{"select max(email), count(*) from people", []string{"***|5"}},
	{"select case when id = 1 then email else name end from people where id = 1", []string{"***"}},
	{"select email from people where id = 1 union select 'x'", nil},
	{"select to_jsonb(p) from people p", nil},
	{"select row(p.*) from people p", nil},
	{"select p from people p", nil},
	{"select p::text from people p", nil},
	{"select array_agg(p) from people p", nil},
	{"select array_agg(email) from people", nil},
	{"select string_agg(email, ',') from people", []string{"***"}},
	{`select "email" from "people" where id = 1`, []string{"***"}},
	{"select EMAIL from PUBLIC.PEOPLE where id = 1", []string{"***"}},
	{`select U&"\0065mail" from people where id = 1`, []string{"***"}},
	{`select lower(U&"\0065mail") from people where id = 1`, nil},
	{"select reverse(email) from people where id = 1", []string{"***"}},
	{"select translate(reverse(email), '@', '.') from people where id = 1", []string{"***"}},
	{"select mail from contacts where contact = 1", []string{"***"}},
	{"select plain || 'x' from contacts", nil},
	{"select current_setting('server_encoding')", []string{"UTF8"}},
	{"create foreign table f (email text) server loop options (table_name 'people')", nil},
	{"create publication everything for all tables", nil},
	{"select upper(x) from people as p(a, b, x)", nil},
	{"select upper((p).email), (p.*).salary + 1 from people p", nil},
	{"select upper(t.email) from (select (p).* from people p) t", nil},
	{"select upper(x) from (values ((select email from people limit 1))) v(x)", nil},
	{"select upper(u) from unnest(array(select email::text from people)) u", nil},
	{"select upper(r.email) from json_to_record((select row_to_json(p) from people p limit 1)) as r(id int, email text)", nil},
	{"select upper(email) from jsonb_populate_record(null::people, (select to_jsonb(p) from people p where id = 1))", nil},
	{"select upper(l.e) from people p, lateral (select p.email as e) l", nil},
	{"select lag(email) over () || '' from people", nil},
	{"select (array[email, name])[1] from people", nil},
	{"select name from people union all select upper(email) from people", nil},
	{"select upper(x) from (select name as x from people union all select email from people) s", nil},
	{"with recursive r(n, x) as (select 1, name from people union all select n + 1, email::text from r join people on true where n < 2) select upper(x) from r", nil},
	{"select (select upper(p.email)) from people p", nil},
	{"select upper(j.c) from (people p join shops s on p.id = s.id) as j(a, b, c)", nil},
	{"select upper(people.email::text) from public.people", nil},
	{"select email(p), upper(email(p)) from people p", nil},
	{"select xmlelement(name x, email), xmlforest(email) from people", nil},
	{"select format('%s', email), concat_ws('-', name, email) from people", nil},
	{"select generate_series(1, length(email)) from people where id = 1", nil},
	{"select name from people limit (select length(email) from people where id = 1)", nil},
	{"insert into shops (city) values ((select email from people limit 1))", nil},
	{"update shops set (id, city) = (select id, email from people limit 1)", nil},
	{"create temp view v as select * from people; select upper(v.email) from v", nil},
	{"create temp table t as table people; select upper(email) from t", nil},
	{"select pg_sleep(0), pg_sleep(length(email) / 1000.0) from people", nil},
	{"select contact + 1 from contacts where contact = 2", []string{"3"}},
	{"select m, n, n * 2 from deep where n = 1", []string{"***|1|2"}},
	{"select n from deep where m > 'x'", nil},
	{"select l, l + 1, s, sum(s) over () from kept where l > 4 limit 1", []string{"5|6|NULL|NULL"}},
	{"select h.id, upper(name), peeked from hides h where id = 1", nil},
	{"select peek(1)", nil},
	{"select p.peek from shops p", nil},
	{"select lower(name), count(*), count(email) from people group by name order by name limit 1", []string{"boss|1|1"}},
	{"select name from people where email like 'secret1%'", nil},
	{"select salary + 0 from people", nil},
	{"select 1 / (ascii(email) - 1) from people", nil},
	{"select email::int from people", nil},
	{"select id from (select id, 1 / ascii(email) from people offset 0) p", nil},
	{"select name from people order by email", nil},
	{"select email from people group by email", nil},
	{"select distinct email from people", nil},
	{"select a.name from people a join people b on a.email = b.email and a.id <> b.id", nil},
	{"select case when email > 's' then 1 else 2 end from people", nil},
	{"select count(*) filter (where salary > 777001) from people", nil},
	{"select rank() over (order by salary), name from people", nil},
	{"select name from people natural join shops", nil},
	{"insert into people values (1, 'x', 'y', 1) on conflict (email) do nothing", nil},
	{"update people set email = lower(email) where id = 1 returning id", []string{"1"}},
	{"update shops set city = 'Rome' where id = 1 returning city", []string{"Rome"}},
	{"insert into shops select id, name from people where id = 0 returning id", []string{}},
	{"select upper(mail) from contacts", nil},
	{"select upper(m) from deep", nil},
	{"select c from contacts c", nil},
	{"select m from deep", nil},
	{"select name from names where id = 1", []string{"name1"}},
	{"select * from staff", []string{"9|boss|***|NULL|x|1"}},
	{"select lower(email) from staff", []string{"***"}},
	{"select s::text from staff s", nil},
	{"update people set salary = salary where id = 1 returning email", nil},
	{"update people set name = 'name1' where email = 'secret1@example.com' returning id", nil},
	{"update people set name = 'name1' where id = 1 returning *", []string{"1|name1|***|NULL"}},
	{"insert into people values (50, 'n', 'secret50@example.com', 777050) returning *", []string{"50|n|***|NULL"}},
	{"delete from people where id = 50 returning email, id", []string{"***|50"}},
	{"select email, salary from other.people", nil},
	{"select city from shops", []string{"Rome"}},
	{"select upper(city), email_like from shops", []string{"ROME|harmless"}},
	{"select name, length(name) from people where id = 1", []string{"name1|5"}},
	{"explain (costs off) select email from people where email = 'secret1@example.com'", nil},
	{"explain (analyze, costs off, timing off, summary off) select email from people where email = 'secret1@example.com'", nil},
	{"copy people to stdout", []string{"1\tname1\t***\t\\N\n", "2\tname2\t***\t\\N\n", "3\tname3\t***\t\\N\n", "4\tnone\t\\N\t\\N\n"}},
	{"copy people (name, email) to stdout with (format csv, header)", []string{"name,email\n", "name1,\"***\"\n", "name2,\"***\"\n", "name3,\"***\"\n", "none,\n"}},
	{"copy people (salary, id) to stdout csv", []string{",1\n", ",2\n", ",3\n", ",4\n"}},
	{"copy people (id, name) to stdout", []string{"1\tname1\n", "2\tname2\n", "3\tname3\n", "4\tnone\n"}},
	{"copy (select id, upper(email), length(name) from people where id = 2) to stdout", []string{"2\t\\N\t5\n"}},
	{"copy (select * from people) to stdout", nil},
	{"copy people to stdout with (format 'csv')", nil},
	{"copy people to stdout with (delimiter ';')", nil},
	{"copy people to stdout csv quote 'n'", nil},
	{"copy people to stdout with binary", nil},
	{"copy people (email, id) to stdout with (format binary)", nil},
	{"copy contacts to stdout with csv header", nil},
	{"copy (insert into shops select id, email from people returning id) to stdout", nil},
	{"copy people to '/tmp/stolen'", nil},
	{"copy (select email from people) to program 'cat'", nil},
	{"copy (select email from people) to stdout", nil},
	{"copy contacts to stdout", nil},
	{"create temp table stolen as select email as e from people; select e from stolen", nil},
	{"select email as e into temp stolen2 from people; select e from stolen2", nil},
	{"insert into shops select id, email from people; select city from shops", nil},
	{"update people set name = email; select name from people", nil},
	{"do $$ begin raise notice '%', (select email from people limit 1); end $$", nil},
	{"create temp view w as select email as e from people; select e || '' from w", nil},
	{"begin; declare c cursor for select lower(email) as l from people; fetch all c; commit", nil},
	{"begin; declare c cursor for select email from people order by id; fetch 1 c; commit", []string{"***"}},
	{"prepare s as select lower(email) as l from people; execute s; deallocate s", nil},
	{"select email::int from people where id = 1", nil},
	{"select ('x' || email)::regclass from people where id = 1", nil},
	{"insert into people values (1, 'secret-in-error', 'secret', 777001)", nil},
	{"select 1; select email from people where id = 1; select 'b'", []string{"1", "***", "b"}},
	{"select set_config('a.b', email, false) from people; select current_setting('a.b')", nil},
	{"listen n; select pg_notify('n', email) from people; select 1", nil},
	{"select lo_from_bytea(4711, email::bytea) from people limit 1; select convert_from(lo_get(4711), 'utf8')", nil},
	{"merge into shops s using people p on s.id = p.id when matched then update set city = p.email; select city from shops", nil},
	{"with x as (insert into shops select id, email from people returning city) select city from x", nil},
	{"values ((select email from people where id = 1))", nil},
	{"select null::people", nil},
	{"select query_to_xml('select * from people', true, true, '')", nil},
	{"select most_common_vals::text, histogram_bounds::text from pg_stats where tablename = 'people'", nil},
}

func TestNoWayOfReadingShowsAProtectedValue(t *testing.T) {
	database := people(t)
	for _, mode := range []string{"simple", "extended", "binary", "statement", "undescribed"} {
		p := startProxy(t, protected, maskAll, 0)
		for _, tt := range reads {
			t.Run(mode+" "+tt.text, func(t *testing.T) {
				if mode != "simple" && strings.Contains(tt.text, ";") {
					return // one statement at a time there
				}
				c := dial(t, p.addr(), database)
				defer c.conn.Close()
				replies := ask(c, mode, tt.text)
				for _, r := range replies {
					if leaks(r.body) && r.typ != 'T' {
						t.Errorf("%c %q shows a protected value", r.typ, r.body)
					}
				}
				got := values(replies)
				for _, r := range replies {
					if r.typ == 'd' {
						got = append(got, string(r.body))
					}
				}
				if strings.HasPrefix(tt.text, "copy") {
					slices.Sort(got) // rows come as they lie
				}
				if tt.want != nil && (mode == "simple" || mode != "binary" && strings.HasPrefix(tt.text, "select")) && !slices.Equal(got, tt.want) {
					t.Errorf("rows %q, want %q: %v", got, tt.want, replies)
				}
				if got := values(c.run("select 'in step'")); !slices.Equal(got, []string{"in step"}) {
					t.Errorf("afterwards %q", got)
				}
			})
		}
		for _, err := range p.failures() {
			t.Errorf("%s: %v", mode, err)
		}
		for _, s := range p.seen(^decoders.Kinds(0)) {
			if s.ev.Kind != decoders.Own && leaks(s.ev.Record) {
				t.Errorf("record %q shows a protected value", s.ev.Record)
			}
			if leaks([]byte(s.ev.Result.Message)) {
				t.Errorf("message %q shows a protected value", s.ev.Result.Message)
			}
		}
	}
}

// ask runs a statement in one of the ways drivers do.
func ask(c *client, mode, text string) []reply {
	c.t.Helper()
	switch mode {
	case "simple":
		return c.run(text)
	case "statement": // described, then run again and again without
		c.send(join(parseMsg("s", text), describeMsg('S', "s"), syncMsg()))
		out := c.until('Z')
		for range 2 {
			c.send(join(bindMsg("", "s"), executeMsg(""), syncMsg()))
			out = c.until('Z')
		}
		return out
	case "undescribed":
		c.send(join(parseMsg("", text), bindMsg("", ""), executeMsg(""), syncMsg()))
		return c.until('Z')
	}
	c.send(join(parseMsg("", text), bindMsg("", "", mode == "binary"), describeMsg('P', ""), executeMsg(""), syncMsg()))
	return c.until('Z')
}

func TestDriversSeeMaskedRows(t *testing.T) {
	database := people(t)
	p := startProxy(t, protected, maskAll, 0)
	ctx := context.Background()
	url := fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", p.addr(), database)
	const text = "select id, name, email, salary from people where id = $1"
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		config, err := pgx.ParseConfig(url)
		if err != nil {
			t.Fatal(err)
		}
		config.DefaultQueryExecMode = mode
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			var id int
			var name string
			var email *string
			var salary *int
			if err := conn.QueryRow(ctx, text, 1).Scan(&id, &name, &email, &salary); err != nil {
				t.Fatalf("%v: %v", mode, err)
			}
			if id != 1 || name != "name1" || email == nil || *email != "***" || salary != nil {
				t.Errorf("%v: %d %s %v %v, want 1 name1 *** nil", mode, id, name, email, salary)
			}
		}
		conn.Close(ctx)
	}

	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	statement, err := db.Prepare(text)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		var id int
		var name string
		var email sql.NullString
		var salary sql.NullInt64
		if err := statement.QueryRow(1).Scan(&id, &name, &email, &salary); err != nil {
			t.Fatal(err)
		}
		if email.String != "***" || salary.Valid {
			t.Errorf("pq: %v %v, want *** and NULL", email, salary)
		}
	}
	for _, err := range p.failures() {
		t.Error(err)
	}
}

// TestNamesThatChangeTheirMeaningStayMasked: a prepared statement that was
// harmless when it was described is not when the search_path has changed.
func TestNamesThatChangeTheirMeaningStayMasked(t *testing.T) {
	database := people(t)
	for _, change := range []string{
		"set search_path = public",
		"select set_config('search_path', 'public', false)",
		"rollback",
	} {
		for _, pipelined := range []bool{false, true} {
			p := startProxy(t, protected, maskAll, 0)
			c := dial(t, p.addr(), database)
			if change == "rollback" {
				c.run("begin")
			}
			c.run("set search_path = other")
			c.send(join(parseMsg("s", "select email from people where id = 1"), describeMsg('S', "s"), syncMsg()))
			c.until('Z')
			c.send(join(bindMsg("", "s"), executeMsg(""), syncMsg()))
			if got := values(c.until('Z')); !slices.Equal(got, []string{"public@other"}) {
				t.Errorf("before: %q", got)
			}
			again := join(bindMsg("", "s"), executeMsg(""), syncMsg())
			var replies []reply
			if pipelined {
				c.send(join(msg('Q', change, 0), again))
				replies = c.ready(2)
			} else {
				c.run(change)
				c.send(again)
				replies = c.until('Z')
			}
			if got := values(replies); got[len(got)-1] != "***" {
				t.Errorf("after %s: %q, want ***", change, got)
			}
			c.conn.Close()
			for _, err := range p.failures() {
				t.Error(err)
			}
		}
	}
}

// TestWhatWasPreparedBeforeItsCursorIsMasked: what FETCH and EXECUTE show is
// known only when they run.
func TestWhatWasPreparedBeforeItsCursorIsMasked(t *testing.T) {
	database := people(t)
	for _, tt := range []struct{ prepared, made string }{
		{"fetch all c", "declare c cursor with hold for select lower(email) from people where id = 1"},
		{"execute c", "prepare c as select lower(email) from people where id = 1"},
	} {
		p := startProxy(t, protected, maskAll, 0)
		c := dial(t, p.addr(), database)
		c.send(join(parseMsg("f", tt.prepared), syncMsg()))
		c.until('Z')
		c.run(tt.made)
		for range 2 {
			c.send(join(bindMsg("", "f"), describeMsg('P', ""), executeMsg(""), syncMsg()))
			for _, r := range c.until('Z') {
				if leaks(r.body) {
					t.Errorf("%s: %q shows a protected value", tt.prepared, r.body)
				}
			}
		}
		c.conn.Close()
		for _, err := range p.failures() {
			t.Error(err)
		}
	}
}

// TestTablesMadeLaterAreMasked: the catalogue is asked again after DDL.
func TestTablesMadeLaterAreMasked(t *testing.T) {
	database := people(t)
	p := startProxy(t, protected, maskAll, 0)
	c := dial(t, p.addr(), database)
	c.run("drop table people cascade")
	if r := c.run("create table people (id int, email text)"); types(r) != "EZ" && types(r) != "CZ" {
		t.Fatalf("create: %v", r)
	}
	direct := dial(t, serverAddr(t), database)
	direct.run("create table if not exists people (id int, email text); insert into people values (1, 'secret1')")
	c.run("create index on shops (id)")
	if got := values(c.run("select email from people")); !slices.Equal(got, []string{"***"}) {
		t.Errorf("rows %q, want ***", got)
	}
	for _, err := range p.failures() {
		t.Error(err)
	}
}

func TestMaskedCursorsThroughPortals(t *testing.T) {
	database := people(t)
	p := startProxy(t, protected, maskAll, 0)
	c := dial(t, p.addr(), database)
	c.run("begin")
	c.send(join(parseMsg("", "select email from people order by id"), bindMsg("cursor", ""), describeMsg('P', "cursor"), msg('E', "cursor", 0, int32(2)), syncMsg()))
	got := values(c.until('Z'))
	c.send(join(msg('E', "cursor", 0, int32(1)), syncMsg()))
	got = append(got, values(c.until('Z'))...)
	if want := []string{"***", "***", "***"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	c.run("commit")
	results := p.seen(decoders.Outcome)
	if r := results[len(results)-2].ev.Result; r.Rows != 1 || r.Masked != 1 {
		t.Errorf("outcome %+v, want one row, masked", r)
	}
}
