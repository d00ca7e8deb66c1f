package sql_test

import (
	"bytes"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

func TestASkeletonHasShortLiteralsOfTheSameKinds(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"SELECT 'it''s', E'\\'', $q$x$q$, U&'d\\0061t' FROM t -- bye", "select '', '', '', '' from t"},
		{"select b'101', X'1f', n'x', 1.5e3, -7, .5", "select B'', X'', N'', 1, - 1, 1"},
		{"select 'a'\n  'b'", "select ''"},
		{"select 'a' 'b'", "select '' ''"},
		{"select interval '1' year, int4 '5', 1::numeric(10, 2)", "select interval '' year, int4 '', 1::numeric(1, 1)"},
		{"select U&'a!0061' UESCAPE '!' uescape", "select '' uescape"},
		{"select 1 in (U&'a' uescape '!', 'b'), (1, U&'a' uescape '!', 2)", "select 1 in ('', ''), (1, 1, 1)"},
		{"select a from t where b in (1, 2, 3, 4) and c in ('x', 5) and d in (6)", "select a from t where b in (1, 1) and c in ('', '') and d in (1)"},
		{"insert into t values (1, 'a', 2), (2, 'b', 3), ('c', 4)", "insert into t values (1, 1)"},
		{"insert into t values ('a'), (1)", "insert into t values ('')"},
		{"fetch -5 from c; select $1, $2 limit 10", "fetch - 1 from c; select $1, $2 limit 1"},
		{`select "a""b", U&"d\0061t", "password"`, `select "a""b", u&"d\0061t", "password"`},
		{"select x'1', x '1', x . y, a[1:2], f(a=>1)", "select X'', x '', x.y, a[1 : 1], f(a => 1)"},
		{";; select 1;; -- nothing", "select 1"},
		{"-- nothing", ""},
	} {
		if got := analyze(tt.text).Skeleton(); got != tt.want {
			t.Errorf("%s\ngot  %s\nwant %s", tt.text, got, tt.want)
		}
	}
}

func TestTextsWithoutAKeyHaveNoSkeleton(t *testing.T) {
	for _, text := range []string{
		"select 'a", "select \x00", "select 1a",
		`select U&"d!0061t" UESCAPE '!'`,  // the name follows from a literal
		"select '\\' -- ', a\n, b from t", // one column more, if backslashes escape
	} {
		if f := analyze(text); len(f.Key) > 0 || f.Skeleton() != "" {
			t.Errorf("%s: key %q, skeleton %q, want none", text, f.Key, f.Skeleton())
		}
	}
}

func TestReadingsThatComeToOneSkeletonHaveAKey(t *testing.T) {
	for _, text := range []string{
		`select a from t where b = 'c:\'`,            // otherwise it does not end
		`select a from t where b = 'x\' and c = 'y'`, // otherwise a string runs into a name
	} {
		if f := analyze(text); len(f.Key) == 0 {
			t.Errorf("%s: it has no key (%s)", text, f.Unclassified)
		}
	}
}

func TestAnalyzersAgreeOnKeys(t *testing.T) {
	a := analyze("select 'x' from t where a in (1, 2)")
	b := analyze("SELECT 'y' FROM t WHERE a IN (3,4,5);")
	if !bytes.Equal(a.Key, b.Key) || a.Skeleton() != b.Skeleton() {
		t.Errorf("%q and %q have keys %q and %q", a.Skeleton(), b.Skeleton(), a.Key, b.Key)
	}
	if c := analyze("select 1 from t where a in (1, 2)"); bytes.Equal(a.Key, c.Key) {
		t.Errorf("a number has the key of a string: %q", c.Key)
	}
}

// skeletons remembers one for each key.
type skeletons map[string]string

// names are what of a skeleton may hold quotes and digits that are no literal.
var names = regexp.MustCompile(`"(?:[^"]|"")*"|[A-Za-z_\x{80}-\x{10ffff}][A-Za-z0-9_$\x{80}-\x{10ffff}]*|\$\d+`)

// check checks what holds for the skeletons of all texts. It reports whether
// text has one.
func (s skeletons) check(t *testing.T, text string) bool {
	t.Helper()
	f := analyze(text)
	got := f.Skeleton()
	if len(f.Key) == 0 {
		if got != "" {
			t.Errorf("%q has no key and the skeleton %q", text, got)
		}
		return false
	}
	if have, ok := s[string(f.Key)]; ok && have != got {
		t.Errorf("%q has the skeleton %q, another text of its key %q", text, got, have)
	}
	s[string(f.Key)] = got
	rest := strings.ReplaceAll(names.ReplaceAllString(got, " "), "''", " ")
	if strings.ContainsAny(rest, "'023456789") || strings.Contains(rest, "11") {
		t.Errorf("%q has the skeleton %q, with something of a literal in it", text, got)
	}
	if again := analyze(got); again.Skeleton() != got || again.Normalized != f.Normalized && !strings.Contains(f.Normalized, "uescape") {
		t.Errorf("%q has the skeleton\n%q, and that\n%q; normalised they are\n%q and\n%q", text, got, again.Skeleton(), f.Normalized, again.Normalized)
	}
	return true
}

func TestRandomTextsHaveSoundSkeletons(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	s := skeletons{}
	had := 0
	for range 50_000 {
		if s.check(t, randomText(random)) {
			had++
		}
		if t.Failed() {
			break
		}
	}
	if had < 500 {
		t.Errorf("%d texts have a skeleton, want more than 500 to say something", had)
	}
}

func FuzzSkeleton(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Add(`select U&'a' uescape '!', U&"b", (1, N'x', b'1'), $1, x '5'`)
	s := skeletons{}
	f.Fuzz(func(t *testing.T, text string) { s.check(t, text) })
}
