package policy_test

import (
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

func TestRulesGoByWhatIsClaimed(t *testing.T) {
	e := load(t, `
rules:
  - {name: say-why, on: request, do: deny, when: 'claimed.task == ""', message: Say on what you work.}
  - {name: not-this, on: request, do: deny, when: 'claimed["task"] == "evil"', message: No.}
  - {name: traced, on: request, do: deny, when: 'claimed.trace == "t"', message: No.}
`)
	s := orders()
	rules := e.For(s)
	f := verbs("select") // the same facts throughout: verdicts must not be remembered across claims
	say := func(claims ...decoders.Claim) string {
		ev := request(f)
		ev.Claims = claims
		return rules.Decide(ev).Rule
	}
	task := func(v string) decoders.Claim { return decoders.Claim{Key: "task", Value: v} }
	check := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	rules.Decide(login("ada"))
	check("nothing", say(), "say-why")
	check("a task", say(task("T-17")), "default")
	check("nothing again", say(), "say-why")
	check("another task", say(task("evil")), "not-this")
	check("a task again", say(task("T-17")), "default")

	s.Identity.Claims = map[string]string{"task": "T-1"}
	rules = e.For(s)
	in := login("ada")
	in.Claims = []decoders.Claim{{Key: "trace", Value: "t"}}
	rules.Decide(in)
	check("the session's", say(), "traced")
	check("the statement's before the session's", say(decoders.Claim{Key: "trace", Value: "u"}), "default")
	check("after a reload", e.Renew(s, rules).Decide(request(f)).Rule, "traced")
}

func TestAClaimLetsNothingThrough(t *testing.T) {
	for _, rule := range []string{
		`{name: x, on: request, do: allow, when: 'claimed.task == "T-17"'}`,
		`{name: x, on: login, do: assume, credential: c, when: 'claimed.task == "T-17"'}`,
		`{name: x, on: request, do: allow, when: '"T" in claimed'}`,
	} {
		_, err := policy.Load([]string{file(t, "rules:\n  - "+rule+"\n")}, protocols)
		if err == nil || !strings.Contains(err.Error(), "cannot go by what a client merely claims") {
			t.Errorf("%s: got %v, want that a claim lets nothing through", rule, err)
		}
	}
}
