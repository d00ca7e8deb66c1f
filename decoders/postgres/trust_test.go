package postgres_test

import (
	"testing"

	"agentd.dev/decoders"
)

// strangers are what a database has beside the server's own.
const strangers = `
	CREATE EXTENSION pg_trgm; CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION tablefunc;
	CREATE FUNCTION report(int) RETURNS text LANGUAGE sql AS 'SELECT email FROM people WHERE id = $1';
	CREATE FUNCTION pure(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1';
	CREATE SCHEMA evil;
	CREATE FUNCTION evil.upper(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
	CREATE FUNCTION card(people) RETURNS text LANGUAGE sql AS 'SELECT $1.email';
	CREATE FUNCTION shop(shops) RETURNS text LANGUAGE sql AS 'SELECT email FROM people LIMIT 1';
	CREATE OPERATOR %% (LEFTARG = int, RIGHTARG = int, FUNCTION = pure_of);
	CREATE DOMAIN keeper AS text CHECK (set_config('a.b', value, false) IS NOT NULL);
	CREATE DOMAIN keeper_again AS keeper;
	CREATE DOMAIN code AS text CHECK (value ~ '^[A-Z]+$');
	CREATE DOMAIN checked AS int CHECK (report(value) IS NOT NULL);
	CREATE TYPE mood AS ENUM ('sad', 'happy');
	CREATE TYPE pair AS (a int, b text);
	CREATE FUNCTION to_pair(int) RETURNS pair LANGUAGE sql AS 'SELECT ($1, email)::pair FROM people';
	CREATE CAST (int AS pair) WITH FUNCTION to_pair(int);`

func TestCodeThatIsNotTheServersOwnIsRefusedUnlessItOnlyComputes(t *testing.T) {
	database := people(t)
	c := dial(t, serverAddr(t), database)
	for _, r := range c.run("CREATE FUNCTION pure_of(int, int) RETURNS int LANGUAGE sql AS 'SELECT 1';" + strangers) {
		if r.typ == 'E' {
			t.Fatal(field(r.body, 'M'))
		}
	}
	p := startProxy(t, protected, maskAll, 0)
	for _, tt := range []struct {
		text    string
		refused bool
	}{
		{"select count(*), now(), gen_random_uuid(), nextval('pg_catalog.pg_class'::regclass)", false},
		{"select similarity(city, 'x'), city <-> 'x', city % 'x' from shops", false},
		{"select replace(city::citext, 'R', 'x'), city::citext = 'ROME' from shops", false},
		{"select hstore('a', city) -> 'a', akeys(hstore('a', 'b')) from shops", false},
		{"select 'a' ~ 'b', 1 % 2, 'ABC'::code, 'sad'::mood", false},
		{"select avg(id) over (order by id), string_agg(city, ',' order by id) from shops group by id", false},
		{"select information_schema._pg_truetypid(a, t) from pg_attribute a, pg_type t limit 1", false},
		{"select report(1)", true},
		{"select public.report(1)", true},
		{"select * from report(1)", true},
		{"select pure(1)", true},                // immutable by its own word alone
		{"select upper(city) from shops", true}, // evil.upper may be meant
		{"select pg_catalog.upper(city) from shops", false},
		{"select p.card from people p", true},
		{"select s.shop from shops s", true},
		{"select shop(s) from shops s", true},
		{"select 1 %% 2", true},
		{"select 'x'::keeper", true},
		{"select cast('x' as keeper_again)", true},
		{"select 1::checked", true},
		{"select 1::pair", true},
		{"select set_limit(0.2)", true},
		{"select * from crosstab('select 1, 2, email from people') as c(a int, b text)", true},
		{"select nosuch(1)", true},
		{"create index on shops (report(id))", true},
		{"insert into shops values (1, report(1))", true},
		{"call nothing()", true},
	} {
		c := dial(t, p.addr(), database)
		replies := c.run(tt.text)
		refused := false
		for _, r := range replies {
			if r.typ == 'E' {
				refused = refused || field(r.body, 'C') == "42501"
			}
			if leaks(r.body) {
				t.Errorf("%s shows %q", tt.text, r.body)
			}
		}
		if refused != tt.refused {
			t.Errorf("%s: refused %t, want %t: %v", tt.text, refused, tt.refused, replies)
		}
		c.conn.Close()
	}
	for _, s := range p.seen(decoders.Request) {
		if s.ev.Unclassified != "" {
			t.Errorf("%s is unclassified: %s", s.ev.Text, s.ev.Unclassified)
		}
	}
}
