package postgres_test

import (
	"bytes"
	"strings"
	"testing"

	"agentd.dev/decoders"
	ways "agentd.dev/decoders/masks"
	"agentd.dev/decoders/postgres"
)

// loggedIn returns a decoder of a session that has logged in.
func loggedIn(b *testing.B, want decoders.Want) decoders.Decoder {
	b.Helper()
	d := postgres.Protocol.New(want)
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
		for _, way := range []struct {
			name string
			want decoders.Want
		}{{bb.name, decoders.Want{}}, {bb.name + ", shown", decoders.Want{Results: 16 << 10}}} {
			b.Run(way.name, func(b *testing.B) {
				d := loggedIn(b, way.want)
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
}

// BenchmarkRows is a result that streams, in reads of 64 kB.
func BenchmarkRows(b *testing.B) {
	for name, want := range map[string]decoders.Want{"passed": {}, "shown": {Results: 16 << 10}} {
		b.Run(name, func(b *testing.B) { benchmarkRows(b, want) })
	}
}

func benchmarkRows(b *testing.B, want decoders.Want) {
	row := msg('D', int16(3), int32(4), "4711", int32(80), bytes.Repeat([]byte("x"), 80), int32(-1))
	rows := bytes.Repeat(row, 64<<10/len(row))
	d := loggedIn(b, want)
	play(b, d, decoders.FromClient, msg('Q', "select * from big", 0))
	b.SetBytes(int64(len(rows)))
	b.ReportAllocs()
	for b.Loop() {
		play(b, d, decoders.FromServer, rows)
	}
}

// BenchmarkMaskRows is a result of rows of 1 kB that streams, in reads of 64 kB,
// to a session without masks, with one column masked, and searched.
func BenchmarkMaskRows(b *testing.B) {
	const prose = "The quick brown fox jumps over the lazy dog, and it was 7 o'clock on a Sunday; nobody paid more than 12.50 for it. "
	text := strings.Repeat(prose, 9)[:1000]
	hit := text[:500] + " ada@example.com " + text[517:]
	description := msg('T', int16(3), "id", 0, int32(16384), int16(1), int32(23), int16(4), int32(-1), int16(0),
		"note", 0, int32(16384), int16(2), int32(25), int16(-1), int32(-1), int16(0),
		"email", 0, int32(16384), int16(3), int32(25), int16(-1), int32(-1), int16(0))
	row := func(text string) []byte {
		return msg('D', int16(3), int32(4), "4711", int32(len(text)), text, int32(15), "nobody@nowhere-")
	}
	rows := func(every int) []byte {
		var all []byte
		for i := 0; len(all) < 63<<10; i++ {
			if every > 0 && i%every == 0 {
				all = append(all, row(hit)...)
				continue
			}
			all = append(all, row(text)...)
		}
		return all
	}
	column := decoders.Want{Columns: []decoders.ColumnName{{Schema: "public", Table: "t", Column: "email"}}}
	search := []decoders.Mask{{Index: decoders.EveryColumn, Search: searchFor(ways.Text("[masked]"))}}
	for _, bb := range []struct {
		name   string
		want   decoders.Want
		search []decoders.Mask
		way    decoders.Way
		every  int
	}{
		{"plain", decoders.Want{}, nil, nil, 0},
		{"column/text", column, nil, ways.Text("[masked]"), 0},
		{"column/hash", column, nil, ways.Hash{Key: testKey}, 0},
		{"patterns/none found", decoders.Want{}, search, nil, 0},
		{"patterns/1 of 8 rows", decoders.Want{}, search, nil, 8},
		{"patterns/each row", decoders.Want{}, search, nil, 1},
	} {
		b.Run(bb.name, func(b *testing.B) {
			d := postgres.Protocol.New(bb.want)
			play(b, d, decoders.FromClient, startup("user", "u"))
			if bb.search != nil {
				d.(decoders.Masker).Mask(bb.search)
			}
			play(b, d, decoders.FromServer, join(msg('R', int32(0)), msg('Z', "I")))
			if len(bb.want.Columns) > 0 {
				play(b, d, decoders.FromServer, join(catalogueRow("16384", "3", "public", "t", "email"), msg('C', "SELECT 1", 0), msg('Z', "I")))
			}
			play(b, d, decoders.FromClient, msg('Q', "select id, note, email from t", 0))
			play(b, d, decoders.FromServer, description)
			if bb.way != nil {
				d.(decoders.Masker).Mask([]decoders.Mask{{Index: 2, Name: "rule", Way: bb.way}})
			}
			buf := rows(bb.every)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				play(b, d, decoders.FromServer, buf)
			}
		})
	}
}
