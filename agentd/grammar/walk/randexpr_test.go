package walk_test

import "fmt"

// column writes a column of this kind, or a literal.
func (g *generator) column(kind string, v *visible) string {
	for range 8 {
		at := v
		for at != nil && (len(at.sources) == 0 || at.outer != nil && g.chance(40)) {
			at = at.outer
		}
		if at == nil {
			break
		}
		s := pick(g, at.sources)
		c := pick(g, s.columns)
		if c.kind != kind {
			continue
		}
		if g.chance(60) && count(at.sources, c.text) == 1 || g.chance(2) {
			return c.text
		}
		return s.name + "." + c.text
	}
	if kind == "int" {
		return fmt.Sprint(g.IntN(5))
	}
	return "'" + pick(g, []string{"a", "b", "x1"}) + "'"
}

// row writes a whole row.
func (g *generator) row(v *visible) string {
	for range 8 {
		s := pick(g, v.sources)
		if !s.scalar {
			return s.name
		}
	}
	return "row(1, 'x')"
}

// expr writes an expression of this kind.
func (g *generator) expr(kind string, v *visible) string {
	g.depth++
	defer func() { g.depth-- }()
	if g.depth > 5 || g.chance(30) {
		if kind == "bool" {
			return g.column("int", v) + pick(g, []string{" = ", " < ", " <> "}) + g.column("int", v)
		}
		return g.column(kind, v)
	}
	switch kind {
	case "bool":
		return g.boolean(v)
	case "int":
		return g.integer(v)
	}
	return g.text(v)
}

func (g *generator) boolean(v *visible) string {
	b := func() string { return g.expr("bool", v) }
	i := func() string { return g.expr("int", v) }
	s := func() string { return g.expr("text", v) }
	switch g.IntN(12) {
	case 0:
		return "(" + b() + " and " + b() + ")"
	case 1:
		return "(" + b() + " or " + b() + ")"
	case 2:
		return "not " + b()
	case 3:
		return s() + " like '%1%'"
	case 4:
		return s() + " is " + pick(g, []string{"", "not "}) + "null"
	case 5:
		return i() + " between 1 and " + i()
	case 6:
		return i() + " in (1, 2, " + i() + ")"
	case 7:
		return "exists (" + g.inner("int", v) + ")"
	case 8:
		return i() + " in (" + g.inner("int", v) + ")"
	case 9:
		return "(" + i() + ", " + s() + ") = (select 1, " + s() + ")"
	case 10:
		return s() + " = any (array(" + g.inner("text", v) + "))"
	}
	return s() + pick(g, []string{" < ", " = ", " is distinct from ", " operator(pg_catalog.>) "}) + s()
}

// inner writes a query of one column in an expression.
func (g *generator) inner(kind string, v *visible) string {
	if g.depth > 4 {
		return "select " + g.column(kind, v)
	}
	q, _ := g.query([]string{kind}, v, false)
	return q
}

func (g *generator) integer(v *visible) string {
	i := func() string { return g.expr("int", v) }
	s := func() string { return g.expr("text", v) }
	switch g.IntN(9) {
	case 0:
		return "(" + i() + " + " + i() + ")"
	case 1:
		return "length(" + s() + ")"
	case 2:
		return "ascii(" + s() + ")"
	case 3:
		return "case when " + g.expr("bool", v) + " then " + i() + " else " + i() + " end"
	case 4:
		return "coalesce(" + i() + ", " + i() + ")"
	case 5:
		return "(select max(q) from (" + g.inner("int", v) + ") as q(q))"
	case 6:
		return "nullif(" + i() + ", " + i() + ")"
	case 7:
		return "(select count(*) from (" + g.inner("text", v) + ") q)::int"
	}
	return "greatest(" + i() + ", " + i() + ")"
}

func (g *generator) text(v *visible) string {
	s := func() string { return g.expr("text", v) }
	switch n := g.IntN(20); n {
	case 0:
		return "(" + s() + " || " + s() + ")"
	case 1:
		return "upper(" + s() + ")"
	case 2:
		return "(" + g.expr("int", v) + ")::text"
	case 3:
		return "case " + g.expr("int", v) + " when 1 then " + s() + " else " + s() + " end"
	case 4:
		return "coalesce(" + s() + ", " + s() + ")"
	case 5:
		return "(array[" + s() + ", " + s() + "])[1]"
	case 6:
		return "array_to_string(array(" + g.inner("text", v) + "), ',')"
	case 7:
		return "(select min(q) from (" + g.inner("text", v) + ") as q(q))"
	case 8:
		return "(" + g.inner("text", v) + " limit 1)"
	case 9:
		return "format('%s', " + s() + ")"
	case 10:
		return "json_build_object('k', " + s() + ")::text"
	case 11:
		return "row(" + s() + ", " + g.expr("int", v) + ")::text"
	case 12:
		return "xmlforest(" + s() + " as x)::text"
	case 13:
		return "substring(" + s() + " from 1 for 2)"
	case 14:
		return "(" + g.expr("bool", v) + ")::text"
	}
	if len(v.sources) == 0 {
		return s()
	}
	row := g.row(v)
	if row == "row(1, 'x')" {
		return row + "::text"
	}
	switch g.IntN(7) {
	case 0:
		return "row_to_json(" + row + ")::text"
	case 1:
		return row + ".to_jsonb::text"
	case 2:
		return "(to_jsonb(" + row + ")->>'email')"
	case 3:
		return "(" + row + ")::text"
	case 4:
		return "concat(" + row + ".*)"
	case 5:
		return "row(" + row + ".*)::text"
	}
	return "(" + row + ").concat"
}

// aggregate writes an aggregate of this kind.
func (g *generator) aggregate(kind string, v *visible) string {
	filter := ""
	if g.chance(25) {
		filter = " filter (where " + g.expr("bool", v) + ")"
	}
	i, s := g.expr("int", v), g.expr("text", v)
	if kind == "int" {
		return pick(g, []string{
			"count(*)" + filter + "::int", "count(" + s + ")" + filter + "::int", "sum(" + i + ")" + filter + "::int",
			"max(" + i + ")" + filter, "count(distinct " + s + ")::int", "max(length(" + s + "))",
		})
	}
	list := []string{
		"max(" + s + ")" + filter, "string_agg(" + s + ", ',' order by " + i + ", " + s + ")" + filter,
		"array_agg(" + s + " order by " + s + ")::text", "mode() within group (order by " + s + ")",
		"count(*)::text", "bool_or(" + g.expr("bool", v) + ")::text",
	}
	if len(v.sources) > 0 {
		list = append(list, "json_agg("+g.row(v)+")::text")
	}
	return pick(g, list)
}

// window writes a window function.
func (g *generator) window(kind string, v *visible) string {
	i, s := g.expr("int", v), g.expr("text", v)
	over := " over (" + pick(g, []string{"", "partition by " + g.column("text", v) + " "}) + "order by " + i + ", " + s + ")"
	if kind == "int" {
		return pick(g, []string{"row_number()", "rank()", "sum(" + i + ")", "count(" + s + ")"}) + over + "::int"
	}
	return pick(g, []string{"lag(" + s + ")", "first_value(" + s + ")", "max(" + s + ")"}) + over
}
