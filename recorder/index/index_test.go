package index_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/recorder"
	"agentd.dev/recorder/index"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// facts are those of a statement.
type facts struct{ table, verb string }

func (f *facts) Field(name string) any {
	switch name {
	case "sql.tables":
		return []string{f.table}
	case "sql.verbs":
		return []string{f.verb}
	}
	return nil
}

var protocol = decoders.Protocol{Name: "postgres", Fields: []decoders.Field{
	{Name: "sql.tables", Type: decoders.Strings, Kinds: decoders.Request | decoders.Prepare},
	{Name: "sql.verbs", Type: decoders.Strings, Kinds: decoders.Request | decoders.Prepare},
}}

var names = []string{"orders", "customers", "customer_orders", "audit_log", "order_lines"}

// A writer records sessions at random, some at once.
type writer struct {
	*recorder.Recorder
	turn  recorder.Turn
	rand  *rand.Rand
	begun int
	open  []*going
}

type going struct {
	log *recorder.Log
	seq uint64
}

func record(t testing.TB, dir string, seed uint64, segment int64) *writer {
	t.Helper()
	r, err := recorder.Open(recorder.Options{
		Dir: filepath.Join(dir, "log"), KeyFile: filepath.Join(dir, "key"), Node: "agentd/test",
		Interval: time.Hour, Reserve: 1, SegmentBytes: segment, Protocols: []decoders.Protocol{protocol},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return &writer{Recorder: r, rand: rand.New(rand.NewPCG(seed, 1))}
}

func (w *writer) begin(t testing.TB) {
	t.Helper()
	w.begun++
	log, err := w.Begin(&w.turn, &policy.Session{
		ID: fmt.Sprintf("S%d-%08d", w.rand.Uint32(), w.begun), Start: at,
		Identity: policy.Identity{Workload: fmt.Sprintf("agent-%d", w.begun%3), Namespace: "agents", Pod: fmt.Sprintf("pod-%d", w.begun%5)},
		Target:   policy.Target{Name: "orders", Address: netip.MustParseAddrPort("192.0.2.1:5432"), Protocol: "postgres"},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.open = append(w.open, &going{log: log})
}

// some records n statements, on sessions that begin and end meanwhile.
func (w *writer) some(t testing.TB, n int) {
	t.Helper()
	for range n {
		if len(w.open) == 0 || len(w.open) < 4 && w.rand.IntN(10) == 0 {
			w.begin(t)
		}
		i := w.rand.IntN(len(w.open))
		w.statement(w.open[i])
		if w.rand.IntN(30) == 0 {
			w.open[i].log.End(&w.turn, at, recorder.End{Reason: "client closed"})
			w.open = slices.Delete(w.open, i, i+1)
		}
		if err := w.Commit(&w.turn); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *writer) statement(g *going) {
	table, verb := names[w.rand.IntN(len(names))], []string{"select", "delete"}[w.rand.IntN(2)]
	text := fmt.Sprintf("%s from public.%s where id = %d", verb, table, w.rand.IntN(100000))
	known := &facts{"public." + table, verb} // a request shares its prepare's
	ask := func(kind decoders.Kinds, ref uint64) *decoders.Event {
		g.seq++
		ev := &decoders.Event{
			Kind: kind, Seq: g.seq, Ref: ref, Text: []byte(text), Record: []byte(text),
			Facts: known,
		}
		verdict := policy.Verdict{Outcome: policy.Forward, Rule: "default"}
		if kind == decoders.Request && verb == "delete" && w.rand.IntN(2) == 0 {
			verdict = policy.Verdict{Rule: "no-delete", Reason: "no"}
		}
		g.log.Asked(&w.turn, at.Add(time.Duration(w.rand.IntN(1000))*time.Second), ev, verdict)
		return ev
	}
	var ref uint64
	if w.rand.IntN(2) == 0 {
		ref = ask(decoders.Prepare, 0).Seq
	}
	seq := ask(decoders.Request, ref).Seq
	if w.rand.IntN(5) > 0 {
		g.log.Told(&w.turn, at, &decoders.Event{Kind: decoders.Outcome, Seq: seq, Result: decoders.Result{Rows: int64(w.rand.IntN(9))}})
	}
}

// scan reads everything.
func scan(t *testing.T, folder *recorder.Folder) (all []recorder.Statement) {
	t.Helper()
	sessions, err := folder.Sessions(recorder.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range sessions {
		script, err := folder.Session(o.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range script.Entries {
			text := e.Text.Text
			if i := slices.IndexFunc(script.Entries, func(p *recorder.Entry) bool { return e.Ref > 0 && p.Seq == e.Ref }); i >= 0 {
				text = script.Entries[i].Text.Text
			}
			if e.Kind != "request" {
				continue
			}
			words := strings.Fields(text)
			s := recorder.Statement{Seq: e.Seq, Time: e.Time, Text: text, Verdict: e.Verdict, Rule: e.Rule, Verbs: words[:1], Tables: words[2:3]}
			s.Of(&script.Summary, nil)
			if e.Done != nil {
				s.Rows = e.Done.Rows
			}
			all = append(all, s)
		}
	}
	return all
}

// chosen are the statements that which chooses, and their sessions.
func chosen(all []recorder.Statement, which recorder.Which) (found, ids []string) {
	for i := range all {
		if which.Fits(&all[i]) {
			found = append(found, said(&all[i]))
			ids = append(ids, all[i].Session)
		}
	}
	slices.Sort(found)
	slices.Sort(ids)
	return found, slices.Compact(ids)
}

func said(s *recorder.Statement) string {
	return fmt.Sprint(s.Session, s.Seq, s.Text, s.Verdict, s.Rule, s.Rows)
}

var queries = []recorder.Which{
	{},
	{Text: "orders"},
	{Text: "customer_ord*"},
	{Text: "customer_ord"},
	{Text: "from public.orders"},
	{Text: "FROM public.order*"},
	{Text: "id = 4*"},
	{Text: "id = 4711"},
	{Text: `"; drop`},
	{Table: "orders"},
	{Table: "public.orders", Rows: 3},
	{Table: "nosuch"},
	{Text: "orders", Verdict: "deny"},
	{Verb: "delete", Table: "customers", Workload: "agent-1"},
	{Since: at.Add(500 * time.Second)},
	{Since: at.Add(123456 * time.Millisecond), Until: at.Add(654321 * time.Millisecond), Pod: "pod-2"},
	{Until: at.Add(100 * time.Second), Verb: "SELECT", Text: "from public"},
	{Rows: 5, Denied: true},
	{Rows: 5, Rule: "default"},
	{Rule: "no-delete", Table: "orders", Namespace: "agents"},
}

func check(t *testing.T, x *index.Index, dir string) {
	t.Helper()
	folder, err := recorder.OpenFolder(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	all := scan(t, folder)
	for _, which := range queries {
		want, sessions := chosen(all, which)
		got := everyPage(t, x, which)
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%+v: got %d statements %.300q, want %d %.300q", which, len(got), got, len(want), want)
		}
		if which.Text != "" || !which.Since.IsZero() || !which.Until.IsZero() || which == (recorder.Which{}) {
			continue // of sessions, times are of when they began
		}
		var ids []string
		q := index.Query{Which: which, Limit: 7}
		for {
			page, err := x.Sessions(t.Context(), q)
			if err != nil {
				t.Fatalf("%+v: %v", which, err)
			}
			for _, s := range page.Sessions {
				ids = append(ids, s.ID)
			}
			if q.After = page.Next; q.After == 0 {
				break
			}
		}
		if slices.Sort(ids); !slices.Equal(ids, sessions) {
			t.Errorf("%+v: got %d sessions %.300q, want %d %.300q", which, len(ids), ids, len(sessions), sessions)
		}
	}
}

// everyPage is what all pages of a search say.
func everyPage(t *testing.T, x *index.Index, which recorder.Which) (got []string) {
	t.Helper()
	q := index.Query{Which: which, Limit: 37}
	for last := int64(0); ; {
		page, err := x.Search(t.Context(), q)
		if err != nil {
			t.Fatalf("%+v: %v", which, err)
		}
		for i := range page.Statements {
			s := &page.Statements[i]
			if last > 0 && s.Cursor >= last {
				t.Errorf("%+v: got cursor %d after %d, want it before", which, s.Cursor, last)
			}
			last = s.Cursor
			got = append(got, said(s))
		}
		if q.After = page.Next; q.After == 0 {
			return got
		}
	}
}

func quiet(int64, int64) {}

func TestAnIndexAnswersAsReadingEverythingDoes(t *testing.T) {
	for seed := range uint64(3) {
		dir := t.TempDir()
		w := record(t, dir, seed, 64<<10)
		file := filepath.Join(dir, "index")
		for round := range 4 { // sessions go on from one to the next
			w.some(t, 150)
			x, err := index.Open(t.Context(), filepath.Join(dir, "log"), file, quiet, func(why string) { t.Errorf("round %d: %s", round, why) })
			if err != nil {
				t.Fatal(err)
			}
			check(t, x, dir)
			x.Close()
			if round == 1 { // recording stops and starts, sessions are cut
				w.Close()
				w = record(t, dir, seed+100, 64<<10)
			}
		}
	}
}

func TestAnIndexThatIsNoneOfThisLogIsBuiltAnew(t *testing.T) {
	other := t.TempDir()
	record(t, other, 9, 64<<10).some(t, 300)
	for _, tt := range []struct {
		name  string
		spoil func(file string) error
		want  int // notices
	}{
		{"none", os.Remove, 0},
		{"garbage", func(file string) error { return os.WriteFile(file, []byte(strings.Repeat("garbage ", 999)), 0o600) }, 1},
		{"cut", func(file string) error { return os.Truncate(file, 8192) }, 1},
		{"empty", func(file string) error { return os.Truncate(file, 0) }, 1},
		{"of another log", func(file string) error {
			x, err := index.Rebuild(context.Background(), filepath.Join(other, "log"), file, quiet)
			if err == nil {
				err = x.Close()
			}
			return err
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			record(t, dir, 1, 64<<10).some(t, 100)
			log, file := filepath.Join(dir, "log"), filepath.Join(dir, "index")
			x, err := index.Rebuild(t.Context(), log, file, quiet)
			if err != nil {
				t.Fatal(err)
			}
			x.Close()
			if err := tt.spoil(file); err != nil {
				t.Fatal(err)
			}
			notices := 0
			if x, err = index.Open(t.Context(), log, file, quiet, func(string) { notices++ }); err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			check(t, x, dir)
			if notices != tt.want {
				t.Errorf("got %d notices, want %d", notices, tt.want)
			}
			stat, err := os.Stat(file)
			if err != nil || stat.Mode().Perm() != 0o600 {
				t.Errorf("got %v %v, want a file of mode 0600", stat.Mode(), err)
			}
			left, _ := filepath.Glob(file + "?*")
			if len(left) > 0 {
				t.Errorf("got %q left behind, want nothing", left)
			}
		})
	}
}

func TestStatsCountWhatASearchFinds(t *testing.T) {
	dir := t.TempDir()
	record(t, dir, 5, 64<<10).some(t, 400)
	x, err := index.Open(t.Context(), filepath.Join(dir, "log"), filepath.Join(dir, "index"), quiet, func(why string) { t.Error(why) })
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for _, which := range queries {
		q := index.Query{Which: which}
		page, err := x.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		found := page.Statements
		got, err := x.Stats(t.Context(), q, 100)
		if err != nil {
			t.Fatal(err)
		}
		var denied, by, tables, over int64
		for _, s := range found {
			if s.Verdict == "deny" {
				denied++
			}
		}
		for _, c := range got.Workloads {
			by += c.Statements
		}
		for _, c := range got.Tables {
			tables += c.Statements // each names one
		}
		for _, c := range got.Over {
			over += c.Denied
		}
		n := int64(len(found))
		if got.Statements != n || got.Denied != denied || by != n || tables != n || over != denied {
			t.Errorf("%+v: got %d statements (%d by workload, %d by table), %d denied (%d over time), want %d, %d denied",
				which, got.Statements, by, tables, got.Denied, over, n, denied)
		}
	}
}

func TestWhatIsForgottenIsNotFound(t *testing.T) {
	dir := t.TempDir()
	record(t, dir, 6, 64<<10).some(t, 400)
	x, err := index.Open(t.Context(), filepath.Join(dir, "log"), filepath.Join(dir, "index"), quiet, func(why string) { t.Error(why) })
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	const from, to = 100, 700
	find := func(which recorder.Which) (cursors []int64) {
		page, err := x.Search(t.Context(), index.Query{Which: which})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Statements {
			cursors = append(cursors, s.Cursor)
		}
		return cursors
	}
	var want [][]int64
	for _, which := range queries {
		want = append(want, slices.DeleteFunc(find(which), func(n int64) bool { return from <= n && n < to }))
	}
	if err := x.Forget(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	for i, which := range queries {
		if got := find(which); !slices.Equal(got, want[i]) {
			t.Errorf("%+v: got %d, want %d", which, got, want[i])
		}
	}
	if _, err := x.Sessions(t.Context(), index.Query{}); err != nil {
		t.Error(err)
	}
}
