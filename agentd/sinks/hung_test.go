package sinks_test

import (
	"io"
	"net"
	"testing"
	"time"

	"agentd.dev/agentd/sinks"
	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

var allowed = policy.Verdict{Outcome: policy.Forward, Rule: "default"}

// hanging takes connections and bytes, and never answers.
func hanging(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	return l.Addr().String()
}

// every is a sink of each kind, all to one place.
func every(at string) []sinks.Config {
	return []sinks.Config{
		{Name: "otlp", FromStart: true, OTLP: &sinks.OTLP{URL: "http://" + at}},
		{Name: "syslog", FromStart: true, Syslog: &sinks.Syslog{Address: at, ID: "agentd@32473", Max: 8 << 10}},
		{Name: "hook", FromStart: true, Webhook: &sinks.Webhook{URL: secret("http://" + at)}},
		{Name: "objects", Objects: &sinks.Objects{Endpoint: "http://" + at, Bucket: "record", Access: secret("a"), Secret: secret("s")}},
	}
}

// A statement waits for its record, and for nothing that a sink does: all hang
// here, and what is recorded is signed as ever.
func TestSinksThatHangHoldNothingUp(t *testing.T) {
	l := newLog(t)
	s := l.start(t, every(hanging(t))...)
	l.notes(t, 5000)
	await(t, "a checkpoint of all", func() bool { return l.Stats().SignedSize == 5001 })
	await(t, "the lag", func() bool {
		for _, state := range s.States() {
			if state.Behind < 5000 || state.Delivered > 0 {
				return false
			}
		}
		return true
	})
	began := time.Now()
	s.Rest(0)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("they took %v to end, want no time", took)
	}
}

// BenchmarkStatement is what a committed statement costs while sinks of each kind
// hang, and without.
func BenchmarkStatement(b *testing.B) {
	for _, hung := range []bool{false, true} {
		name := "no sink"
		if hung {
			name = "four that hang"
		}
		b.Run(name, func(b *testing.B) {
			l := newLog(b, func(o *recorder.Options) { o.Interval = time.Second })
			if hung {
				l.start(b, every(hanging(b))...)
			}
			var turn recorder.Turn
			log, err := l.Begin(&turn, &policy.Session{ID: "S1", Start: time.Now(), Target: policy.Target{Name: "orders", Protocol: "postgres"}})
			if err != nil {
				b.Fatal(err)
			}
			text := []byte("SELECT abalance FROM pgbench_accounts WHERE aid = 4711;")
			asked := &decoders.Event{Kind: decoders.Request, Text: text, Record: text}
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				asked.Seq++
				log.Asked(&turn, now, asked, allowed)
				if err := l.Commit(&turn); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
