package sql_test

import (
	"bytes"
	"testing"

	"agentd.dev/decoders/sql"
)

func BenchmarkAnalyze(b *testing.B) {
	for _, bb := range []struct {
		name string
		text []byte
	}{
		{"pgbench", []byte("SELECT abalance FROM pgbench_accounts WHERE aid = 12345;")},
		{"literal 1 MB", []byte("insert into t values ('" + string(bytes.Repeat([]byte("some text, "), 1<<20/11)) + "')")},
		{"rows 1 MB", []byte("insert into t values (1, 'a')" + string(bytes.Repeat([]byte(", (1234567, 'some text')"), 1<<20/24)))},
	} {
		b.Run(bb.name, func(b *testing.B) {
			a := sql.NewAnalyzer(nil)
			b.SetBytes(int64(len(bb.text)))
			b.ReportAllocs()
			for b.Loop() {
				a.Analyze(bb.text)
			}
		})
	}
}
