package policy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

func TestListsAndMacrosAreKnownInAllFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml": `
lists:
  destructive: [drop, truncate]
  ports: [5432, 6432]
macros:
  harm: sql.verbs.exists(v, v in lists.destructive)
  limited: 'macros.harm && target.port in lists.ports'
`,
		"b.yaml": `
rules:
  - {name: harm, on: request, when: macros.limited, do: deny, message: No.}
  - {name: first, on: request, when: 'sql.verbs[0] in lists.destructive || macros.first_verb == "grant"', do: alert}
macros: {first_verb: 'sql.verbs[0]'}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := policy.Load([]string{dir}, protocols)
	if err != nil {
		t.Fatal(err)
	}
	r := e.For(orders())
	for verb, want := range map[string]string{
		"drop": "deny [first]", "truncate": "deny [first]", "select": "allow []", "grant": "allow [first]",
	} {
		v := r.Decide(request(verbs(verb)))
		if got := fmt.Sprint(v.Outcome, " ", v.Alerts); got != want {
			t.Errorf("%s: got %s, want %s", verb, got, want)
		}
	}
	if unused := e.Unused(); len(unused) != 0 {
		t.Errorf("got %v unused, want none", unused)
	}
}

func TestWhatNoRuleNeedsIsNoMistake(t *testing.T) {
	e := load(t, `
lists: {a: [x], b: [y]}
macros: {m: sql.opaque, n: '"x" in lists.b'}
rules: [{name: r, on: request, when: macros.n, do: deny, message: No.}]
`)
	var got []string
	for _, p := range e.Unused() {
		got = append(got, fmt.Sprint(p.Line, ":", p.Column, " ", p.Message))
	}
	if want := "2:9 list a is used by no rule, 3:10 macro m is used by no rule"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestALongListCostsNothingPerEntry(t *testing.T) {
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("verb%d", i))
	}
	r := load(t, "lists: {known: ["+strings.Join(names, ", ")+"]}\n"+
		"rules: [{name: r, on: request, when: '!sql.verbs.all(v, v in lists.known)', do: deny, message: No.}]").For(orders())
	if v := r.Decide(request(verbs(names[:100]...))); v.Outcome != policy.Forward {
		t.Errorf("known: got %s (%s), want allow", v.Outcome, v.Reason)
	}
	if v := r.Decide(request(verbs("verb5000"))); v.Outcome != policy.Refuse || v.Reason != "No." {
		t.Errorf("unknown: got %s (%s), want deny", v.Outcome, v.Reason)
	}
}

const nights = `
timezone: Europe/Berlin
rules:
  - {name: nights, on: request, when: 'now.hour < 8 || now.hour >= 18', do: deny, message: Not at night.}
  - {name: weekends, on: request, when: 'now.weekday in ["sat", "sun"]', do: deny, message: Not on weekends.}
  - {name: freeze, on: request, when: 'now.date >= "2026-12-20" && now.minute == 30', do: deny, message: Not in the holidays.}
`

func TestRulesCanAskForTheTimeInTheirZone(t *testing.T) {
	e := load(t, nights)
	var now time.Time
	e.Clock(func() time.Time { return now })
	r := e.For(orders())
	ev := request(verbs("select"))
	for _, tt := range []struct{ at, want string }{
		{"2026-03-02T06:59:59Z", "nights"}, // a Monday, 07:59 in Berlin
		{"2026-03-02T07:00:00Z", "default"},
		{"2026-03-02T16:59:00Z", "default"},
		{"2026-03-02T17:00:00Z", "nights"},
		{"2026-03-30T06:00:00Z", "default"}, // in summer, 08:00
		{"2026-03-06T23:30:00Z", "nights"},  // Saturday already, but nights come first
		{"2026-03-07T12:00:00Z", "weekends"},
		{"2026-12-21T09:30:10Z", "freeze"},
		{"2026-12-21T09:31:00Z", "default"},
	} {
		now, _ = time.Parse(time.RFC3339, tt.at)
		for range 2 { // as it is remembered, too
			if v := r.Decide(ev); v.Rule != tt.want {
				t.Errorf("%s: got %q (%s), want %q", tt.at, v.Rule, v.Reason, tt.want)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { r.Decide(ev) }); n != 0 {
		t.Errorf("got %v allocations within a minute, want 0", n)
	}
}

func TestOnlyVerdictsThatDependOnTheTimeAreForgotten(t *testing.T) {
	e := load(t, "rules: [{name: r, on: request, when: 'sql.opaque && now.hour < 8', do: deny, message: No.}]")
	now := time.Unix(0, 0)
	e.Clock(func() time.Time { return now })
	r := e.For(orders())
	plain, opaque := &counting{verbs("select"), 0}, &counting{verbs("select"), 0}
	opaque.m["sql.opaque"] = true
	for range 5 {
		now = now.Add(time.Hour)
		r.Decide(&decoders.Event{Kind: decoders.Request, Facts: plain})
		r.Decide(&decoders.Event{Kind: decoders.Request, Facts: opaque})
	}
	if plain.asked != 1 || opaque.asked != 5 {
		t.Errorf("got %d and %d evaluations, want 1 and 5", plain.asked, opaque.asked)
	}
}

// counting are facts that count how often somebody looked.
type counting struct {
	*facts
	asked int
}

func (c *counting) Field(name string) any { c.asked++; return c.facts.Field(name) }
