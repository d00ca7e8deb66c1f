package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// What is not understood, not known or not expected is refused.

func TestUnclassifiedIsRefusedUnlessTheTargetAllowsIt(t *testing.T) {
	e := load(t, noDrops)
	strange := &decoders.Event{Kind: decoders.Request, Facts: verbs("select"), Unclassified: "it makes no sense"}
	session := orders()

	v := e.For(session).Decide(strange)
	if got, want := v.Outcome.String()+" "+v.Rule, "deny unclassified"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, want := range []string{"request", "it makes no sense"} {
		if !strings.Contains(v.Reason, want) {
			t.Errorf("got reason %q, want %q in it", v.Reason, want)
		}
	}
	if !strings.Contains(v.Hint, `"orders-db"`) {
		t.Errorf("got hint %q, want the target in it", v.Hint)
	}

	session.Target.Unclassified = policy.Allowing
	if v := e.For(session).Decide(strange); v.Outcome != policy.Forward {
		t.Errorf("allowed: got %s (%s), want allow", v.Outcome, v.Reason)
	}
	drop := *strange
	drop.Facts = verbs("drop")
	if v := e.For(session).Decide(&drop); v.Rule != "no-drops" {
		t.Errorf("allowed, but a rule refuses: got %q, want no-drops", v.Rule)
	}
	drop.Facts = nil
	if v := e.For(session).Decide(&drop); v.Rule != "no-drops" || !strings.Contains(v.Reason, "sql.verbs is not known") {
		t.Errorf("without facts: got %q (%s), want no-drops", v.Rule, v.Reason)
	}
	session.Target.Default = policy.Refusing
	if v := e.For(session).Decide(strange); v.Rule != "default" || v.Outcome != policy.Refuse {
		t.Errorf("allowed, but nothing else is: got %s by %q, want deny by default", v.Outcome, v.Rule)
	}
}

func TestWhatCannotBeJudgedIsRefused(t *testing.T) {
	e := load(t, noDrops)
	unknown := orders()
	unknown.Target.Protocol, unknown.Target.Unclassified = "gopher", policy.Allowing
	for _, tt := range []struct {
		name  string
		rules *policy.Rules
		ev    *decoders.Event
	}{
		{"zero rules", new(policy.Rules), request(verbs("select"))},
		{"unknown protocol", e.For(unknown), request(verbs("select"))},
		{"unknown protocol, login", e.For(unknown), login("agent")},
		{"no kind", e.For(orders()), &decoders.Event{}},
		{"two kinds", e.For(orders()), &decoders.Event{Kind: decoders.Request | decoders.Login}},
		{"outcome", e.For(orders()), &decoders.Event{Kind: decoders.Outcome}},
		{"own", e.For(orders()), &decoders.Event{Kind: decoders.Own}},
		{"later kind", e.For(orders()), &decoders.Event{Kind: 1 << 15}},
	} {
		v := tt.rules.Decide(tt.ev)
		if v.Outcome != policy.Refuse || v.Rule == "" || v.Reason == "" || v.Hint == "" {
			t.Errorf("%s: got %+v, want a refusal that explains itself", tt.name, v)
		}
	}
	// An unknown protocol's own word for itself is an unclassified request.
	opaque := &decoders.Event{Kind: decoders.Request, Unclassified: "no known protocol"}
	if v := e.For(unknown).Decide(opaque); v.Outcome != policy.Forward {
		t.Errorf("observed: got %s (%s), want allow", v.Outcome, v.Reason)
	}
}

func TestAConditionThatCannotBeEvaluatedRestricts(t *testing.T) {
	const rules = `
rules:
  - {name: broken-%[1]s, on: request, do: %[1]s, when: '%[2]s', message: Because.}
`
	for _, tt := range []struct{ do, when, want, why string }{
		{"deny", `sql.verbs[1] == "x"`, "deny broken-deny", "index out of bounds"},
		{"allow", `sql.verbs[1] == "x"`, "deny default", ""},
		{"deny", `target.port / (target.port - 5432) == 1`, "deny broken-deny", "division by zero"},
		{"allow", `target.port / (target.port - 5432) == 1`, "deny default", ""},
		{"deny", `login.user == "x"`, "deny broken-deny", "login.user is not known"},
		{"deny", `sql.verbs[1] == "x" && target.name == "other"`, "deny default", ""},
		{"allow", `sql.verbs[1] == "x" || target.port == 5432`, "allow broken-allow", ""},
		{"deny", `sql.verbs.all(a, sql.verbs.all(b, a + b != "no"))`, "deny broken-deny", "cost limit exceeded"},
		{"deny", `sql.normalized.matches("y")`, "deny broken-deny", "longer than"},
	} {
		session := orders()
		session.Target.Default = policy.Refusing
		ev := request(verbs("select"))
		if tt.why == "cost limit exceeded" {
			many := make([]string, 200)
			for i := range many {
				many[i] = "v"
			}
			ev = request(verbs(many...))
		}
		if tt.why == "longer than" {
			ev = request(verbs(strings.Repeat("x", 1<<20)))
		}
		v := load(t, fmt.Sprintf(rules, tt.do, tt.when)).For(session).Decide(ev)
		if got := v.Outcome.String() + " " + v.Rule; got != tt.want || !strings.Contains(v.Reason, tt.why) {
			t.Errorf("%s when %s: got %s (%s), want %s (%s)", tt.do, tt.when, got, v.Reason, tt.want, tt.why)
		}
	}
}
