package postgres_test

import (
	"bytes"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/postgres"
)

// loggedIn returns a decoder of a session that has logged in.
func loggedIn(b *testing.B) decoders.Decoder {
	b.Helper()
	d := postgres.Protocol.New(decoders.Want{})
	play(b, d, decoders.FromClient, startup("user", "u"))
	play(b, d, decoders.FromServer, join(msg('R', int32(0)), msg('Z', "I")))
	return d
}

// play lets d see buf, everything allowed.
func play(b *testing.B, d decoders.Decoder, dir decoders.Dir, buf []byte) {
	for len(buf) > 0 {
		s, err := d.Next(dir, buf)
		if err != nil || s.N <= 0 || s.Op == decoders.More || s.Op == decoders.Wait {
			b.Fatalf("step %+v, %v, at %q", s, err, buf[:min(len(buf), 20)])
		}
		buf = buf[min(s.N, len(buf)):]
	}
}

// BenchmarkPgbenchSelect is one transaction of pgbench -S, both directions.
func BenchmarkPgbenchSelect(b *testing.B) {
	const text = "SELECT abalance FROM pgbench_accounts WHERE aid = "
	row := msg('D', int16(1), int32(1), "0")
	description := msg('T', int16(1), "abalance", 0, int32(16400), int16(3), int32(23), int16(4), int32(-1), int16(0))
	done := join(msg('C', "SELECT 1", 0), msg('Z', "I"))
	for _, bb := range []struct {
		name           string
		prepare        []byte
		prepared       []byte
		client, server []byte
	}{
		{"simple", nil, nil, msg('Q', text+"4711;", 0), join(description, row, done)},
		{
			"extended", nil, nil,
			join(parseMsg("", text+"$1;"), bindMsg("", ""), describeMsg('P', ""), executeMsg(""), syncMsg()),
			join(msg('1'), msg('2'), description, row, done),
		},
		{
			"prepared", join(parseMsg("P_0", text+"$1;"), syncMsg()), join(msg('1'), msg('Z', "I")),
			join(bindMsg("", "P_0"), describeMsg('P', ""), executeMsg(""), syncMsg()),
			join(msg('2'), description, row, done),
		},
	} {
		b.Run(bb.name, func(b *testing.B) {
			d := loggedIn(b)
			play(b, d, decoders.FromClient, bb.prepare)
			play(b, d, decoders.FromServer, bb.prepared)
			b.ReportAllocs()
			for b.Loop() {
				play(b, d, decoders.FromClient, bb.client)
				play(b, d, decoders.FromServer, bb.server)
			}
		})
	}
}

// BenchmarkRows is a result that streams, in reads of 64 kB.
func BenchmarkRows(b *testing.B) {
	row := msg('D', int16(3), int32(4), "4711", int32(80), bytes.Repeat([]byte("x"), 80), int32(-1))
	rows := bytes.Repeat(row, 64<<10/len(row))
	d := loggedIn(b)
	play(b, d, decoders.FromClient, msg('Q', "select * from big", 0))
	b.SetBytes(int64(len(rows)))
	b.ReportAllocs()
	for b.Loop() {
		play(b, d, decoders.FromServer, rows)
	}
}
