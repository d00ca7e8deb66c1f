package index_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"agentd.dev/recorder"
	"agentd.dev/recorder/index"
)

// statements is how many the log of the benchmarks has: AGENTD_STATEMENTS, or
// few enough for a short run.
func statements(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("AGENTD_STATEMENTS"))
	if err != nil {
		return 20000
	}
	return n
}

// bulk records n statements of sessions of 100, through the recorder.
func bulk(b *testing.B, dir string, n int) {
	b.Helper()
	w := record(b, dir, 7, 64<<20)
	defer w.Close()
	for done := 0; done < n; done += 100 {
		w.begin(b)
		g := w.open[0]
		for range 100 {
			w.statement(g)
		}
		g.log.End(&w.turn, at, recorder.End{Reason: "client closed"})
		w.open = w.open[:0]
		if err := w.Commit(&w.turn); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIndex tells how long a rebuild takes and then each kind of search.
func BenchmarkIndex(b *testing.B) {
	dir, n := b.TempDir(), statements(b)
	bulk(b, dir, n)
	log, file := filepath.Join(dir, "log"), filepath.Join(dir, "index")
	b.Run("verify", func(b *testing.B) {
		key, err := os.ReadFile(filepath.Join(dir, "key.pub"))
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			report, err := recorder.Verify(log, string(key), recorder.VerifyOptions{Progress: func(_, total int64) { b.SetBytes(total) }})
			if err != nil || report.Bad != nil {
				b.Fatal(err, report.Bad)
			}
		}
	})
	b.Run("rebuild", func(b *testing.B) {
		for b.Loop() {
			x, err := index.Rebuild(b.Context(), log, file, quiet)
			if err != nil {
				b.Fatal(err)
			}
			x.Close()
		}
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "statements/s")
		if stat, err := os.Stat(file); err == nil {
			b.ReportMetric(float64(stat.Size())/float64(n), "B/statement")
		}
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			x, err := index.Open(b.Context(), log, file, quiet, func(why string) { b.Fatal(why) })
			if err != nil {
				b.Fatal(err)
			}
			x.Close()
		}
	})
	x, err := index.Open(b.Context(), log, file, quiet, func(why string) { b.Fatal(why) })
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	for _, q := range []struct {
		name string
		recorder.Which
	}{
		{"latest", recorder.Which{}},
		{"common", recorder.Which{Text: "orders"}},
		{"rare", recorder.Which{Text: "id = 4711"}},
		{"absent", recorder.Which{Text: "nosuchword"}},
		{"denied", recorder.Which{Text: "orders", Verdict: "deny"}},
		{"table", recorder.Which{Table: "customers", Verb: "delete"}},
		{"nothing-fits", recorder.Which{Table: "nosuchtable"}},
		{"nothing-fits-common", recorder.Which{Text: "from public", User: "nobody"}},
	} {
		b.Run("search/"+q.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := x.Search(b.Context(), index.Query{Which: q.Which, Limit: 50}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
