package postgres_test

import (
	"encoding/binary"
	"testing"

	"agentd.dev/decoders/sql"
)

// The table of functions says what a real server says of them, or worse.
func TestBuiltinFunctionsAreAsTheServerHasThem(t *testing.T) {
	c := dial(t, serverAddr(t), "postgres")
	names := 0
	for _, r := range c.run("select proname, max(strpos('isv', provolatile::text)) from pg_catalog.pg_proc where pronamespace = 'pg_catalog'::regnamespace group by 1") {
		if r.typ != 'D' {
			continue
		}
		names++
		name, worst := value(r.body, 0), sql.Volatility(value(r.body, 1)[0]-'1')
		if got, ok := sql.Builtin(name); !ok || got < worst {
			t.Errorf("%s: got %d, %v, want %d at least", name, got, ok, worst)
		}
	}
	if names < 2000 {
		t.Errorf("the server has %d functions, want more", names)
	}
	for _, name := range []string{"my_function", "", "dblink", "Lower"} {
		if v, ok := sql.Builtin(name); ok || v != sql.Volatile {
			t.Errorf("%q: got %d, %v, want it unknown and volatile", name, v, ok)
		}
	}
}

// value returns column i of a DataRow.
func value(body []byte, i int) string {
	body = body[2:]
	for {
		n := max(0, int(int32(binary.BigEndian.Uint32(body))))
		if i == 0 {
			return string(body[4 : 4+n])
		}
		body, i = body[4+n:], i-1
	}
}
