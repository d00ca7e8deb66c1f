package usage

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentd.dev/decoders"
)

// facts are those of a statement.
type facts struct {
	tables, verbs []string
	unknown       bool // its tables are
}

func (f *facts) Field(name string) any {
	switch name {
	case "sql.tables":
		if f.unknown {
			return nil
		}
		return f.tables
	case "sql.verbs":
		return f.verbs
	}
	return nil
}

// A scene is a store whose clock stands still.
type scene struct {
	*Store
	at time.Time
}

func newScene(t *testing.T) *scene {
	s := &scene{at: time.Unix(1_800_000_000, 0)}
	s.Store = newStore(filepath.Join(t.TempDir(), "usage.json"), slog.New(slog.DiscardHandler), func() time.Time { return s.at })
	return s
}

// again is the store of the next agentd.
func (s *scene) again(t *testing.T) *scene {
	t.Helper()
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	next := &scene{at: s.at}
	next.Store = newStore(s.file, s.log, func() time.Time { return next.at })
	next.load()
	return next
}

func (s *scene) want(t *testing.T, v *View, name string, f decoders.Facts, want any) {
	t.Helper()
	if got, err := v.Counter(name, f); err != nil || got != want {
		t.Errorf("%s is %v (%v), want %v", name, got, err, want)
	}
}

func TestWindowsSlide(t *testing.T) {
	s := newScene(t)
	v := s.View("w", "orders", "/bin/x")
	other := s.View("w", "stock", "/bin/x")
	for range 3 {
		v.Through(nil)
		v.Done(&decoders.Result{Rows: 10, Bytes: 100, Affected: 1})
	}
	v.Denied()
	other.Through(nil)
	for _, span := range []string{"minute", "hour", "day"} {
		s.want(t, v, "usage."+span+".statements", nil, int64(3))
		s.want(t, v, "usage."+span+".rows", nil, int64(30))
		s.want(t, v, "usage."+span+".bytes", nil, int64(300))
		s.want(t, v, "usage."+span+".affected", nil, int64(3))
		s.want(t, v, "usage."+span+".denials", nil, int64(1))
		s.want(t, other, "usage."+span+".rows", nil, int64(0))
	}
	for _, tt := range []struct {
		after             time.Duration
		minute, hour, day int64
	}{
		{time.Minute, 30, 30, 30}, // never shorter than they are called
		{6 * time.Second, 0, 30, 30},
		{time.Hour - time.Minute - 6*time.Second, 0, 30, 30},
		{61 * time.Second, 0, 0, 30},
		{22*time.Hour + 58*time.Minute, 0, 0, 30},
		{31 * time.Minute, 0, 0, 0},
	} {
		s.at = s.at.Add(tt.after)
		s.want(t, v, "usage.minute.rows", nil, tt.minute)
		s.want(t, v, "usage.hour.rows", nil, tt.hour)
		s.want(t, v, "usage.day.rows", nil, tt.day)
	}
}

// What is in a window is compared with adding up all that was counted.
func TestAWindowIsTheSumOfWhatWasCounted(t *testing.T) {
	s := newScene(t)
	v := s.View("w", "orders", "")
	type one struct {
		at   time.Time
		rows int64
	}
	var all []one
	for i := range 5000 {
		s.at = s.at.Add(time.Duration(i*i%7919) * time.Second / 10)
		all = append(all, one{s.at, int64(i % 97)})
		v.Done(&decoders.Result{Rows: int64(i % 97)})
		for j, d := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
			var least, most int64
			for k := len(all) - 1; k >= 0 && s.at.Sub(all[k].at) <= d+time.Duration(spans[j].width)*time.Second; k-- {
				most += all[k].rows
				if s.at.Sub(all[k].at) < d {
					least += all[k].rows
				}
			}
			got, err := v.Counter("usage."+spans[j].name+".rows", nil)
			if n, _ := got.(int64); err != nil || n < least || n > most {
				t.Fatalf("after %d: %s has %v (%v), want from %d to %d", i, spans[j].name, got, err, least, most)
			}
		}
	}
}

func TestAClockThatIsSetBackLosesNothing(t *testing.T) {
	s := newScene(t)
	v := s.View("w", "orders", "")
	v.Through(nil)
	s.at = s.at.Add(-10 * time.Hour)
	v.Through(nil)
	s.want(t, v, "usage.minute.statements", nil, int64(2))
}

func TestDistinctTables(t *testing.T) {
	s := newScene(t)
	v := s.View("w", "orders", "")
	a, b := &facts{tables: []string{"public.a", "public.b"}}, &facts{tables: []string{"public.b"}}
	v.Through(a)
	s.at = s.at.Add(50 * time.Minute)
	for range 3 {
		v.Through(b)
	}
	s.want(t, v, "usage.minute.tables", nil, int64(1))
	s.want(t, v, "usage.hour.tables", nil, int64(2))
	s.at = s.at.Add(20 * time.Minute)
	v.Through(b) // remembered
	s.want(t, v, "usage.hour.tables", nil, int64(1))
}

func TestWhatIsNewIsToldAfterLearningUntilItIsLetThrough(t *testing.T) {
	s := newScene(t)
	s.Learn(time.Hour)
	v := s.View("w", "orders", "/bin/x")
	known, fresh := &facts{tables: []string{"a"}, verbs: []string{"select"}}, &facts{tables: []string{"a", "b"}, verbs: []string{"delete"}}
	s.want(t, v, "first.table", known, false)
	v.Through(known)
	s.at = s.at.Add(time.Hour)
	for range 2 { // asking changes nothing
		s.want(t, v, "first.table", fresh, true)
		s.want(t, v, "first.verb", fresh, true)
	}
	v.Denied()
	s.want(t, v, "first.table", fresh, true)
	s.want(t, v, "first.table", known, false)
	s.want(t, v, "first.program", known, false)
	s.want(t, v, "first.target", known, false)
	elsewhere, program := s.View("w", "stock", "/bin/x"), s.View("w", "orders", "/bin/y")
	s.want(t, elsewhere, "first.target", known, true)
	s.want(t, elsewhere, "first.table", known, true) // a table is one of its target
	s.want(t, program, "first.program", known, true)
	s.want(t, program, "first.table", known, false)
	v.Through(fresh)
	program.Through(known)
	s.want(t, v, "first.table", fresh, false)
	s.want(t, program, "first.program", known, false)
	if _, err := v.Counter("first.table", nil); !errors.Is(err, errFacts) {
		t.Errorf("of a statement that is not understood: %v, want %v", err, errFacts)
	}
	other := s.View("x", "orders", "/bin/x") // a workload that is new is learned first
	s.want(t, other, "first.table", fresh, false)
}

func TestWhatIsTypicalIsOfHoursWithWork(t *testing.T) {
	s := newScene(t)
	v := s.View("w", "orders", "")
	for i := range 10 {
		s.want(t, v, "usage.typical.rows", nil, map[bool]int64{true: Untypical, false: 100}[i < minHours])
		v.Through(nil)
		v.Done(&decoders.Result{Rows: 100})
		s.at = s.at.Add(5 * time.Hour)
	}
	v.Through(nil)
	v.Done(&decoders.Result{Rows: 100_000})
	s.want(t, v, "usage.typical.rows", nil, int64(100))
	s.want(t, v, "usage.hour.rows", nil, int64(100_000))
}

func TestAnotherAgentdGoesOnCounting(t *testing.T) {
	s := newScene(t)
	s.Learn(0)
	v := s.View("w", "orders", "/bin/x")
	f := &facts{tables: []string{"a"}, verbs: []string{"select"}}
	for range 9 {
		v.Through(f)
		v.Done(&decoders.Result{Rows: 7})
		s.at = s.at.Add(time.Hour)
	}
	v.Denied()
	names := []string{
		"usage.minute.statements", "usage.hour.rows", "usage.day.rows", "usage.day.denials", "usage.day.tables", "usage.typical.rows",
		"first.table", "first.verb", "first.program", "first.target",
	}
	next := s.again(t)
	next.Learn(0)
	after := next.View("w", "orders", "/bin/x")
	for _, name := range names {
		want, err := v.Counter(name, f)
		if err != nil {
			t.Fatal(err)
		}
		next.want(t, after, name, f, want)
	}
	next.at = next.at.Add(25 * time.Hour)
	next.want(t, after, "usage.day.rows", nil, int64(0))
}

func TestADamagedFileLeavesCountsUnknownForAsLongAsTheyReach(t *testing.T) {
	for _, damage := range []func(string) string{
		func(text string) string { return strings.Replace(text, "orders", "Orders", 1) },
		func(text string) string { return text[:len(text)/2] },
		func(string) string { return "" },
		func(text string) string { return strings.Replace(text, `"version":1`, `"version":2`, 1) },
	} {
		s := newScene(t)
		s.View("w", "orders", "").Through(nil)
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(s.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.file, []byte(damage(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
		next := s.again(t)
		v := next.View("w", "orders", "")
		if _, err := v.Counter("usage.minute.rows", nil); !errors.Is(err, errBlind) {
			t.Errorf("at first: %v, want %v", err, errBlind)
		}
		next.at = next.at.Add(70 * time.Second)
		next.want(t, v, "usage.minute.rows", nil, int64(0))
		if _, err := v.Counter("usage.day.rows", nil); !errors.Is(err, errBlind) {
			t.Errorf("the day: %v, want %v", err, errBlind)
		}
		next.at = next.at.Add(25 * time.Hour)
		next.want(t, v, "usage.day.rows", nil, int64(0))
		if _, err := os.Stat(s.file + ".damaged"); err != nil {
			t.Error(err)
		}
	}
}

func TestWhoKeepsSessionsAfterATakeoverIsCountedByTheNext(t *testing.T) {
	s := newScene(t)
	v := s.View("w", "orders", "/bin/x")
	v.Through(nil)
	if err := s.Leave(); err != nil {
		t.Fatal(err)
	}
	next := &scene{at: s.at}
	next.Store = newStore(s.file, s.log, func() time.Time { return next.at })
	next.load()
	after := next.View("w", "orders", "/bin/x")
	next.want(t, after, "usage.minute.statements", nil, int64(1))
	for range 3 {
		v.Through(&facts{tables: []string{"a"}})
		v.Done(&decoders.Result{Rows: 5})
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
	}
	v.Denied()
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	after.Through(nil)
	next.absorb()
	next.absorb() // once
	next.want(t, after, "usage.minute.statements", nil, int64(5))
	next.want(t, after, "usage.minute.rows", nil, int64(15))
	next.want(t, after, "usage.minute.denials", nil, int64(1))
	next.want(t, after, "usage.minute.tables", nil, int64(1))
	if left, _ := filepath.Glob(filepath.Join(s.folder(), "*")); len(left) > 0 {
		t.Errorf("%s are left", left)
	}
}

func TestATakeoverThatFailsChangesNothing(t *testing.T) {
	s := newScene(t)
	v := s.View("w", "orders", "")
	v.Through(nil)
	if err := s.Leave(); err != nil {
		t.Fatal(err)
	}
	v.Through(nil)
	s.Stay()
	v.Through(nil)
	next := s.again(t)
	next.want(t, next.View("w", "orders", ""), "usage.minute.statements", nil, int64(3))
}

func TestWhatThereIsNoRoomForIsNotKnown(t *testing.T) {
	s := newScene(t)
	s.Learn(0)
	for i := range maxAccounts {
		s.View(fmt.Sprint("w", i), "orders", "")
	}
	v := s.View("more", "orders", "")
	v.Through(nil)
	v.Denied()
	if _, err := v.Counter("usage.minute.rows", nil); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
	if _, err := v.Counter("first.target", nil); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
	if got := s.State(); got.Turned != 1 || got.Accounts != maxAccounts {
		t.Errorf("the store is %+v", got)
	}
	s.at = s.at.Add((idleFor + 1) * time.Second)
	s.want(t, s.View("more", "orders", ""), "usage.minute.rows", nil, int64(0))

	names := s.View("names", "orders", "")
	for i := range maxNames + 1 {
		names.Through(&facts{tables: []string{fmt.Sprint("t", i)}})
	}
	if _, err := names.Counter("first.table", &facts{tables: []string{"new"}}); !errors.Is(err, errNames) {
		t.Errorf("got %v, want %v", err, errNames)
	}
	s.want(t, names, "first.table", &facts{tables: []string{"t1"}}, false)
	if got := s.State(); len(got.Full) != 1 || got.Full[0] != "names" {
		t.Errorf("full are %q, want names", got.Full)
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	s := newScene(t)
	v := s.View("w", "orders", "/bin/x")
	f := &facts{tables: []string{"a", "b"}, verbs: []string{"select"}}
	r := &decoders.Result{Rows: 1, Bytes: 10}
	if n := testing.AllocsPerRun(1000, func() { v.Through(f); v.Done(r); v.Denied() }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkCounting(b *testing.B) {
	s := newStore(filepath.Join(b.TempDir(), "usage.json"), slog.New(slog.DiscardHandler), time.Now)
	v := s.View("w", "orders", "/bin/x")
	f := &facts{tables: []string{"a", "b"}, verbs: []string{"select"}}
	r := &decoders.Result{Rows: 1, Bytes: 10}
	b.ReportAllocs()
	for b.Loop() {
		v.Through(f)
		v.Done(r)
	}
}

// Tables are known only where rules ask for them: what was not looked for before
// is not new now.
func TestTablesAreLearnedFromWhenTheyAreKnown(t *testing.T) {
	s := newScene(t)
	s.Learn(time.Hour)
	v := s.View("w", "orders", "/bin/x")
	for range 10 {
		v.Through(&facts{verbs: []string{"select"}, unknown: true})
		s.at = s.at.Add(time.Hour)
	}
	f := &facts{tables: []string{"a"}}
	s.want(t, v, "first.table", f, false)
	v.Through(&facts{tables: []string{"b"}})
	s.want(t, v, "first.table", f, false)
	s.at = s.at.Add(time.Hour)
	s.want(t, v, "first.table", f, true)
}
