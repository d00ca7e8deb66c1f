package walk_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/grammar/walk"
	"agentd.dev/decoders/sql"
)

// TestHostileTextsEndSoon reads texts that are small, and whose meaning would
// be large or take long. Each is read, or too complex.
func TestHostileTextsEndSoon(t *testing.T) {
	repeat := func(n int, f func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(f(i))
		}
		return b.String()
	}
	doubling := func(first, rest string) string {
		return "with w0 as (" + first + ")" + repeat(40, func(i int) string {
			return fmt.Sprintf(", w%d as ("+rest+")", i+1, i)
		}) + " select * from w40"
	}
	for _, tt := range []struct{ name, text string }{
		{"stars of stars", doubling("select * from t", "select a.*, b.* from w%[2]d a, w%[2]d b")},
		{"columns of columns", doubling("select x, y from t", "select a.*, b.* from w%[2]d a, w%[2]d b")},
		{"expressions of expressions", doubling("select x, y from t", "select a.x || b.x || a.y as x, b.y || a.x as y from w%[2]d a, w%[2]d b")},
		{"recursion in recursion", "with recursive " + strings.TrimPrefix(repeat(60, func(i int) string {
			return fmt.Sprintf(", r%d(a, b) as (select x%d, y from t union all select b, a from r%d, r%d)", i, i, i, max(i-1, 0))
		}), ", ") + " select * from r59"},
		{"parentheses", "select " + strings.Repeat("(", 3000) + "x" + strings.Repeat(")", 3000) + " from t"},
		{"operators", "select x" + strings.Repeat(" || x", 3000) + " from t"},
		{"calls", "select " + strings.Repeat("f(", 3000) + "x" + strings.Repeat(")", 3000) + " from t"},
		{"subqueries", strings.Repeat("select * from (", 1500) + "select * from t" + strings.Repeat(") s", 1500)},
		{"subqueries in expressions", strings.Repeat("select (", 1500) + "select a from t" + strings.Repeat(") from t", 1500)},
		{"unions", "select x from t" + strings.Repeat(" union select y from u", 1500)},
		{"tables", "select a from t" + repeat(20000, func(i int) string { return fmt.Sprintf(",t%d", i) })},
		{"names of many tables", "select a" + repeat(3000, func(i int) string { return fmt.Sprintf(",a%d", i) }) +
			" from t" + repeat(3000, func(i int) string { return fmt.Sprintf(",t%d", i) })},
		{"joins", "select a from t" + repeat(1500, func(i int) string { return fmt.Sprintf(" natural join t%d", i) })},
		{"assignments", "update t set (" + strings.TrimPrefix(repeat(200, func(i int) string { return fmt.Sprintf(",c%d", i) }), ",") +
			") = (select * from u)"},
		{"statements", strings.Repeat("select a from t;", 20000)},
		{"outputs of all", "select " + strings.TrimPrefix(repeat(1600, func(i int) string { return ",concat(t.*, u.*)" }), ",") +
			" from (select " + strings.TrimPrefix(repeat(1600, func(i int) string { return fmt.Sprintf(",c%d", i) }), ",") + " from x) t, u"},
		{"a zero byte", "select 1\x00; drop table t"},
		{"no UTF-8", "select \xff from t"},
		{"nothing", ""},
	} {
		start := time.Now()
		m := walk.Read(tt.text)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: %d bytes took %v, want seconds at most", tt.name, len(tt.text), took)
		} else {
			t.Logf("%s: %d bytes, %v, %d refs, %q", tt.name, len(tt.text), took.Round(time.Microsecond), size(m), m.Unclear)
		}
		if n := size(m); n > 1<<17 {
			t.Errorf("%s: %d refs, want fewer", tt.name, n)
		}
	}
}

// size is how many columns and outputs a meaning has.
func size(m sql.Meaning) (n int) {
	for _, s := range m.Statements {
		n += len(s.Columns) + len(s.Predicates) + len(s.Outputs) + len(s.All.Refs) + len(s.Attributes)
		for _, o := range s.Outputs {
			n += len(o.Refs)
		}
		for _, m := range s.Moves {
			n += 1 + len(m.From.Refs)
		}
	}
	return n
}
