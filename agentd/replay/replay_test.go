package replay_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/replay"
	"agentd.dev/decoders"
	"agentd.dev/decoders/all"
	"agentd.dev/decoders/sql"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// login is what a client says of itself.
type login struct{ user string }

func (l *login) Field(name string) any {
	switch name {
	case "login.user", "login.as":
		return l.user
	case "login.database", "login.application", "login.credential":
		return ""
	case "login.replication":
		return false
	}
	return nil
}

// A log is one that a test writes, judged by rules as agentd does it.
type log struct {
	testing.TB
	dir    string
	rec    *recorder.Recorder
	engine *policy.Engine
	now    time.Time
	n      int
}

func record(t testing.TB, rules string) *log {
	t.Helper()
	dir := t.TempDir()
	l := &log{TB: t, dir: filepath.Join(dir, "log"), engine: load(t, rules), now: start}
	var err error
	l.rec, err = recorder.Open(recorder.Options{Dir: l.dir, KeyFile: filepath.Join(dir, "key"), Node: "test", Reserve: 1, Protocols: all.Protocols})
	if err != nil {
		t.Fatal(err)
	}
	l.engine.Clock(func() time.Time { return l.now })
	t.Cleanup(func() { l.rec.Close() })
	return l
}

func load(t testing.TB, rules string) *policy.Engine {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte("rules:\n"+rules), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := policy.Load([]string{file}, all.Protocols)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A session is one that a test records.
type session struct {
	*log
	rules *policy.Rules
	rec   *recorder.Log
	turn  recorder.Turn
	read  *sql.Analyzer
	seq   uint64
}

func (l *log) session(workload, user string, change ...func(*policy.Session, *decoders.Want)) *session {
	l.Helper()
	l.n++
	p := &policy.Session{
		ID: fmt.Sprint("S", l.n), Start: l.now, Scope: "plaintext",
		Identity: policy.Identity{Workload: workload},
		Target:   policy.Target{Name: "orders", Address: netip.MustParseAddrPort("192.0.2.1:5432"), Protocol: "postgres", Default: policy.Allowing},
	}
	s := &session{log: l, read: sql.NewAnalyzer(nil)}
	s.rules = l.engine.For(p)
	want := s.rules.Want()
	for _, c := range change {
		c(p, &want)
	}
	var err error
	if s.rec, err = l.rec.Begin(&s.turn, p); err != nil {
		l.Fatal(err)
	}
	s.rec.Wants(&want)
	s.ask(&decoders.Event{Kind: decoders.Login, Facts: &login{user}})
	return s
}

func (s *session) ask(ev *decoders.Event) policy.Verdict {
	s.seq++
	ev.Seq = s.seq
	s.now = s.now.Add(time.Millisecond)
	v := s.rules.Decide(ev)
	s.log.rec.Commit(&s.turn)
	s.rec.Asked(&s.turn, s.now, ev, v)
	return v
}

// says has a statement judged, and run unless it is refused.
func (s *session) says(text string, rows int64) {
	f := s.read.Analyze([]byte(text))
	v := s.ask(&decoders.Event{Kind: decoders.Request, Text: []byte(text), Record: []byte(text), Facts: f, Unclassified: f.Unclassified})
	if v.Outcome != policy.Forward {
		return
	}
	done := decoders.Event{Kind: decoders.Outcome, Seq: s.seq, Result: decoders.Result{Rows: rows, Bytes: 10 * rows, Tag: "SELECT"}}
	s.rules.Told(&done)
	s.rec.Told(&s.turn, s.now, &done)
}

func (s *session) end() {
	s.rec.End(&s.turn, s.now, recorder.End{})
	if err := s.log.rec.Commit(&s.turn); err != nil {
		s.Fatal(err)
	}
}

func (l *log) replay(rules string, o replay.Options) *replay.Report {
	l.Helper()
	folder, err := recorder.OpenFolder(l.dir)
	if err != nil {
		l.Fatal(err)
	}
	r, err := replay.Run(context.Background(), folder, load(l, rules), all.Protocols, o)
	if err != nil {
		l.Fatal(err)
	}
	return r
}

// told is a report in one line.
func told(r *replay.Report) string {
	var parts []string
	for _, g := range r.Groups {
		parts = append(parts, fmt.Sprintf("%s %d %s %s/%s>%s/%s", g.Change, g.Count, g.Kind, g.Was, g.By, g.Is, g.Now))
	}
	for _, d := range r.Doubts {
		parts = append(parts, fmt.Sprintf("undecided %d: %s", d.Count, d.Why))
	}
	return fmt.Sprintf("%d of %d the same; %s", r.Same, r.Judged, strings.Join(parts, "; "))
}

const (
	nothing  = "  []\n"
	noDrop   = "  - {name: no-drop, on: request, do: deny, when: '\"drop\" in sql.verbs', message: No.}\n"
	noLogin  = "  - {name: no-ada, on: login, do: deny, when: 'login.user == \"ada\"', message: No.}\n"
	budget   = "  - {name: budget, on: request, do: limit, statements: 2, per: 1h}\n"
	short    = "  - {name: short, on: request, do: limit, rows: 5}\n"
	tables   = "  - {name: no-secrets, on: request, do: deny, when: '\"public.secrets\" in sql.tables', message: No.}\n"
	emails   = "  - {name: emails, on: result, do: mask, columns: [public.customers.email]}\n"
	noWrites = "  - {name: reads, on: login, do: limit, writes: deny}\n"
	patterns = "  - {name: cards, on: result, do: mask, find: [card]}\n"
)

func TestAReplayTellsWhatIsDecidedOtherwise(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, was, is, want string }{
		{"the same", noDrop, noDrop, "5 of 5 the same; "},
		{"a new rule", nothing, noDrop, "4 of 5 the same; newly-denied 1 request allow/default>deny/no-drop"},
		{"a rule less", noDrop, nothing, "4 of 5 the same; newly-allowed 1 request deny/no-drop>allow/default"},
		{"a login", nothing, noLogin, "0 of 5 the same; newly-denied 1 login allow/default>deny/no-ada"},
		{"a budget", nothing, budget, "3 of 5 the same; newly-denied 2 request allow/default>deny/budget"},
		{"a smaller limit", nothing, short, "5 of 5 the same; newly-cut 2 outcome allow/>deny/short"},
		{"a field that was not learned", nothing, tables, "1 of 5 the same; undecided 4: a rule asks for sql.tables, which was not recorded with it"},
		{"a column that was not watched", nothing, emails, "1 of 5 the same; undecided 4: it may use public.customers.email, for which nobody looked when it was recorded"},
		{"a session that may not write", nothing, noWrites, "1 of 5 the same; undecided 3: whether it changes the limits of its session was not looked at when it was recorded; undecided 1: whether it writes is for the server to say, which would have been told that nothing may"},
		{"a search", nothing, patterns, "5 of 5 the same; "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := record(t, tt.was)
			s := l.session("agent", "ada")
			for i, text := range []string{"select 1", "select 2", "drop table t", "select * from t"} {
				s.says(text, int64(i*3))
			}
			s.end()
			if got := told(l.replay(tt.is, replay.Options{})); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestAReplayTellsOfWhatWasChosen(t *testing.T) {
	t.Parallel()
	l := record(t, nothing)
	for _, workload := range []string{"one", "two"} {
		s := l.session(workload, "ada")
		s.says("drop table t", 0)
		l.now = l.now.Add(time.Hour)
		s.says("drop table t", 0)
		s.end()
	}
	for _, tt := range []struct {
		o    replay.Options
		want string
	}{
		{replay.Options{}, "2 of 6 the same; newly-denied 4 request allow/default>deny/no-drop"},
		{replay.Options{Workload: "two"}, "1 of 3 the same; newly-denied 2 request allow/default>deny/no-drop"},
		{replay.Options{Session: "S1"}, "1 of 3 the same; newly-denied 2 request allow/default>deny/no-drop"},
		{replay.Options{Since: start.Add(90 * time.Minute)}, "0 of 1 the same; newly-denied 1 request allow/default>deny/no-drop"},
	} {
		if got := told(l.replay(noDrop, tt.o)); got != tt.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", tt.o, got, tt.want)
		}
	}
}

// Limits are counted by the record's own clock, across sessions.
func TestLimitsAreCountedAsTheyWere(t *testing.T) {
	t.Parallel()
	l := record(t, budget)
	for i := range 6 {
		s := l.session("agent", fmt.Sprint("user", i))
		s.says("select 1", 1)
		s.end()
		l.now = l.now.Add(25 * time.Minute)
	}
	if got, want := told(l.replay(budget, replay.Options{})), "12 of 12 the same; "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r := l.replay(budget, replay.Options{Since: start.Add(45 * time.Minute)})
	if got, want := told(r), "8 of 8 the same; "; got != want {
		t.Errorf("got %s, want %s: what came before counts, too", got, want)
	}
}

// What was used in a minute, an hour or a day is known once the record is as long.
func TestCountersAreOfWhatWasRecorded(t *testing.T) {
	t.Parallel()
	const busy = "  - {name: busy, on: request, do: deny, when: 'usage.minute.statements >= 2', message: Wait.}\n"
	l := record(t, nothing)
	s := l.session("agent", "ada")
	s.says("select 1", 1)
	l.now = l.now.Add(2 * time.Minute)
	for range 4 {
		s.says("select 1", 1)
	}
	s.end()
	want := "3 of 6 the same; newly-denied 2 request allow/default>deny/busy; undecided 1: a rule asks for usage.minute.statements, which is not known of the time before the record"
	if got := told(l.replay(busy, replay.Options{})); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	const first = "  - {name: first, on: request, do: deny, when: 'first.verb', message: Wait.}\n"
	want = "1 of 6 the same; undecided 5: a rule asks for first.verb, which is not known of the time before the record"
	if got := told(l.replay(first, replay.Options{})); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestARecordWithoutFactsIsNotDecided(t *testing.T) {
	t.Parallel()
	if _, why := replay.Session(&recorder.Summary{ID: "S"}); why == "" {
		t.Error("a session of an older version is taken for one without facts")
	}
	if _, why := replay.Session(&recorder.Summary{ID: "S", Comm: "a\ufffd", Silence: recorder.Silence{Default: "allow"}}); why == "" {
		t.Error("a name that is not known exactly is taken for known")
	}
}

// BenchmarkReplay100000 replays so many statements of a hundred sessions.
func BenchmarkReplay100000(b *testing.B) {
	l := record(b, budget+noDrop)
	for i := range 100 {
		s := l.session(fmt.Sprint("agent", i), "ada")
		for n := range 1000 {
			s.says(fmt.Sprintf("update accounts set a%d = a + %d where id = %d", n%50, n, i), 1)
		}
		s.end()
	}
	if err := l.rec.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if r := l.replay(budget+noDrop, replay.Options{}); r.Judged != 100_100 || r.Same != r.Judged {
			b.Fatal(told(r))
		}
	}
}
