package walk

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	pg "github.com/pganalyze/pg_query_go/v6"

	"agentd.dev/agentd/internal/lab"
)

// TestTheServersOwnAreKnown compares the tables of known.go with a server's
// catalogue, and the names that columns get with those that it gives them.
func TestTheServersOwnAreKnown(t *testing.T) {
	s := lab.Postgres(t)
	ask := func(query string) []string { return strings.Fields(s.SQL(t, query)) }

	for _, name := range ask("select distinct oprname from pg_operator") {
		if !builtinOperators[name] {
			t.Errorf("operator %s is the server's own, and not known", name)
		}
	}
	// What these return of a row has nothing of it.
	harmless := words(`any_out anycompatible_out anycompatiblenonarray_out anyelement_out anynonarray_out count
		cume_dist dense_rank mode num_nonnulls num_nulls percent_rank pg_collation_for pg_column_compression
		pg_column_size pg_column_toast_chunk_id pg_typeof rank`)
	for _, name := range ask(`select distinct proname from pg_proc where pronargs - pronargdefaults <= 1 and pronargs > 0
		and prokind in ('f', 'a') and proargtypes[0] in ('"any"'::regtype, 'anyelement'::regtype, 'anynonarray'::regtype,
		'anycompatible'::regtype, 'anycompatiblenonarray'::regtype, 'record'::regtype)`) {
		if !rowFunctions[name] && !harmless[name] {
			t.Errorf("function %s takes a row, and is not known to", name)
		}
	}
	// What these are called with says nothing of how many rows they return, or
	// is no value of a table.
	for _, name := range ask(`select distinct proname from pg_proc where proretset and prokind = 'f' and pronargs > 0
		and proname !~ '^(pg_|_pg_|ts_token_type)' and pronamespace = 'pg_catalog'::regnamespace`) {
		if !manyRows[name] {
			t.Errorf("function %s returns many rows, and is not known to", name)
		}
	}
}

// TestColumnsAreCalledAsTheServerCallsThem: a name that is sure is the
// server's.
func TestColumnsAreCalledAsTheServerCallsThem(t *testing.T) {
	s := lab.Postgres(t)
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", s.Socket, s.Addr.Port(), s.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.Exec(ctx, "create table t (a int, b text, c text[], d json, x xml)").Close(); err != nil {
		t.Fatal(err)
	}
	agreed := 0
	for e := range strings.SplitSeq(expressions, "\n") {
		described, err := conn.Prepare(ctx, "", "select "+e+" from t", nil)
		if err != nil {
			t.Errorf("%s: %v", e, err)
			continue
		}
		tree, err := pg.Parse("select " + e)
		if err != nil {
			t.Fatalf("%s: %v", e, err)
		}
		target := tree.Stmts[0].Stmt.GetSelectStmt().TargetList[0].GetResTarget()
		got, sure := figure(target.Val)
		want := described.Fields[0].Name
		if sure && got != want {
			t.Errorf("%s is said to be called %q, the server calls it %q", e, got, want)
		}
		if sure {
			agreed++
		}
	}
	if agreed < 30 {
		t.Errorf("%d names were sure, want more than 30", agreed)
	}
}

const expressions = `a
t.a
t.b::varchar
a::text::int
'1'::int
1
'x'
true
null
-a
a + 1
a = 1
not a = 1
a is null
(a = 1) is true
a in (1, 2)
a between 1 and 2
b like 'x'
upper(b)
pg_catalog.upper(b)
count(*) filter (where a > 1) over ()
coalesce(a, 1)
greatest(a, 1)
least(a, 1)
nullif(a, 1)
case when a = 1 then b end
case when a = 1 then b else c[1] end
case when a = 1 then 'x' else 'y'::text end
case when a = 1 then a else 1 + 1 end
array[a]
array[a]::text[]
row(a, b)::text
(select a)
(select a as z)
(select 1)
(select upper(b))
(select a union select 2)
(values (1))
(select q.* from (select 1 as w) q)
exists (select 1)
array(select 1)
a = any (array[1])
a in (select 1)
c[1]
c[1:2]
(c)[1]
b collate "C"
cast(a as numeric(4, 1))
date '2020-01-01'
interval '1 day'
current_date
current_user
current_schema
extract(year from now())
substring(b from 1 for 2)
trim(b)
position('x' in b)
overlay(b placing 'x' from 1)
normalize(b)
b is normalized
now() at time zone 'utc'
collation for (b)
xmlconcat(x, x)
xmlelement(name foo, b)
xmlforest(b)
xmlparse(document b)
xmlserialize(content x as text)
x is document
d -> 'x'
(d ->> 'x')::int
a is distinct from 1
t
(t).a
t.*::text`
