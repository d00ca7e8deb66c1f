package walk_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// The tables that random queries are about. Values are small, so that joins
// find something.
var schema = []struct {
	table   string
	columns []typed
}{
	{"customers", []typed{{"id", "int"}, {"name", "text"}, {"email", "text"}, {"age", "int"}, {"boss", "int"}}},
	{"orders", []typed{{"id", "int"}, {"cid", "int"}, {"total", "int"}, {"state", "text"}, {"note", "text"}}},
	{"logs", []typed{{"id", "int"}, {"oid_", "int"}, {"at", "int"}, {"msg", "text"}, {"email", "text"}}},
}

// A typed thing is a column or expression and its type: int, text or bool.
type typed struct{ text, kind string }

// A generator writes random queries that the server mostly takes.
type generator struct {
	*rand.Rand
	n     int // of names that were given
	ctes  []source
	depth int
}

// A source is something to select from.
type source struct {
	name    string
	columns []typed
	scalar  bool // its name is a value, no row
}

// A visible scope is what expressions can be made from.
type visible struct {
	sources []source
	outer   *visible
}

func (g *generator) name(prefix string) string {
	g.n++
	return fmt.Sprintf("%s%d", prefix, g.n)
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g *generator, list []T) T { return list[g.IntN(len(list))] }

// top writes a whole query, whose outputs have different names.
func (g *generator) top() string {
	g.n, g.ctes, g.depth = 0, nil, 0
	kinds := g.kinds()
	with := g.with()
	if g.chance(15) { // stars among the outputs
		from, v := g.from(nil)
		star := pick(g, v.sources).name + ".*"
		return with + fmt.Sprintf("select %s as z1, %s, %s as z2, %s as z3 from %s", g.expr("text", v), star, g.expr("text", v), g.expr("int", v), from)
	}
	q, _ := g.query(kinds, nil, true)
	return with + q
}

func (g *generator) kinds() []string {
	kinds := make([]string, 1+g.IntN(3))
	for i := range kinds {
		kinds[i] = pick(g, []string{"int", "text", "text"})
	}
	return kinds
}

// with writes a WITH clause, or nothing.
func (g *generator) with() string {
	if !g.chance(40) {
		return ""
	}
	var defs []string
	for range 1 + g.IntN(2) {
		name := g.name("w")
		kinds := g.kinds()
		if g.chance(50) { // recursive, two columns
			defs = append(defs, g.recursive(name))
			continue
		}
		q, columns := g.query(kinds, nil, false)
		list := ""
		if g.chance(40) {
			list, columns = g.renamed(columns)
		}
		defs = append(defs, name+list+" as "+pick(g, []string{"", "materialized ", "not materialized "})+"("+q+")")
		g.ctes = append(g.ctes, source{name: name, columns: columns})
	}
	return "with recursive " + strings.Join(defs, ", ") + " "
}

func (g *generator) recursive(name string) string {
	base, _ := g.simple([]string{"text", "text"}, nil, false)
	first := "select 1, q.* from (" + base + ") as q"
	self := source{name: name, columns: []typed{{"a", "int"}, {"b", "text"}, {"c", "text"}}}
	from, v := g.from(nil)
	v.sources = append(v.sources, self)
	b := pick(g, []string{name + ".c", g.expr("text", v)})
	c := pick(g, []string{name + ".b", g.expr("text", v)})
	g.ctes = append(g.ctes, self)
	return fmt.Sprintf("%s(a, b, c) as (%s union all select %s.a + 1, %s, %s from %s, %s where %s.a < 3)", name, first,
		name, b, c, from, name, name)
}

func (g *generator) renamed(columns []typed) (string, []typed) {
	var names []string
	var list []typed
	for _, c := range columns {
		n := g.name("c")
		names = append(names, n)
		list = append(list, typed{n, c.kind})
	}
	return "(" + strings.Join(names, ", ") + ")", list
}

// query writes a query with columns of these kinds.
func (g *generator) query(kinds []string, outer *visible, named bool) (string, []typed) {
	g.depth++
	defer func() { g.depth-- }()
	if g.depth < 4 && g.chance(12) {
		left, columns := g.query(kinds, outer, named)
		right, _ := g.query(kinds, outer, named)
		op := pick(g, []string{"union all", "union all", "union", "intersect", "except", "except all"})
		return "(" + left + ") " + op + " (" + right + ")", columns
	}
	if g.chance(20) {
		return g.grouped(kinds, outer, named)
	}
	return g.simple(kinds, outer, named)
}

// simple writes a SELECT without groups.
func (g *generator) simple(kinds []string, outer *visible, named bool) (string, []typed) {
	from, v := g.from(outer)
	var targets []string
	var columns []typed
	for _, kind := range kinds {
		e := g.expr(kind, v)
		if g.chance(10) {
			e = g.window(kind, v)
		}
		if kind == "text" && g.chance(8) { // as many rows as it says
			e = "regexp_split_to_table(" + e + ", '')"
		}
		t, c := g.target(e, kind, named)
		targets, columns = append(targets, t), append(columns, c)
	}
	q := "select "
	if g.chance(5) {
		q += "distinct "
	}
	q += strings.Join(targets, ", ") + " from " + from
	if g.chance(20) {
		q += " where " + g.expr("bool", v)
	}
	if g.chance(15) {
		by := pick(g, []string{"1", columns[0].text, g.expr("text", v)})
		q += " order by " + by + pick(g, []string{"", " desc nulls last"})
		if g.chance(50) {
			q += " limit 3"
		}
	}
	return q, columns
}

// target names an output, or leaves that to the server where its name is known.
func (g *generator) target(e, kind string, named bool) (string, typed) {
	f, _, isCall := strings.Cut(e, "(")
	if !named && isCall && strings.HasSuffix(e, ")") && strings.Count(e, ")") == 1 && (f == "upper" || f == "length" || f == "ascii") && g.chance(70) {
		return e, typed{f, kind}
	}
	n := g.name("o")
	if !named && g.chance(10) { // names that tables have, too
		n = pick(g, []string{"email", "total", "note"})
	}
	return e + " as " + n, typed{n, kind}
}

// grouped writes a SELECT with aggregates.
func (g *generator) grouped(kinds []string, outer *visible, named bool) (string, []typed) {
	from, v := g.from(outer)
	var targets, keys []string
	var columns []typed
	for i, kind := range kinds {
		var e string
		if g.chance(30) {
			e = g.column(kind, v)
			keys = append(keys, pick(g, []string{e, fmt.Sprint(i + 1)}))
		} else {
			e = g.aggregate(kind, v)
		}
		t, c := g.target(e, kind, named)
		targets, columns = append(targets, t), append(columns, c)
	}
	q := "select " + strings.Join(targets, ", ") + " from " + from
	if g.chance(40) {
		q += " where " + g.expr("bool", v)
	}
	if len(keys) > 0 {
		q += " group by " + pick(g, []string{"", "", "rollup "})
		if strings.HasSuffix(q, "rollup ") {
			q += "(" + strings.Join(keys, ", ") + ")"
		} else {
			q += strings.Join(keys, ", ")
		}
	}
	if g.chance(15) {
		q += " having " + g.aggregate("int", v) + " > 1"
	}
	return q, columns
}

// from writes a FROM list, and says what can be seen from beside it.
func (g *generator) from(outer *visible) (string, *visible) {
	v := &visible{outer: outer}
	text := g.item(v)
	for range g.IntN(2) + g.IntN(2) {
		switch g.IntN(6) {
		case 0:
			text += ", " + g.item(v)
		case 1:
			left := count(v.sources, "id")
			item := g.item(v)
			if left == 1 && count(v.sources, "id") == 2 {
				text += pick(g, []string{" join ", " left join ", " full join "}) + item + " using (id)"
			} else {
				text += " cross join " + item
			}
		case 2:
			text += " natural left join " + g.item(v)
		default:
			kind := pick(g, []string{" join ", " left join ", " full join "})
			text += kind + g.item(v) + " on " + g.condition(kind, v)
		}
	}
	return text, v
}

// count says how many columns of sources have a name.
func count(sources []source, name string) (n int) {
	for _, s := range sources {
		for _, c := range s.columns {
			if c.text == name {
				n++
			}
		}
	}
	return n
}

func (g *generator) condition(join string, v *visible) string {
	if join == " full join " {
		return "true"
	}
	if g.chance(60) {
		return g.column("int", v) + " < 3"
	}
	return g.expr("bool", v)
}

// item writes one item of FROM, and adds what it brings to v.
func (g *generator) item(v *visible) string {
	add := func(s source) { v.sources = append(v.sources, s) }
	if len(g.ctes) > 0 && g.chance(30) {
		c := pick(g, g.ctes)
		alias := g.name("x")
		add(source{name: alias, columns: c.columns})
		return c.name + " as " + alias
	}
	switch n := g.IntN(13); {
	case n < 2 && g.depth < 3:
		alias := g.name("s")
		lateral, outer := "", v.outer
		if g.chance(30) && len(v.sources) > 0 {
			lateral, outer = "lateral ", v
		}
		q, columns := g.query(g.kinds(), outer, false)
		list := ""
		if g.chance(30) {
			list, columns = g.renamed(columns)
		}
		add(source{name: alias, columns: columns})
		return lateral + "(" + q + ") as " + alias + list
	case n == 2 && g.depth < 3: // all of a table, and more
		alias, inner := g.name("s"), g.name("t")
		t := pick(g, schema)
		add(source{name: alias, columns: append([]typed{{"z", "text"}}, t.columns...)})
		e := g.expr("text", &visible{sources: []source{{name: inner, columns: t.columns}}})
		return fmt.Sprintf("(select %s as z, %s.* from %s %s) as %s", e, inner, t.table, inner, alias)
	case n == 3:
		alias := g.name("v")
		e := g.expr("text", &visible{outer: v.outer})
		add(source{name: alias, columns: []typed{{"column1", "int"}, {"column2", "text"}}})
		return "(values (1, " + e + "), (2, 'x')) as " + alias
	case n == 11 && g.depth < 3: // a join under one name
		left, right, alias := pick(g, schema), pick(g, schema), g.name("j")
		columns := append([]typed{{"id", "int"}}, left.columns[1:3]...)
		add(source{name: alias, columns: columns})
		return fmt.Sprintf("(%s as %sl join %s as %sr using (id)) as %s", left.table, alias, right.table, alias, alias)
	case n == 12: // literals, more than the grammar sees
		alias := g.name("v")
		add(source{name: alias, columns: []typed{{"column3", "text"}, {"column1", "int"}}})
		return "(values (1, 2, '3')" + pick(g, []string{"", ", (4, 5, (" + g.inner("text", &visible{outer: v.outer}) + " limit 1))"}) + ") as " + alias
	case n == 4:
		alias := g.name("f")
		add(source{name: alias, columns: []typed{{alias, "int"}}, scalar: true})
		return "generate_series(1, 2) as " + alias
	case n < 8 && len(v.sources) > 0:
		return g.function(v, add)
	}
	t := pick(g, schema)
	if g.chance(25) && !uses(v, t.table) {
		add(source{name: t.table, columns: t.columns})
		return t.table
	}
	alias := g.name("t")
	if g.chance(15) {
		list, columns := g.renamed(t.columns[:2])
		add(source{name: alias, columns: append(columns, t.columns[2:]...)})
		return t.table + " as " + alias + list
	}
	add(source{name: alias, columns: t.columns})
	return t.table + " as " + alias
}

func uses(v *visible, name string) bool {
	for _, s := range v.sources {
		if s.name == name {
			return true
		}
	}
	return false
}

// function writes a function in FROM that is called with what is beside it.
func (g *generator) function(v *visible, add func(source)) string {
	left := &visible{sources: v.sources}
	alias := g.name("f")
	row := g.row(left)
	text := g.expr("text", left)
	switch g.IntN(6) {
	case 0:
		add(source{name: alias, columns: []typed{{"key", "text"}, {"value", "text"}}})
		return "json_each_text(row_to_json(" + row + ")) as " + alias
	case 1:
		add(source{name: alias, columns: []typed{{"k", "text"}, {"n", "int"}}})
		return "regexp_split_to_table(" + text + ", '') with ordinality as " + alias + "(k, n)"
	case 2:
		add(source{name: alias, columns: []typed{{"email", "text"}, {"id", "int"}}})
		return "jsonb_to_record(to_jsonb(" + row + ")) as " + alias + "(email text, id int)"
	case 3:
		add(source{name: alias, columns: []typed{{"u", "text"}, {"w", "text"}}})
		return "unnest(array[" + text + "], array['', 'x']) as " + alias + "(u, w)"
	case 4:
		add(source{name: alias, columns: []typed{{"g", "int"}}})
		return "lateral (select " + g.expr("int", left) + " as g) as " + alias
	}
	add(source{name: alias, columns: []typed{{alias, "text"}}, scalar: true})
	return "upper(" + text + ") as " + alias
}
