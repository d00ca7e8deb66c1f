package policy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// Any file loads or is refused with a place; what loads decides without a panic.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		noDrops, masks, "", "rules: []", "rules: [{}]", "rules:\n\t- x", "a: &a [*a]",
		"rules: [{name: a, on: request, do: deny, message: m, when: 'sql.verbs[0] == \"x\"'}]",
		"rules:\n- name: a\n  on: login\n  do: deny\n  message: m\n  when: >\n    login.user\n    == 'x' ||\n\n    usr\n",
		"rules: [{name: a, on: request, do: deny, message: m, when: \"\\u0041 == \\\"\"}]",
		ddl, nights,
		"lists: {a: [x, y], n: [1]}\nmacros: {m: 'sql.verbs.exists(v, v in lists.a)', n: macros.m}\nrules: [{name: a, on: request, do: alert, when: macros.n, mode: shadow}]",
		"macros: {a: macros.b, b: macros.a}", "timezone: Europe/Berlin\nlists: {a: []}",
		"rules: [{name: a, on: request, do: limit, rows: 1, by: session}, {name: b, on: result, do: alert, columns: [users.email]}]",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "rules.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := policy.Load([]string{path}, protocols)
		if err != nil {
			problems, ok := err.(policy.Errors)
			if !ok || len(problems) == 0 {
				t.Fatalf("got %T %v, want Errors", err, err)
			}
			for _, p := range problems {
				if p.Message == "" || p.Line < 0 || p.Line > 0 && p.Column < 1 {
					t.Fatalf("a problem without message or place: %+v", p)
				}
			}
			return
		}
		r := e.For(orders())
		r.Want()
		for _, ev := range []*decoders.Event{
			login("agent"), request(verbs("select")), request(nil),
			{Kind: decoders.Cancel},
			{Kind: decoders.Columns, Columns: []decoders.Column{{Table: "users", Name: "email"}}},
		} {
			if v := r.Decide(ev); v.Outcome != policy.Forward && v.Rule == "" {
				t.Fatalf("refused by nothing: %+v", v)
			}
		}
	})
}

// Any condition compiles or is refused at its place; what compiles comes to the
// same with the index of clues and without.
func FuzzCondition(f *testing.F) {
	for _, seed := range []string{
		`sql.verbs.exists(v, v in lists.l)`, `macros.m || now.hour > 8`, `"a" in sql.verbs && sql.normalized.startsWith("a")`,
		`sql.verbs.all(a, sql.verbs.all(b, a + b != "no"))`, `target.labels["env"] in ["prod"] ? sql.opaque : login.user == "x"`,
		`sql.verbs.map(v, {"k": v})[0].k == "select"`, `usage.minute.rows > 5`, `macros.m && macros.m`, `lists.l[0] == "a"`,
		`sql.normalized.matches("^a(b|c)*$")`, `has(lists.l)`, `claimed.task == ""`,
	} {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "rules.yaml")
	f.Fuzz(func(t *testing.T, condition string) {
		quoted, err := json.Marshal(condition)
		if err != nil || !utf8.ValidString(condition) {
			return
		}
		text := "lists: {l: [a, b]}\nmacros: {m: 'sql.verbs.exists(v, v in lists.l)'}\nrules: [{name: r, on: request, do: deny, message: No., when: " + string(quoted) + "}]"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := policy.Load([]string{path}, protocols)
		if err != nil {
			if _, ok := err.(policy.Errors); !ok {
				t.Fatalf("got %T %v, want Errors", err, err)
			}
			return
		}
		indexed, plain := e.For(orders()), e.For(orders())
		plain.Unindex()
		for _, ev := range []*decoders.Event{
			login("agent"), request(verbs("a")), request(verbs("select", "ab")), request(nil), {Kind: decoders.Prepare, Facts: verbs("b")},
		} {
			got, want := indexed.Decide(ev), plain.Decide(ev)
			if got.Outcome != want.Outcome || got.Rule != want.Rule {
				t.Fatalf("%s: got %s by %s, want %s by %s", condition, got.Outcome, got.Rule, want.Outcome, want.Rule)
			}
		}
	})
}
