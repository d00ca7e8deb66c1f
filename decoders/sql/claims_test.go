package sql_test

import (
	"fmt"
	"testing"

	"agentd.dev/decoders/sql"
)

func TestClaimsAreReadFromComments(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"select 1 /*task='T-17'*/", "[{task T-17}]"},
		{"/*task='T-17',agent='nightly'*/ select 1", "[{task T-17} {agent nightly}]"},
		{"select 1 /* task = 'x' */;\n", "[]"}, // sqlcommenter has no space before the quote
		{"select 1 /*route='%2Fpolls%201',quote='it\\'s'*/", "[{route /polls 1} {quote it's}]"},
		{"select 1 /*traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',tracestate='x'*/", "[{trace 4bf92f3577b34da6a3ce929d0e0e4736} {tracestate x}]"},
		{"/*task='a'*/ select 1 /*task='b',user='c'*/", "[{task a} {user c}]"},
		{"select 1 /* just a comment */", "[]"},
		{"select 1 /*task='T-17' and more*/", "[]"},
		{"select 1 /*task='T-17", "[]"},
		{"select /*task='T-17'*/ 1", "[]"},
		{"select 1 /*a='%zz',b='c'*/", "[{b c}]"},
		{"*/", "[]"},
		{"/*/", "[]"},
		{"", "[]"},
	} {
		if got := fmt.Sprint(sql.Claims([]byte(tt.text))); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestATextWithoutClaimsCostsNothing(t *testing.T) {
	text := []byte("select abalance from pgbench_accounts where aid = 17 /* no claim */;")
	if got := testing.AllocsPerRun(100, func() { sql.Claims(text) }); got > 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

func FuzzClaims(f *testing.F) {
	f.Add("/*a='b'*/ select 1 /*c='d%20',e='f\\''*/;")
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range sql.Claims([]byte(text)) {
			if c.Key == "" || len(c.Key) > 64 || c.Value == "" || len(c.Value) > 256 {
				t.Errorf("got %q", c)
			}
		}
	})
}
