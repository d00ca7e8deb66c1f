package grammar_test

import (
	"io"
	"log/slog"
	"os"
	"testing"

	"agentd.dev/agentd/grammar"
	"agentd.dev/agentd/grammar/walk"
	"agentd.dev/decoders/sql"
)

func TestMain(m *testing.M) {
	if grammar.Main(walk.Read) {
		return
	}
	os.Exit(m.Run())
}

func open(t testing.TB) *grammar.Pool {
	t.Helper()
	p, err := grammar.Open(slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func study(p *grammar.Pool, text string) *sql.Meaning {
	f := sql.NewAnalyzer(nil).Analyze([]byte(text))
	return p.Study(f.Key, f.Skeleton()).(*sql.Meaning)
}

func TestAStatementIsStudiedOnceAndKnownThen(t *testing.T) {
	p := open(t)
	key := sql.NewAnalyzer(nil).Analyze([]byte("select a from t where b = 'x'")).Key
	if _, ok := p.Known(key); ok {
		t.Error("it is known before it was studied")
	}
	m := study(p, "select a from t where b = 'x'")
	if m.Unclear != "" || len(m.Statements) != 1 || m.Statements[0].Kind != "SelectStmt" {
		t.Errorf("it means %+v, want a SelectStmt", m)
	}
	got, ok := p.Known(key)
	if !ok || got != any(m) {
		t.Errorf("then it is known to mean %v, want %v", got, m)
	}
}
