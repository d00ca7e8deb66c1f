package policy_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

const ddl = `
rules:
  - {name: ddl, on: request, when: '"alter" in sql.verbs', do: approve, message: Schemas have owners., hint: Ask the owners.,
     need: 2, by: [dba, 'user:alice'], for: 15m, expires: 1h, inTransaction: hold}
  - {name: no-drops, on: request, when: '"drop" in sql.verbs', do: deny, message: Never.}
  - {name: reads, on: request, when: '"select" in sql.verbs || "alter" in sql.verbs', do: allow}
`

func prepare(f decoders.Facts) *decoders.Event {
	return &decoders.Event{Kind: decoders.Prepare, Facts: f}
}

func TestApproveHoldsARequestUnlessSomethingStricterDecides(t *testing.T) {
	session := orders()
	session.Target.Default = policy.Refusing
	r := load(t, ddl).For(session)
	for _, tt := range []struct {
		ev   *decoders.Event
		want string
	}{
		{request(verbs("alter")), "hold ddl"}, // though an allow matches, too
		{prepare(verbs("alter")), "allow ddl"},
		{request(verbs("alter", "drop")), "deny no-drops"},
		{prepare(verbs("alter", "drop")), "deny no-drops"},
		{request(verbs("select")), "allow reads"},
		{request(verbs("insert")), "deny default"},
		{login("agent"), "allow default"},
	} {
		v := r.Decide(tt.ev)
		if got := v.Outcome.String() + " " + v.Rule; got != tt.want {
			t.Errorf("%s %v: got %s, want %s (%s)", tt.ev.Kind, tt.ev.Facts.Field("sql.verbs"), got, tt.want, v.Reason)
		}
		if (v.Terms != nil) != (v.Outcome == policy.Hold) {
			t.Errorf("%s: got terms %+v", tt.want, v.Terms)
		}
	}
	v := r.Decide(request(verbs("alter")))
	want := policy.Terms{
		Rule: "ddl", Message: "Schemas have owners.", Need: 2, By: []string{"dba", "user:alice"},
		For: 15 * time.Minute, Expires: time.Hour, Open: true,
	}
	if !reflect.DeepEqual(*v.Terms, want) || v.Reason != "Schemas have owners." || v.Hint != "Ask the owners." {
		t.Errorf("got %+v, %q, %q, want %+v", *v.Terms, v.Reason, v.Hint, want)
	}
}

func TestTermsThatARuleDoesNotGiveAreTheStrictOnes(t *testing.T) {
	r := load(t, "rules: [{name: all, on: request, do: approve}]").For(orders())
	v := r.Decide(request(verbs("select")))
	want := policy.Terms{Rule: "all", Need: 1, Expires: 5 * time.Minute}
	if v.Terms == nil || !reflect.DeepEqual(*v.Terms, want) || v.Reason == "" {
		t.Errorf("got %+v, want %+v and a reason", v, want)
	}
}

func TestWhatSeveralRulesHoldNeedsWhatAllOfThemWant(t *testing.T) {
	const two = `
rules:
  - {name: a, on: request, do: approve, message: First., by: [dba, security], for: 1h, expires: 10m, inTransaction: hold}
  - {name: b, on: request, do: approve, message: Second., by: [security, owners], need: 3, expires: 1m}
`
	v := load(t, two).For(orders()).Decide(request(verbs("select")))
	want := policy.Terms{Rule: "a", Message: "First. Second.", Need: 3, By: []string{"security"}, Expires: time.Minute}
	if v.Terms == nil || !reflect.DeepEqual(*v.Terms, want) {
		t.Errorf("got %+v, want %+v", v, want)
	}
	v = load(t, strings.Replace(two, "security, owners", "owners", 1)).For(orders()).Decide(request(verbs("select")))
	if v.Outcome != policy.Refuse || !strings.Contains(v.Reason, "a, b") {
		t.Errorf("nobody is in both: got %s (%s), want a refusal that names the rules", v.Outcome, v.Reason)
	}
}

func TestAnApproveThatCannotBeEvaluatedApplies(t *testing.T) {
	r := load(t, `rules: [{name: a, on: request, do: approve, message: Why., when: 'sql.verbs[1] == "x"'}]`).For(orders())
	v := r.Decide(request(verbs("select")))
	if v.Outcome != policy.Hold || !strings.Contains(v.Terms.Message, "index out of bounds") {
		t.Errorf("got %+v, want it held, and why", v)
	}
}

func TestMasksAndLimitsHoldForWhatIsApproved(t *testing.T) {
	const rules = `
rules:
  - {name: all, on: request, do: approve}
  - {name: few, on: request, do: limit, rows: 10}
  - {name: once, on: request, do: limit, statements: 1, by: session}
  - {name: mail, on: result, do: mask, columns: [users.email]}
`
	r := load(t, rules).For(orders())
	email := []decoders.Exposure{{Risk: decoders.Carries, What: "copies", Columns: []decoders.Column{{Table: "users", Name: "email"}}}}
	if v := r.Decide(&decoders.Event{Kind: decoders.Request, Facts: verbs("select"), Exposures: email}); v.Rule != "mail" || v.Outcome != policy.Refuse {
		t.Errorf("exposed: got %s by %s, want deny by mail", v.Outcome, v.Rule)
	}
	ev := request(verbs("select"))
	for range 3 { // being held uses nothing up
		if v := r.Decide(ev); v.Outcome != policy.Hold || v.Limits != nil {
			t.Fatalf("got %+v, want it held", v)
		}
	}
	v := r.Approved(ev)
	if v.Outcome != policy.Forward || v.Rule != "all" || v.Limits == nil || v.Limits.Rows.Max != 10 || v.Terms != nil {
		t.Errorf("approved: got %+v, want it let through with its limits", v)
	}
	if v := r.Decide(ev); v.Outcome != policy.Refuse || v.Rule != "once" {
		t.Errorf("used up: got %s by %s, want deny by once", v.Outcome, v.Rule)
	}
	if v := r.Approved(ev); v.Outcome != policy.Refuse || v.Rule != "once" {
		t.Errorf("used up while it was held: got %s by %s, want deny by once", v.Outcome, v.Rule)
	}
}

func TestWhatIsNotUnderstoodCanWaitForAPerson(t *testing.T) {
	session := orders()
	session.Target.Unclassified = policy.Asking
	strange := func(kind decoders.Kinds, f decoders.Facts, why string) *decoders.Event {
		return &decoders.Event{Kind: kind, Facts: f, Unclassified: why}
	}
	for _, tt := range []struct {
		name, rules string
		fall        policy.Default
		ev          *decoders.Event
		want        string
	}{
		{"held", "[]", policy.Allowing, strange(decoders.Request, verbs("x"), "odd"), "hold unclassified"},
		{"held where nothing else is let through", "[]", policy.Refusing, strange(decoders.Request, nil, "odd"), "hold unclassified"},
		{"prepared", "[]", policy.Refusing, strange(decoders.Prepare, nil, "odd"), "allow unclassified"},
		{"nobody is asked about a login", "[]", policy.Allowing, strange(decoders.Login, nil, "odd"), "deny unclassified"},
		{"denied", "[{name: no, on: request, do: deny, message: No.}]", policy.Allowing, strange(decoders.Request, nil, "odd"), "deny no"},
		{"understood", "[]", policy.Allowing, request(verbs("x")), "allow default"},
		{"terms of a rule", "[{name: all, on: request, do: approve, by: [dba]}]", policy.Allowing, strange(decoders.Request, verbs("x"), "odd"), "hold all"},
	} {
		session.Target.Default = tt.fall
		v := load(t, "rules: "+tt.rules).For(session).Decide(tt.ev)
		if got := v.Outcome.String() + " " + v.Rule; got != tt.want {
			t.Errorf("%s: got %s (%s), want %s", tt.name, got, v.Reason, tt.want)
		}
	}
	r := load(t, "rules: []").For(session)
	f := verbs("x")
	for _, tt := range []struct {
		ev   *decoders.Event
		want string
	}{
		{request(f), ""},
		{strange(decoders.Request, f, "odd"), "This request was not understood: odd."},
		{request(f), ""}, // of the same facts
		{strange(decoders.Request, nil, "one"), "This request was not understood: one."},
		{strange(decoders.Request, nil, "other"), "This request was not understood: other."},
	} {
		got := ""
		if v := r.Decide(tt.ev); v.Terms != nil {
			got = v.Terms.Message
		}
		if got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestARepeatedStatementTakesNoMemory(t *testing.T) {
	var rules strings.Builder
	rules.WriteString("rules:\n")
	for _, r := range []string{
		"do: approve, by: [dba], when: 'sql.opaque'",
		"do: deny, message: No., mode: shadow", "do: approve, mode: shadow", "do: allow, mode: shadow",
		"do: limit, rows: 5, mode: shadow", "do: alert", "do: alert, mode: shadow",
	} {
		fmt.Fprintf(&rules, "  - {name: r%d, on: request, %s}\n", rules.Len(), r)
	}
	r := load(t, rules.String()).For(orders())
	ev := request(verbs("select"))
	if v := r.Decide(ev); len(v.Shadows) != 3 || len(v.Alerts) != 1 {
		t.Errorf("got %+v, want 3 shadows and an alert", v)
	}
	if n := testing.AllocsPerRun(100, func() { r.Decide(ev) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}
