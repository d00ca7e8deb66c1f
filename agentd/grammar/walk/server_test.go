package walk_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"agentd.dev/agentd/grammar/walk"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/decoders/sql"
)

// A server tells the truth about what random queries are made of. Its schemas
// differ in the values of one column each.
type server struct {
	*pgconn.PgConn
	t        *testing.T
	variants []variant
	tables   map[uint32]string
}

// A variant is a schema in which one column has other values.
type variant struct {
	schema, table, column string
}

func startServer(t *testing.T) *server {
	t.Helper()
	s := lab.Postgres(t, lab.Setting("log_statement=none"), lab.Setting("log_min_error_statement=panic"))
	conn, err := pgconn.Connect(context.Background(), fmt.Sprintf(
		"host=127.0.0.1 port=%d user=%s password=%s dbname=%s", s.Addr.Port(), s.User, s.Password, s.Database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	c := &server{PgConn: conn, t: t, tables: map[uint32]string{}}
	c.fill("base", "", "", 0)
	for _, tb := range schema {
		for _, col := range tb.columns {
			for way := range 3 {
				name := fmt.Sprintf("v%d", len(c.variants))
				c.fill(name, tb.table, col.text, way)
				c.variants = append(c.variants, variant{name, tb.table, col.text})
			}
		}
	}
	c.must("set search_path = base; set jit = off; set statement_timeout = 200")
	for _, row := range c.must("select oid, relname from pg_class where relnamespace = 'base'::regnamespace")[0] {
		var oid uint32
		fmt.Sscan(row[0], &oid)
		c.tables[oid] = row[1]
	}
	return c
}

// fill makes a schema with the tables. The values of one column differ in one
// of three ways.
func (c *server) fill(name, table, column string, way int) {
	c.must("create schema " + name)
	random := rand.New(rand.NewPCG(1, 2))
	for _, tb := range schema {
		var defs []string
		for _, col := range tb.columns {
			defs = append(defs, col.text+" "+col.kind)
		}
		c.must(fmt.Sprintf("create table %s.%s (%s)", name, tb.table, strings.Join(defs, ", ")))
		for range 5 {
			var values []string
			for _, col := range tb.columns {
				n := random.IntN(4)
				if tb.table == table && col.text == column {
					n = [...]int{n + 7, 3 - n, -1}[way]
				}
				switch {
				case n < 0 || n == 3 && col.kind == "text":
					values = append(values, "null")
				case col.kind == "text": // of different lengths
					values = append(values, fmt.Sprintf("'%s%d'", strings.Repeat("x", n), n))
				default:
					values = append(values, fmt.Sprint(n))
				}
			}
			c.must(fmt.Sprintf("insert into %s.%s values (%s)", name, tb.table, strings.Join(values, ", ")))
		}
	}
}

// run runs statements and returns what each returned. NULL is "NULL".
func (c *server) run(statements string) (results [][][]string, fields []pgconn.FieldDescription, err error) {
	mrr := c.Exec(context.Background(), statements)
	for mrr.NextResult() {
		var rows [][]string
		r := mrr.ResultReader()
		fields = append([]pgconn.FieldDescription(nil), r.FieldDescriptions()...)
		for r.NextRow() {
			var row []string
			for _, v := range r.Values() {
				if v == nil {
					row = append(row, "NULL")
				} else {
					row = append(row, string(v))
				}
			}
			rows = append(rows, row)
		}
		results = append(results, rows)
	}
	return results, fields, mrr.Close()
}

func (c *server) must(statements string) [][][]string {
	c.t.Helper()
	results, _, err := c.run(statements)
	if err != nil {
		c.t.Fatalf("%s: %v", statements, err)
	}
	return results
}

// covers says whether a list has a column of a table, or all of them.
func covers(list []sql.Ref, table, column string) bool {
	return slices.ContainsFunc(list, func(r sql.Ref) bool {
		return (r.Table == table || r.Table == "") && (r.Column == column || r.Column == "*")
	})
}

const views = `select a.attrelid::regclass::text, a.attname from pg_depend d
	join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
	join pg_attribute a on d.refclassid = 'pg_class'::regclass and a.attrelid = d.refobjid and a.attnum = d.refobjsubid
	where r.ev_class = 'oracle'::regclass and d.refobjsubid > 0 and d.refobjid <> r.ev_class`

// TestNothingThatRandomQueriesUseIsMissed: a server is asked three things of
// each. On which columns does a view of it depend? They must be among those it
// was said to use. Which columns are its outputs, as they stand? They must be
// among what these were said to be made of. And which outputs change when a
// column's values do? They must have been said to be made of it, unless it was
// said to decide which rows there are.
func TestNothingThatRandomQueriesUseIsMissed(t *testing.T) {
	c := startServer(t)
	analyzer := sql.NewAnalyzer(nil)
	g := &generator{Rand: rand.New(rand.NewPCG(20, 26))}
	const queries = 700
	taken, compared := 0, 0
	for range queries {
		q := g.top()
		m := walk.Read(analyzer.Analyze([]byte(q)).Skeleton()) // as agentd does
		if m.Unclear != "" && !m.Syntax {
			t.Fatalf("%s: %s", q, m.Unclear)
		}
		results, fields, err := c.run(q)
		if err != nil {
			continue
		}
		if m.Syntax {
			t.Fatalf("%s: %s, but the server takes it", q, m.Unclear)
		}
		taken++
		s := m.Statements[0]
		if !s.Open && len(s.Outputs) > len(fields) {
			t.Fatalf("%s: %d outputs, the server has %d", q, len(s.Outputs), len(fields))
		}
		c.checkViews(q, s)
		c.checkFields(q, s, fields)
		compared += c.checkValues(q, s, results[0])
		if t.Failed() {
			return
		}
	}
	t.Logf("%d of %d queries were taken, %d outputs compared", taken, queries, compared)
	if taken < queries/3 || compared < queries {
		t.Errorf("%d of %d queries were taken, %d outputs compared: too few to say something", taken, queries, compared)
	}
}

// checkViews compares with what a view of q depends on.
func (c *server) checkViews(q string, s sql.Statement) {
	results, _, err := c.run("begin; create view oracle as " + q + ";" + views + "; rollback")
	if err != nil {
		c.must("rollback")
		return
	}
	for _, row := range results[2] {
		if !covers(s.Columns, row[0], row[1]) {
			c.t.Errorf("%s\nuses %s.%s, not among %v", q, row[0], row[1], refs(s.Columns))
		}
	}
}

// outputOf is what is known of output i of count.
func outputOf(s sql.Statement, i, count int) sql.Output {
	switch {
	case !s.Open && len(s.Outputs) == count:
		return s.Outputs[i]
	case !s.Open: // there is a list of literals in it, longer than it seemed
		return sql.Output{Refs: s.Columns}
	case i < len(s.First):
		return s.First[i]
	case count-i <= len(s.Last):
		return s.Last[len(s.Last)-(count-i)]
	}
	return s.All
}

// checkFields compares with the columns that the server says outputs are.
func (c *server) checkFields(q string, s sql.Statement, fields []pgconn.FieldDescription) {
	for i, f := range fields {
		table, known := c.tables[f.TableOID]
		if !known {
			continue
		}
		for _, t := range schema {
			if t.table != table {
				continue
			}
			if column := t.columns[f.TableAttributeNumber-1].text; !covers(outputOf(s, i, len(fields)).Refs, table, column) {
				c.t.Errorf("%s\noutput %d is %s.%s, not among %v", q, i, table, column, output(outputOf(s, i, len(fields))))
			}
		}
	}
}

// checkValues changes each column that decides nothing, and compares outputs.
func (c *server) checkValues(q string, s sql.Statement, base [][]string) (compared int) {
	for _, v := range c.variants {
		if covers(s.Predicates, v.table, v.column) || !strings.Contains(q, v.table) {
			continue
		}
		unrelated := 0
		for i := range columnsOf(base) {
			if !covers(outputOf(s, i, columnsOf(base)).Refs, v.table, v.column) {
				unrelated++
			}
		}
		if unrelated == 0 && len(base) > 0 {
			continue
		}
		results, _, err := c.run("set search_path = " + v.schema + ";" + q)
		if err != nil {
			continue
		}
		if got := results[1]; len(got) != len(base) {
			c.t.Errorf("%s\nhas %d rows, not %d, when %s.%s changes, not among %v", q, len(got), len(base), v.table, v.column, refs(s.Predicates))
			continue
		}
		for i := range columnsOf(base) {
			if covers(outputOf(s, i, columnsOf(base)).Refs, v.table, v.column) {
				continue
			}
			compared++
			if got, was := sorted(results[1], i), sorted(base, i); !slices.Equal(got, was) {
				c.t.Errorf("%s\noutput %d changes from %v to %v with %s.%s, not among %s\ndecides %v", q, i, was, got, v.table, v.column,
					output(outputOf(s, i, columnsOf(base))), refs(s.Predicates))
			}
		}
	}
	c.must("set search_path = base")
	return compared
}

func columnsOf(rows [][]string) int {
	if len(rows) == 0 {
		return 0
	}
	return len(rows[0])
}

func sorted(rows [][]string, i int) []string {
	var list []string
	for _, row := range rows {
		list = append(list, row[i])
	}
	slices.Sort(list)
	return list
}
