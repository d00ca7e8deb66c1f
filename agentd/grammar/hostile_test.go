package grammar_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"agentd.dev/agentd/grammar"
	"agentd.dev/decoders/sql"
)

// within is what a study may take: three seconds for a worker and three for its
// answer.
const within = 7 * time.Second

var hostile = []struct{ name, text string }{
	{"a sum", "select 1" + strings.Repeat("+1", 50_000)},
	{"a sum of columns", "select a" + strings.Repeat("+a", 50_000)},
	{"parentheses", "select " + strings.Repeat("(", 50_000) + "1" + strings.Repeat(")", 50_000)},
	{"parentheses as deep as the lexer lets them", "select " + strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000)},
	{"CASE", "select " + strings.Repeat("case when a then ", 5_000) + "1" + strings.Repeat(" end", 5_000)},
	{"subselects", strings.Repeat("select (", 900) + "select 1" + strings.Repeat(")", 900)},
	{"subselects in FROM", "select * from " + strings.Repeat("(select * from ", 900) + "t" + strings.Repeat(") a", 900)},
	{"CTEs", "with " + list(10_000, "c%[1]d as (select a%[1]d from t)") + " select 1"},
	{"CTEs within CTEs", strings.Repeat("with a as (", 900) + "select 1" + strings.Repeat(") select 1", 900)},
	{"a long name", `select "` + strings.Repeat("é", 500_000) + `"`},
	{"a name as long as it may be", `select "` + strings.Repeat("é", 100_000) + `"`},
	{"a name cut in the middle of a character", `select "a` + strings.Repeat("é", 60) + `", ` + strings.Repeat("é", 63) + "a"},
	{"NUL", "select '\x00'"},
	{"NUL in a name", "select \"\x00\""},
	{"not UTF-8", "select \"\xff\xfe\", \xff"},
	{"a list of numbers", "select * from t where a in (" + list(100_000, "%d") + ")"},
	{"a list of names", "select * from t where a in (" + list(20_000, "a%d") + ")"},
	{"unions", "select 1" + strings.Repeat(" union select 1", 100_000)},
	{"a few unions", "select 1" + strings.Repeat(" union select 1", 900)},
	{"joins", "select * from a" + strings.Repeat(" join b on true", 10_000)},
	{"casts", "select a" + strings.Repeat("::int", 40_000)},
	{"NOT", "select " + strings.Repeat("not ", 50_000) + "true"},
	{"signs", "select " + strings.Repeat("- ", 50_000) + "1"},
	{"OR", "select * from t where a = 1" + strings.Repeat(" or a = 1", 20_000)},
	{"subscripts", "select a" + strings.Repeat("[a]", 40_000)},
	{"fields", "select a" + strings.Repeat(".b", 60_000)},
	{"statements", strings.Repeat("select a from t;", 15_000)},
	{"tables", "select " + list(2_000, "a%d") + " from " + list(2_000, "t%d")},
	{"IS", "select a" + strings.Repeat(" is null", 10_000)},
	{"COLLATE", "select a" + strings.Repeat(" collate c", 10_000)},
	{"EXPLAIN", strings.Repeat("explain ", 20_000) + "select 1"},
	{"PREPARE", strings.Repeat("prepare a as ", 10_000) + "select 1"},
	{"functions", "select " + strings.Repeat("f(", 1000) + "1" + strings.Repeat(")", 1000)},
	{"arrays", "select array" + strings.Repeat("[", 10_000) + "1" + strings.Repeat("]", 10_000)},
	{"values", "insert into t values " + list(20_000, "(a, %d)")},
	{"a type", "select 1::" + strings.Repeat("setof ", 10_000) + "int"},
	{"a type of arrays", "select 1::int" + strings.Repeat("[]", 40_000)},
}

// list joins count times what form makes of numbers.
func list(count int, form string) string {
	parts := make([]string, count)
	for i := range parts {
		parts[i] = fmt.Sprintf(form, i)
	}
	return strings.Join(parts, ", ")
}

func TestHostileTextsComeToSomethingAndHarmNoOther(t *testing.T) {
	p := open(t)
	for i, tt := range hostile {
		f := sql.NewAnalyzer(nil).Analyze([]byte(tt.text))
		begun := time.Now()
		// As it would be studied if it were its own skeleton, too.
		for _, text := range []string{f.Skeleton(), tt.text} {
			m, ok := p.Study(fmt.Appendf(nil, "%s %d", tt.name, len(text)), text).(*sql.Meaning)
			took := time.Since(begun).Round(time.Millisecond)
			if !ok || m.Unclear == "" && len(m.Statements) == 0 && text != "" {
				t.Errorf("%s: it means %+v", tt.name, m)
			}
			if took > within {
				t.Errorf("%s: it took %v, want no more than %v", tt.name, took, within)
			}
			t.Logf("%s: %d bytes, %v: %d statements, %q", tt.name, len(text), took, len(m.Statements), m.Unclear)
		}
		if m := study(p, fmt.Sprintf("select a%d from t", i)); m.Unclear != "" {
			t.Fatalf("%s: another statement is %q after it", tt.name, m.Unclear)
		}
	}
	t.Logf("%d studies, %d time-outs, %d deaths, %d retired", p.Counts.Studies.Load(), p.Counts.Timeouts.Load(), p.Counts.Deaths.Load(), p.Counts.Retired.Load())
}

func TestATextThatHarmsAWorkerIsNotStudiedAgain(t *testing.T) {
	for _, tt := range []struct {
		name, text, unclear string
		count               func(*grammar.Counts) int64
	}{
		{"crashes", crashes, "could not cope", func(c *grammar.Counts) int64 { return c.Deaths.Load() }},
		{"hangs", hangs, "too long", func(c *grammar.Counts) int64 { return c.Timeouts.Load() }},
		{"takes all memory", grows, "could not cope", func(c *grammar.Counts) int64 { return c.Deaths.Load() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := open(t)
			for range 5 {
				if m := study(p, tt.text); !strings.Contains(m.Unclear, tt.unclear) {
					t.Errorf("it means %+v, want unclear: %s", m, tt.unclear)
				}
			}
			if got := tt.count(&p.Counts); got != 1 {
				t.Errorf("it cost %d workers, want 1", got)
			}
			if m := study(p, "select a from t"); m.Unclear != "" {
				t.Errorf("another statement is %q after it", m.Unclear)
			}
		})
	}
}

func TestAWorkerThatHasGrownIsReplaced(t *testing.T) {
	p := open(t)
	for i := range 20 { // by turns: 320 MB of each
		study(p, fmt.Sprintf("%s%d", swells, i))
	}
	for i := range 200 {
		if m := study(p, fmt.Sprintf("select a%d from t", i)); m.Unclear != "" {
			t.Errorf("statement %d: %q", i, m.Unclear)
		}
	}
	if got := p.Counts.Retired.Load(); got == 0 {
		t.Error("no worker was replaced")
	}
}

func TestABugInTheWalkHarmsNoWorker(t *testing.T) {
	p := open(t)
	for _, tt := range []struct{ text, unclear string }{
		{panics, "could not be walked"},
		{floods, "too much to be said"},
	} {
		if m := study(p, tt.text); !strings.Contains(m.Unclear, tt.unclear) {
			t.Errorf("%s means %.100v, want unclear: %s", tt.text, m, tt.unclear)
		}
	}
	if got := p.Counts.Deaths.Load(); got != 0 {
		t.Errorf("%d workers have ended, want none", got)
	}
}

func TestAWorkerThatIsTakenOverCanDoNothing(t *testing.T) {
	p := open(t)
	if m := study(p, calls); m.Unclear != "" || len(m.Statements) > 0 {
		t.Errorf("it could %s (%v)", m.Unclear, m.Statements)
	}
	if got := p.Counts.Deaths.Load(); got != 0 {
		t.Errorf("%d workers have ended, want none", got)
	}
}

func TestAWorkerThatIsKilledCostsNoStatement(t *testing.T) {
	p := open(t)
	for i := range 20 {
		pids := children(t)
		var studies sync.WaitGroup
		for j := range 20 {
			studies.Go(func() {
				if m := study(p, fmt.Sprintf("select a%d, b%d from t", i, j)); m.Unclear != "" {
					t.Errorf("statement %d of round %d: %q", j, i, m.Unclear)
				}
			})
		}
		if len(pids) > 0 {
			_ = syscall.Kill(pids[0], syscall.SIGKILL) // in the midst of one, or before, or while it starts
		}
		studies.Wait()
	}
	if p.Counts.Deaths.Load() == 0 {
		t.Error("no worker was killed")
	}
}

func TestAWorkerThatHangsIsReplacedInTime(t *testing.T) {
	p := open(t)
	for _, pid := range children(t) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	const hung = 2
	var studies sync.WaitGroup
	var unclear atomic.Int64
	for i := range 20 {
		studies.Go(func() {
			begun := time.Now()
			m := study(p, fmt.Sprintf("select a%d from t", i))
			if took := time.Since(begun); took > within {
				t.Errorf("statement %d took %v", i, took)
			}
			if m.Unclear != "" {
				unclear.Add(1)
			}
		})
	}
	studies.Wait()
	if got := unclear.Load(); got != hung {
		t.Errorf("%d statements came to nothing, want %d", got, hung)
	}
	if got := p.Counts.Timeouts.Load(); got != hung {
		t.Errorf("%d workers took too long, want %d", got, hung)
	}
	if m := study(p, "select b from t"); m.Unclear != "" {
		t.Errorf("after that a statement is %q", m.Unclear)
	}
}

func TestOneStudyServesAllWhoAskForIt(t *testing.T) {
	p := open(t)
	var studies sync.WaitGroup
	for range 50 {
		studies.Go(func() { study(p, "select a from t") })
	}
	studies.Wait()
	if got := p.Counts.Studies.Load(); got != 1 {
		t.Errorf("a worker was asked %d times, want once", got)
	}
}
