package suppose_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"agentd.dev/agentd/grammar"
	"agentd.dev/agentd/grammar/walk"
	"agentd.dev/agentd/suppose"
	"agentd.dev/decoders/all"
	"agentd.dev/policy"
)

func TestMain(m *testing.M) {
	if grammar.Main(walk.Read) {
		return
	}
	os.Exit(m.Run())
}

func reader(t testing.TB) *suppose.Reader {
	t.Helper()
	r, err := suppose.NewReader("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// run tries cases, beside a folder of policies, and says what is wrong with them.
func run(t *testing.T, cases string) (wrong []string, n int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cases.yaml")
	if err := os.WriteFile(file, []byte(cases), 0o600); err != nil {
		t.Fatal(err)
	}
	suite, err := suppose.Load(file, all.Protocols)
	if err != nil {
		return []string{err.Error()}, 0
	}
	e, err := policy.Load(suite.Policies, all.Protocols)
	if err != nil {
		t.Fatal(err)
	}
	results := suite.Run(context.Background(), e, reader(t))
	for _, r := range results {
		for _, w := range r.Wrong {
			wrong = append(wrong, r.Case.Name+": "+w)
		}
	}
	return wrong, len(results)
}

func TestTheExampleInTheDocumentationPasses(t *testing.T) {
	page, err := os.ReadFile("../../docs/policy-testing.md")
	if err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.Abs("../../deploy/policies")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(examples) == 0 {
		t.Fatal("docs/policy-testing.md has no example")
	}
	for _, example := range examples {
		wrong, n := run(t, strings.ReplaceAll(example[1], "../policies/", folder+"/"))
		if len(wrong) > 0 || n < 4 {
			t.Errorf("%d cases, wrong: %q", n, wrong)
		}
	}
}

// rules writes a policy and returns the lines that begin a file of cases for it.
func rules(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte("rules:\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("policies: [%s]\n", file)
}

func TestCasesAreDecidedAsAgentdWould(t *testing.T) {
	t.Parallel()
	head := rules(t, `
  - {name: no-secrets, on: request, do: deny, when: '"public.secrets" in sql.tables', message: Secrets stay.}
  - {name: no-ada, on: login, do: deny, when: 'login.user == "ada"', message: Not Ada.}
  - {name: names, on: result, do: mask, columns: [public.customers.name]}
  - {name: data, on: request, do: deny, when: 'workload.labels["team"] == "data" && target.port == 5432', message: Not you.}
`) + "given: {target: {name: orders, default: allow, address: \"10.0.0.1:5432\"}}\ncases:\n"
	wrong, n := run(t, head+`
- {name: a table, given: {sql: select * from secrets}, expect: {verdict: deny, rule: no-secrets, message: stay}}
- {name: another, given: {sql: select * from other.secrets}, expect: {verdict: allow, rule: default}}
- {name: by facts, given: {facts: {sql.tables: [public.secrets]}}, expect: {verdict: deny}}
- {name: facts over text, given: {sql: select * from secrets, facts: {sql.tables: [x.y]}}, expect: {verdict: allow}}
- {name: a login, given: {on: login, login: {user: ada}}, expect: {verdict: deny, rule: no-ada}}
- {name: a login first, given: {login: {user: ada}, sql: select 1}, expect: {verdict: deny, rule: no-ada}}
- {name: replication, given: {on: login, login: {user: bob, replication: true}}, expect: {verdict: deny, rule: default}}
- {name: a result, given: {on: result, columns: [public.customers.id, public.customers.name]}, expect: {verdict: mask, rule: names}}
- {name: a label, given: {workload: {labels: {team: data}}, sql: select 1}, expect: {verdict: deny, rule: data}}
- {name: no sense, given: {sql: selec 1}, expect: {verdict: deny, rule: unclassified}}
`)
	if len(wrong) > 0 || n != 10 {
		t.Errorf("%d cases, wrong: %q", n, wrong)
	}
	wrong, _ = run(t, head+`
- {name: one, given: {sql: select 1}, expect: {verdict: deny, rule: x, message: y}}
`)
	if want := []string{`one: verdict is "allow", want "deny"`, `one: rule is "default", want "x"`, `one: message is "", want "y"`}; !equal(wrong, want) {
		t.Errorf("got %q, want %q", wrong, want)
	}
}

func equal(a, b []string) bool { return strings.Join(a, "\n") == strings.Join(b, "\n") }

func TestFilesOfCasesAreReadStrictly(t *testing.T) {
	t.Parallel()
	head := rules(t, " []\n")
	for _, tt := range []struct{ text, want string }{
		{"cases: [{name: a, given: {sql: x}, expect: {verdict: maybe}}]", "maybe"},
		{"cases: [{name: a, given: {}, expect: {verdict: allow}}]", `"sql", or "facts"`},
		{"cases: [{name: a, given: {sql: x}}]", `"expect" is missing`},
		{"cases: [{name: a, given: {sqll: x}, expect: {verdict: allow}}]", `unknown key "sqll"`},
		{"cases: [{name: a, given: {facts: {sql.verb: [x]}}, expect: {verdict: allow}}]", `no field "sql.verb"`},
		{"cases: [{name: a, given: {login: {usr: x}, sql: x}, expect: {verdict: allow}}]", "login.usr"},
		{"cases: [{name: a, given: {on: result}, expect: {verdict: allow}}]", `"columns"`},
		{"cases: [{name: a, given: {sql: x}, expect: {verdict: allow}}, {name: a, given: {sql: x}, expect: {verdict: allow}}]", "again"},
	} {
		if wrong, _ := run(t, head+tt.text); len(wrong) != 1 || !strings.Contains(wrong[0], tt.want) || !strings.Contains(wrong[0], ":2:") {
			t.Errorf("%s: got %q, want one that says %q, with its place", tt.text, wrong, tt.want)
		}
	}
}

func TestWhatIsAssumedIsSaid(t *testing.T) {
	t.Parallel()
	if got := reader(t).Read("select * from a, b.c, pg_class").Assumed; len(got) != 1 || !strings.Contains(got[0], "where a is") {
		t.Errorf("got %q, want that a is taken as public", got)
	}
	words, err := suppose.NewReader("")
	if err != nil {
		t.Fatal(err)
	}
	if got := words.Read("select 1").Assumed; len(got) != 1 {
		t.Errorf("got %q, want that the grammar was not asked", got)
	}
}

func FuzzCases(f *testing.F) {
	f.Add("policies: [x]\ngiven: {login: {user: a}}\ncases: [{name: a, given: {sql: x, facts: {sql.verbs: [a]}}, expect: {verdict: deny}}]")
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "cases.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		suppose.Load(file, all.Protocols)
	})
}
