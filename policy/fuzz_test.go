package policy_test

import (
	"os"
	"path/filepath"
	"testing"

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
