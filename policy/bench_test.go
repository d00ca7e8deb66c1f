package policy_test

import (
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

func BenchmarkLoadOfAThousandRules(b *testing.B) {
	path := []string{file(b, thousand())}
	for b.Loop() {
		if _, err := policy.Load(path, protocols); err != nil {
			b.Fatal(err)
		}
	}
}
