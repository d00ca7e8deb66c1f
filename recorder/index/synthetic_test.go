package index_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentd.dev/recorder"
	"agentd.dev/recorder/index"
)

// invent tells the records of n statements, as a node with 40 workloads may have
// them: 300 tables, hundreds of rules and people, tasks of some sessions each,
// and statements of which most have words in common.
func invent(n int, visit func(*recorder.Event, recorder.Position) error) error {
	r := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var p recorder.Position
	var done int
	tell := func(e *recorder.Event, session string) error {
		p.Index++
		p.Offset, p.Kind, p.Session = p.Index, e.Kind, session
		e.Time = start.Add(time.Duration(done) * 20 * time.Millisecond)
		return visit(e, p)
	}
	for session := 0; done < n; session++ {
		id := fmt.Sprintf("S%025d", session)
		s := recorder.Summary{
			ID: id, State: recorder.Live, Start: start.Add(time.Duration(done) * 20 * time.Millisecond), Target: fmt.Sprint("db", r.IntN(6)), Protocol: "postgres",
			Workload: fmt.Sprint("agent-", r.IntN(40)), Claims: map[string]string{"task": fmt.Sprint("T-", session/3)},
		}
		s.Namespace, s.Pod = fmt.Sprint("ns-", r.IntN(8)), fmt.Sprint("pod-", session/20)
		if err := tell(&recorder.Event{Kind: "open", Session: &recorder.Session{Summary: s}}, id); err != nil {
			return err
		}
		s.User = fmt.Sprint("user", r.IntN(20))
		if err := tell(&recorder.Event{Kind: "login", Session: &recorder.Session{Summary: s}}, id); err != nil {
			return err
		}
		for seq := range uint64(60 + r.IntN(80)) {
			verb, table := []string{"select", "select", "select", "update", "insert", "delete"}[r.IntN(6)], fmt.Sprint("public.t", r.IntN(300))
			e := recorder.Event{Kind: "request", Seq: seq + 2, Facts: &recorder.Facts{Fields: map[string]any{"sql.verbs": []string{verb}, "sql.tables": []string{table}}}}
			e.Text.Text = textOf(p.Index + 1)
			e.Verdict, e.Rule = "allow", "default"
			switch {
			case table == "public.t7" && verb == "delete":
				e.Verdict, e.Rule = "deny", "no-delete"
			case r.IntN(50) == 0:
				e.Verdict, e.Rule = "mask", fmt.Sprint("hide-", r.IntN(100))
			}
			if err := tell(&e, id); err != nil {
				return err
			}
			if err := tell(&recorder.Event{Kind: "outcome", Seq: seq + 2, Done: recorder.Done{Rows: int64(r.ExpFloat64() * 20), Took: time.Duration(r.ExpFloat64() * 1e6)}}, id); err != nil {
				return err
			}
			done++
		}
		s.State = recorder.Ended
		if err := tell(&recorder.Event{Kind: "close", Session: &recorder.Session{Summary: s}}, id); err != nil {
			return err
		}
	}
	return nil
}

// textOf is the text of the statement with this record.
func textOf(record int64) string {
	r := rand.New(rand.NewPCG(uint64(record), 3))
	table := []string{"orders", "customers", "audit_log", "order_lines"}[r.IntN(4)]
	return fmt.Sprintf("select id, name, status from public.%s where id = %d and status = 'open' order by created_at limit 10", table, r.IntN(1e9))
}

// peak is how much memory the process has had at most, in MB.
func peak() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kb, _ := strconv.Atoi(strings.Fields(after + " 0")[0])
	return float64(kb) / 1000
}

// BenchmarkSynthetic is how long a list and a search take in an index of many
// statements, of which there is no log: AGENTD_STATEMENTS, as 10000000. With
// AGENTD_INDEX the index is made in that file.
func BenchmarkSynthetic(b *testing.B) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(100 << 20)) // as agentctl does
	dir, n := b.TempDir(), statements(b)
	record(b, dir, 1, 1<<20).some(b, 1)
	file := os.Getenv("AGENTD_INDEX")
	if file == "" {
		file = filepath.Join(dir, "index")
	}
	text := func(_, offset int64, _ string) (recorder.Text, error) {
		return recorder.Text{Text: textOf(offset)}, nil
	}
	begun := time.Now()
	x, err := index.Synthesise(b.Context(), filepath.Join(dir, "log"), file, func(visit func(*recorder.Event, recorder.Position) error) error {
		return invent(n, visit)
	}, text)
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	stat, err := os.Stat(file)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d statements in %.1f s, %.0f/s, %.0f B each, %.0f MB of memory at most", n, time.Since(begun).Seconds(),
		float64(n)/time.Since(begun).Seconds(), float64(stat.Size())/float64(n), peak())
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, q := range []struct {
		name string
		recorder.Which
	}{
		{"latest", recorder.Which{}},
		{"common-word", recorder.Which{Text: "orders"}},
		{"common-phrase", recorder.Which{Text: "from public"}},
		{"rare-word", recorder.Which{Text: "471147"}},
		{"absent-word", recorder.Which{Text: "nosuchword"}},
		{"absent-phrase-of-common-words", recorder.Which{Text: "public from"}},
		{"prefix", recorder.Which{Text: "custom*"}},
		{"denied", recorder.Which{Denied: true}},
		{"table-and-verb", recorder.Which{Table: "t7", Verb: "update"}},
		{"nothing-fits", recorder.Which{Table: "t8", Verdict: "deny"}},
		{"nothing-fits-of-common", recorder.Which{Verb: "select", Rule: "no-delete"}},
		{"unknown", recorder.Which{Table: "nosuchtable"}},
		{"word-and-rare-facet", recorder.Which{Text: "orders", Claim: "task=T-100"}},
		{"word-and-common-facet", recorder.Which{Text: "customers", Verb: "select", Namespace: "ns-3"}},
		{"absent-phrase-and-common-facet", recorder.Which{Text: "public from", Verb: "select"}},
		{"rows", recorder.Which{Rows: 300}},
		{"an-old-hour", recorder.Which{Since: start.Add(61 * time.Minute), Until: start.Add(121*time.Minute + 7*time.Second), Verb: "delete"}},
		{"slow-of-a-user", recorder.Which{Took: 9 * time.Millisecond, User: "user3", Workload: "agent-7"}},
	} {
		for _, list := range []bool{false, true} {
			name := "search/" + q.name
			if list {
				if name = "list/" + q.name; q.Text != "" {
					continue
				}
			}
			b.Run(name, func(b *testing.B) {
				var longest time.Duration
				back := 0.0
				for b.Loop() {
					begun := time.Now()
					query := index.Query{Which: q.Which, Limit: 50, Within: 60 * time.Millisecond}
					if list {
						page, err := x.Sessions(b.Context(), query)
						if err != nil {
							b.Fatal(err)
						}
						if !page.Back.IsZero() {
							back = 1
						}
					} else {
						page, err := x.Search(b.Context(), query)
						if err != nil {
							b.Fatal(err)
						}
						if !page.Back.IsZero() {
							back = 1
						}
					}
					longest = max(longest, time.Since(begun))
				}
				b.ReportMetric(float64(longest)/1e6, "ms-at-most")
				b.ReportMetric(back, "not-to-the-end")
			})
		}
	}
	b.Run("stats", func(b *testing.B) {
		for b.Loop() {
			if _, err := x.Stats(b.Context(), index.Query{}, 10); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Logf("%.0f MB of memory at most", peak())
}
