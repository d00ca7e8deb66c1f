package grammar_test

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/grammar"
	"agentd.dev/decoders/sql"
)

// FuzzWorker looks for texts that end a worker, or that cannot be read as what
// is left of them.
func FuzzWorker(f *testing.F) {
	text, err := os.ReadFile("testdata/statements.sql")
	if err != nil {
		f.Fatal(err)
	}
	for statement := range strings.SplitSeq(string(text), "\n\n") {
		f.Add(statement)
	}
	p, err := grammar.Open(slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(p.Close)
	a := sql.NewAnalyzer(nil)
	f.Fuzz(func(t *testing.T, text string) {
		facts := a.Analyze([]byte(text))
		begun := time.Now()
		for _, text := range []string{facts.Skeleton(), text} {
			m := p.Study([]byte(text), text).(*sql.Meaning)
			if m.Unclear == "" && len(m.Statements) == 0 && facts.Statements > 0 && text != "" {
				t.Errorf("%q means nothing at all", text)
			}
		}
		if deaths, late := p.Counts.Deaths.Load(), p.Counts.Timeouts.Load(); deaths > 0 || late > 0 {
			t.Fatalf("%q: %d workers have ended, %d took too long (%v)", text, deaths, late, time.Since(begun))
		}
	})
}
