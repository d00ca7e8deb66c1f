package walk_test

import (
	"os"
	"strings"
	"testing"

	"agentd.dev/agentd/grammar/walk"
)

// TestStatementsMeanWhatTheyDo reads testdata/meanings.txt: statements, each
// followed by its meaning, indented, as compact prints it.
func TestStatementsMeanWhatTheyDo(t *testing.T) {
	for _, s := range statementsOf(t) {
		if got := compact(walk.Read(s.text)); got != s.want {
			t.Errorf("%s\n got %s\nwant %s", s.text, got, s.want)
		}
	}
}

type example struct{ text, want string }

// statementsOf are the statements in testdata/meanings.txt.
func statementsOf(t testing.TB) []example {
	t.Helper()
	file, err := os.ReadFile("testdata/meanings.txt")
	if err != nil {
		t.Fatal(err)
	}
	var list []example
	for line := range strings.Lines(string(file)) {
		line = strings.TrimSuffix(line, "\n")
		want, indented := strings.CutPrefix(line, "    ")
		switch {
		case indented && len(list) > 0 && list[len(list)-1].want == "":
			list[len(list)-1].want = want
		case indented:
			t.Fatalf("testdata/meanings.txt: %q follows no statement", line)
		case line != "" && !strings.HasPrefix(line, "#"):
			list = append(list, example{text: line})
		}
	}
	return list
}

func BenchmarkRead(b *testing.B) {
	for _, bb := range []struct{ name, text string }{
		{"Small", "select id, email from customers where id = 1"},
		{"Middle", middle},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				walk.Read(bb.text)
			}
		})
	}
}

const middle = `with recent as (select o.customer_id, sum(o.total) as total, count(*) as n from orders o
where o.created > now() - interval '' and o.state in ('') group by o.customer_id)
select c.id, c.name, lower(c.email) as email, r.total, r.n, coalesce(a.city, '') as city,
case when r.total > 1 then '' else '' end as class
from customers c join recent r on r.customer_id = c.id left join addresses a on a.customer_id = c.id and a.main
where c.active and (c.country = '' or c.country is null)
and exists (select 1 from logins l where l.customer_id = c.id and l.at > now() - interval '')
order by r.total desc nulls last limit 1 offset 1`
