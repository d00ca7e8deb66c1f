package policy_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

func BenchmarkDecideSeenBefore(b *testing.B) {
	r := load(b, noDrops).For(orders())
	ev := request(verbs("select"))
	b.ReportAllocs()
	for b.Loop() {
		if r.Decide(ev).Outcome != policy.Forward {
			b.Fatal("refused")
		}
	}
}

func BenchmarkDecideCold(b *testing.B) {
	r := load(b, noDrops).For(orders())
	events := make([]*decoders.Event, 4096) // more than are remembered
	for i := range events {
		events[i] = request(verbs("select"))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Decide(events[i%len(events)])
	}
}

func BenchmarkDecideColumns(b *testing.B) {
	r := load(b, masks).For(orders())
	ev := &decoders.Event{Kind: decoders.Columns, Columns: []decoders.Column{{Index: 1, Schema: "public", Table: "users", Name: "email"}}}
	b.ReportAllocs()
	for b.Loop() {
		r.Decide(ev)
	}
}

func BenchmarkForOfAThousandRules(b *testing.B) {
	e := load(b, thousand())
	session := orders()
	session.Target.Name = "db7"
	b.Run("like one before", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.For(session)
		}
	})
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Forget()
			e.For(session)
		}
	})
}

// BenchmarkLoadOfAThousandRules: all different, and of ten that are alike each.
func BenchmarkLoadOfAThousandRules(b *testing.B) {
	for name, rules := range map[string]string{"all different": many(1000), "alike": thousand()} {
		b.Run(name, func(b *testing.B) {
			path := []string{file(b, rules)}
			for b.Loop() {
				if _, err := policy.Load(path, protocols); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecideAmongManyRules is of a statement that was not seen before, and
// that ten rules could match, of so many in all that its session can meet.
func BenchmarkDecideAmongManyRules(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			r := load(b, many(n)).For(orders())
			events := make([]*decoders.Event, 4096) // more than are remembered
			for i := range events {
				events[i] = request(verbs("select", "verb3"))
			}
			for i := 0; b.Loop(); i++ {
				if r.Decide(events[i%len(events)]).Outcome != policy.Forward {
					b.Fatal("refused")
				}
			}
		})
	}
}

// many are n rules of which ten can match a statement of one verb of verb0 to
// verb99, though only if it consists of more statements.
func many(n int) string {
	var b strings.Builder
	b.WriteString("lists: {never: [truncate]}\nrules:\n")
	for i := range n {
		verb := i / 10
		if n <= 10 {
			verb = 3
		}
		fmt.Fprintf(&b, "  - {name: r%d, on: request, do: deny, message: No., when: 'sql.verbs.exists(v, v == \"verb%d\" || v in lists.never) && sql.statements > %d'}\n", i, verb, i+5)
	}
	return b.String()
}

// BenchmarkDecideWithShadowsAlertsAndLists is of a statement that was seen before.
func BenchmarkDecideWithShadowsAlertsAndLists(b *testing.B) {
	r := load(b, `
lists: {harm: [drop, truncate]}
rules:
  - {name: deny, on: request, do: deny, message: No., when: 'sql.verbs.exists(v, v in lists.harm)'}
  - {name: draft, on: request, do: deny, message: No., mode: shadow}
  - {name: ask, on: request, do: approve, mode: shadow}
  - {name: tell, on: request, do: alert}
  - {name: nights, on: request, do: deny, message: No., when: now.hour > 23}
`).For(orders())
	ev := request(verbs("select"))
	b.ReportAllocs()
	for b.Loop() {
		if v := r.Decide(ev); len(v.Shadows) != 2 || len(v.Alerts) != 1 {
			b.Fatalf("got %+v", v)
		}
	}
}
