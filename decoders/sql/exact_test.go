package sql_test

import (
	"testing"

	"agentd.dev/decoders/sql"
)

func TestExactTellsApartWhatDoesSomethingElse(t *testing.T) {
	a := sql.NewAnalyzer(nil)
	const text = `delete from "Orders" where id = 7 and note = 'a b'; commit`
	want, ok := a.Exact(nil, []byte(text))
	if !ok {
		t.Fatalf("%q cannot be cut", text)
	}
	for _, same := range []string{
		"/* trace='1' */ DELETE\n  FROM \"Orders\" WHERE id=7 AND note='a b';; COMMIT;",
		"delete from \"Orders\" where id = 7 -- why\n and note = 'a b' ;commit ; ",
	} {
		if got, ok := a.Exact(nil, []byte(same)); !ok || string(got) != string(want) {
			t.Errorf("%q differs from %q", same, text)
		}
	}
	for _, other := range []string{
		`delete from "orders" where id = 7 and note = 'a b'; commit`,
		`delete from "Orders" where id = 8 and note = 'a b'; commit`,
		`delete from "Orders" where id = 7.0 and note = 'a b'; commit`,
		`delete from "Orders" where id = 7 and note = 'a  b'; commit`,
		`delete from "Orders" where id = 7 and note = 'A b'; commit`,
		`delete from "Orders" where id = 7 and note = E'a b'; commit`,
		`delete from "Orders" where id = 7 and note = 'a /* */ b'; commit`,
		`delete from "Orders" where id = 7 or note = 'a b'; commit`,
		`delete from "Orders" where id = 7 and note = 'a b' commit`,
		`delete from "Orders" where id = 7; and note = 'a b'; commit`,
		`delete from "Orders" where id = 7 and note = 'a b'`,
		`delete from "Orders" where id = 7, and note = 'a b'; commit`,
	} {
		if got, ok := a.Exact(nil, []byte(other)); ok && string(got) == string(want) {
			t.Errorf("%q is the same as %q", other, text)
		}
	}
	// Tokens cannot run into each other, nor be taken for what tells them apart.
	for _, two := range [][2]string{{"select ab", "select a b"}, {"select 1 2", "select 12"}, {"select 'a' 'b'", "select 'a'' ''b'"}, {"a;b", "a b"}} {
		x, _ := a.Exact(nil, []byte(two[0]))
		y, _ := a.Exact(nil, []byte(two[1]))
		if string(x) == string(y) {
			t.Errorf("%q is the same as %q", two[0], two[1])
		}
	}
	for _, unclear := range []string{`select 'a\' -- '`, `select 'open`, "select 12abc"} {
		if got, ok := a.Exact([]byte("x"), []byte(unclear)); ok || string(got) != "x" {
			t.Errorf("%q: %q, %v; want what was there, and false", unclear, got, ok)
		}
	}
}
