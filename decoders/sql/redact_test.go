package sql_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"agentd.dev/decoders/sql"
)

func redact(text string) string { return string(sql.NewAnalyzer(nil).Redact(nil, []byte(text))) }

func TestRedactKeepsEverythingButLiterals(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"SELECT  a,\n\t\"B\" FROM t WHERE c='x' AND d = $1 ;", "SELECT  a,\n\t\"B\" FROM t WHERE c=? AND d = $1 ;"},
		{"select 1/* two */+3 -- four", "select ? +? "},
		{"select 'C:\\'", "select ?"},
		{"select 'it\\'s'", "select ?"},
		{"select '\\'', 2; drop x --'", "[26 bytes that could not be read as SQL]"},
		{"select 'secret", "[14 bytes that could not be read as SQL]"},
		{"selec 'typo'", "selec ?"},
		{`alter role a password "b"; select "b"`, `alter role a password ?; select "b"`},
		{"create user a password b valid until 'c'", "create user a password ? valid until ?"},
		{"alter rol a password b", "alter rol a password ?"},
		{"alter user a identified by b", "alter user a identified by ?"},
		{"create table a (password text)", "create table a (password text)"},
		{"select password from a", "select password from a"},
		{"update a set password = b", "update a set password = b"},
		{"set app.token = b; select a = b", "set app.token = ?; select a = b"},
		{"SET SESSION app.token TO b, \"c\"", "SET SESSION app.token TO ?, ?"},
		{"alter role a set app.token to b", "alter role a set app.token to ?"},
	} {
		if got := strings.TrimRight(redact(tt.text), " "); got != strings.TrimRight(tt.want, " ") {
			t.Errorf("Redact(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestRedactAppends(t *testing.T) {
	a := sql.NewAnalyzer(nil)
	for _, text := range []string{"select 1", "select '", `select '\' x '\'`} {
		got := a.Redact([]byte("before "), []byte(text))
		if !bytes.HasPrefix(got, []byte("before ")) {
			t.Errorf("Redact onto %q gives %q", "before ", got)
		}
	}
}

// forms are all the ways to write a literal that holds the marker, and of
// comments.
var forms = []string{
	"'%s'", "'a''%s'", "'%s'''", "E'%s'", `e'\'%s\''`, `E'\\%s'`, "U&'%s'", `u&'\0041%s'`,
	"N'%s'", "n'x''%s'", "X'%s'", "b'%s'", "B'1'\n'%s'", "'a'\n'%s'", "'a' -- b\n  '%s'", "E'a'\r\n'\\'%s'",
	"$$%s$$", "$a$ $b$ %s $b$ $a$", "$é_1$%s$é_1$", "'C:\\%s'", "'\\%s'", "'é%s'", "'\xff%s'", "E'\x83\\%s'",
	"'%s\\'", "'\\'%s'", "/* %s */ 1", "/* /* ' */ %s */ 2", "-- %s\n 3", "-- '%s\r 4",
	// Broken: the text that follows must not bring it out either.
	"'%s", "E'%s\\'", "$a$%s$b$", "/* %s", "'a' '%s", `"a" '%s`,
}

func TestNoLiteralSurvives(t *testing.T) {
	const marker = "00d15c0"
	for _, around := range []string{
		"%s", "select %s", "select a, %s, b from t where c = %s", "insert into t values (%s, 1), (2, %s)",
		"select f(%s)::text || %s; drop table x; select a.%s", "selec %s", "select -%s+%s", "alter role a password %s",
	} {
		for _, form := range forms {
			text := strings.ReplaceAll(around, "%s", fmt.Sprintf(form, marker))
			if got := redact(text); strings.Contains(got, marker) {
				t.Errorf("Redact(%q) = %q: the literal is still there", text, got)
			}
			if got := analyze(text).Normalized; strings.Contains(got, marker) {
				t.Errorf("%q normalises to %q: the literal is still there", text, got)
			}
		}
	}
}

func TestNoNumberSurvives(t *testing.T) {
	for _, number := range []string{"7321", "7_321", "7321.5", "7321.", ".7321", "1.7321", "7321e5", "1e7321", "1E+7321", "0x7321", "0o7321", "7.321e-7321"} {
		for _, around := range []string{"select %s", "select %s;", "select (%s)", "select -%s", "select a+%s*%s", "select a[%s:%s]", "select %s::int", "select 1..%s"} {
			text := strings.ReplaceAll(around, "%s", number)
			for _, got := range []string{redact(text), analyze(text).Normalized} {
				if strings.Contains(got, "321") {
					t.Errorf("of %q remains %q", text, got)
				}
			}
		}
	}
}

func TestWhatTellsThatALiteralIsASecret(t *testing.T) {
	for text, want := range map[string]bool{
		"select 'x'": false, "select 'the tokens are counted: 17'": false, "select '2026-01-01 12:00:00'": false, "select 'a=b&c=d'": false,
		"select tokens_used, 'x' from usage": false, "select 'secretary'": false, "select 'eyJ'": false, "select max_tokens = 100": false,
		"select set_config('app.api_key', 'x', false)": true, `select '{"api_key": "x"}'`: true, `select '{"TOKEN":"x"}'`: true,
		"select 'https://h/?access_token=x'": true, "select 'Authorization: x'": true, "select 'ghp_0123456789abcdef0123'": true,
		"select 'eyJhbGciOiJIUzI1NiJ9.e30.x'": true, "set app.token = 'x'": true, "set app.api_key = x": true, "select header('Authorization', 'x')": true,
		"set session authorization 'x'": false, "create schema authorization x": false,
		"select umoptions from pg_user_mappings": true, "select 'password'": true,
	} {
		if got := analyze(text).Secret; got != want {
			t.Errorf("%s: secret is %t, want %t", text, got, want)
		}
	}
	if got, want := analyze(`alter role a password "b"`).Normalized, "alter role a password ?"; got != want {
		t.Errorf("it normalises to %q, want %q", got, want)
	}
}
