package recorder

import (
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"agentd.dev/decoders"
)

// What a witness costs at a million records: the proof of what is new, a
// trail's beginning after a restart, and the same for a witness that was away
// from the start.
func BenchmarkTrail(b *testing.B) {
	l := begin(b, func(o *Options) { o.SegmentBytes = 64 << 20 })
	many(b, l, 1_000_000)
	if err := l.checkpoint(); err != nil {
		b.Fatal(err)
	}
	size, signed := l.Stats().SignedSize, l.Latest()
	b.Run("1000 new records", func(b *testing.B) {
		trail, err := NewTrail(l.opts.Dir, size-1000)
		if err != nil {
			b.Fatal(err)
		}
		defer trail.Close()
		was := *trail
		read := trail.Read
		for b.Loop() {
			one := was // as it was before they came
			one.beside.wanted = map[int64]tlog.Hash{}
			for index := range was.beside.wanted {
				one.beside.wanted[index] = tlog.Hash{}
			}
			if _, err := one.Proof(signed); err != nil {
				b.Fatal(err)
			}
			read = one.Read - was.Read
		}
		b.ReportMetric(float64(read), "bytes/proof")
	})
	b.Run("after a restart", func(b *testing.B) {
		var read int64
		for b.Loop() {
			trail, err := NewTrail(l.opts.Dir, size)
			if err != nil {
				b.Fatal(err)
			}
			read = trail.Read
			trail.Close()
		}
		b.ReportMetric(float64(read), "bytes/restart")
	})
	b.Run("from the first record", func(b *testing.B) {
		var read int64
		for b.Loop() {
			trail, err := NewTrail(l.opts.Dir, 1)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := trail.Proof(signed); err != nil {
				b.Fatal(err)
			}
			read = trail.Read
			trail.Close()
		}
		b.ReportMetric(float64(read), "bytes/proof")
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			r, err := Verify(l.opts.Dir, l.verifier(b), VerifyOptions{})
			if err != nil || !r.OK {
				b.Fatal(r.Bad, err)
			}
		}
		b.SetBytes(l.Stats().Bytes)
	})
}

// many records so many, in turns of a hundred.
func many(b *testing.B, l *aLog, n int) {
	b.Helper()
	var turn Turn
	log, err := l.Begin(&turn, aSession("S1"))
	if err != nil {
		b.Fatal(err)
	}
	for seq := range uint64(n / 2) {
		log.Asked(&turn, at, statement(seq+1, "select abalance from pgbench_accounts where aid = 1"), allowed)
		log.Told(&turn, at, outcome(seq+1, decoders.Result{Rows: 1, Bytes: 11, Tag: "SELECT 1"}))
		if seq%50 == 49 {
			if err := l.Commit(&turn); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := l.Commit(&turn); err != nil {
		b.Fatal(err)
	}
}
