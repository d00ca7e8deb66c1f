package sql_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// pieces are what random texts are made of.
var pieces = []string{
	"select", " ", "'", "''", "\\", "\\'", "\"", "$a$", "$$", "$1", "e'", "U&'", "u&\"", "b'", "n'", "--", "\n", "\r", "/*", "*/",
	"(", ")", "[", "]", ",", ";", ".", "..", ":", "::", ":=", "+", "-", "*", "/", "?", "?+", "=", "@", "1", "1.5", "0x1f", "_", "a", "E", "é",
	"\x83", "\xb1", "\xff", "\x01", "values", "values (1, 2), (3, 4)", "as", "begin", "atomic", "case", "end", "create function", "update", "t",
	"with", "explain", "for", "insert into", "delete from", "password", "table", "{", "\v", "\x00",
}

func randomText(random *rand.Rand) string {
	var b strings.Builder
	for range random.IntN(30) {
		b.WriteString(pieces[random.IntN(len(pieces))])
		if random.IntN(3) == 0 {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func TestRandomTextsKeepTheProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	read := 0
	for range 50_000 {
		text := randomText(random)
		if checkProperties(t, text) {
			read++
		}
		if t.Failed() {
			break
		}
	}
	if read < 500 {
		t.Errorf("%d texts could be read, want more than 500 to say something", read)
	}
}

// checkProperties checks what holds for every text. It reports whether the
// text could be read.
func checkProperties(t *testing.T, text string) bool {
	t.Helper()
	f := analyze(text)
	if g := analyze(text); !same(f, g) {
		t.Errorf("%q: facts differ the second time: %+v, %+v", text, f, g)
	}
	if f.Normalized == "" {
		return false
	}
	g := analyze(f.Normalized)
	if g.Normalized != f.Normalized {
		t.Errorf("%q normalises to\n%q and that to\n%q", text, f.Normalized, g.Normalized)
	}
	if f.Unclassified == "" && g.Unclassified == "" && (f.Statements != g.Statements || !slices.Equal(f.Verbs, g.Verbs)) {
		t.Errorf("%q has %d statements %q, normalised it has %d %q", text, f.Statements, f.Verbs, g.Statements, g.Verbs)
	}
	// A statement before it and one behind it add two, and change nothing.
	joined := analyze("notify a;" + text + "\n;notify b")
	if f.Unclassified == "" && f.Statements > 0 && joined.Unclassified == "" {
		if joined.Statements != f.Statements+2 {
			t.Errorf("%q has %d statements, between two others %d", text, f.Statements, joined.Statements)
		}
		for _, v := range f.Verbs {
			if !slices.Contains(joined.Verbs, v) {
				t.Errorf("%q loses the verb %q between two others", text, v)
			}
		}
	}
	return true
}

func same(f, g *sql.Facts) bool {
	return f.Statements == g.Statements && slices.Equal(f.Verbs, g.Verbs) && f.Normalized == g.Normalized &&
		f.Unclassified == g.Unclassified && f.Secret == g.Secret && f.Opaque == g.Opaque
}

var seeds = []string{
	"select a from t where b = 'it''s' and c in (1, 2)", `select E'\'' || U&'\0061' || $q$x$q$`,
	"create function f() returns int begin atomic select case when true then 1 end; end; select 2",
	"explain (analyze) with x as (delete from t returning *) select * from x", "select '\\'; drop table t; --'",
	"copy (select 1) to program 'x'", "insert into t values (1, 2), (3, 4)", "select E'\x83\\'; --'",
}

func FuzzAnalyze(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	a := sql.NewAnalyzer([]decoders.ColumnName{{Table: "t", Column: "a"}})
	f.Fuzz(func(t *testing.T, text string) {
		checkProperties(t, text)
		warm := a.Analyze([]byte(text))
		cold := sql.NewAnalyzer([]decoders.ColumnName{{Table: "t", Column: "a"}}).Analyze([]byte(text))
		wt, wc := warm.Mentions()
		ct, cc := cold.Mentions()
		if !same(warm, cold) || wt != ct || wc != cc {
			t.Errorf("%q: from the cache %+v, fresh %+v", text, warm, cold)
		}
	})
}

func FuzzRedact(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	a := sql.NewAnalyzer(nil)
	f.Fuzz(func(t *testing.T, text string) {
		once := a.Redact(nil, []byte(text))
		if bytes.Contains(once, []byte("could not be read")) {
			return
		}
		if twice := a.Redact(nil, once); !bytes.Equal(twice, once) {
			t.Errorf("Redact(%q) = %q, and of that %q", text, once, twice)
		}
		if bytes.ContainsRune(once, '\'') && !bytes.ContainsRune(once, '"') {
			t.Errorf("Redact(%q) = %q has a quote left", text, once)
		}
	})
}

func TestHostileTextsTakeLinearTime(t *testing.T) {
	const size = 256 << 10 // a quadratic step would take hours
	for _, unit := range []string{
		"+", "+-", "@", "'", "''", "'a' ", "'a'\n", "\\", "'\\''", "E'\\' ", "\"", "$a$", "$a$ $b$ ", "$", "/*", "/**/", "--\r", "--\n", "(", "()", "1", "1_", "1.", ".", ";",
		"a.", "a ", "e", "://", ":/", "://:", "w", "passw", "\x83", "\x83\\", "values (1), ", "(1), ", "select ", "with ", "begin atomic ", "case ", "explain (", "u&", "0x",
	} {
		for _, head := range []string{"select ", "select '", "select E'", "select /*", "create function f() begin atomic ", "insert into t values "} {
			text := append([]byte(head), bytes.Repeat([]byte(unit), size/len(unit))...)
			a := sql.NewAnalyzer(nil)
			a.Analyze(text)
			a.Redact(nil, text)
		}
	}
}
