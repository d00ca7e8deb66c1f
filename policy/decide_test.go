package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

const noDrops = `
rules:
  - name: no-drops
    on: request
    when: target.protocol == "postgres" && sql.verbs.exists(v, v in ["drop", "truncate"])
    do: deny
    message: Dropping tables needs a person.
    hint: Ask in the channel.
`

func TestDenyRefusesWhatItMatchesAndNothingElse(t *testing.T) {
	r := load(t, noDrops).For(orders())
	for _, tt := range []struct {
		ev   *decoders.Event
		want string
	}{
		{login("agent"), "allow default"},
		{request(verbs("select")), "allow default"},
		{request(verbs("select", "drop")), "deny no-drops"},
		{&decoders.Event{Kind: decoders.Prepare, Facts: verbs("truncate")}, "deny no-drops"},
		{&decoders.Event{Kind: decoders.Cancel}, "allow default"},
		{&decoders.Event{Kind: decoders.Columns}, "allow default"},
	} {
		v := r.Decide(tt.ev)
		if got := v.Outcome.String() + " " + v.Rule; got != tt.want {
			t.Errorf("%s: got %s, want %s (%s)", tt.ev.Kind, got, tt.want, v.Reason)
		}
	}
	v := r.Decide(request(verbs("drop")))
	if got, want := v.Reason+" "+v.Hint, "Dropping tables needs a person. Ask in the channel."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheMostRestrictiveRuleWins(t *testing.T) {
	const rules = `
rules:
  - {name: reads, on: request, do: allow, when: 'sql.verbs.all(v, v == "select")', message: Reading with SELECT.}
  - {name: big, on: request, do: deny, when: sql.statements > 3, message: Too many statements.}
`
	session := orders()
	for _, tt := range []struct {
		name  string
		fall  policy.Default
		verbs []string
		want  string
	}{
		{"allowed", policy.Refusing, []string{"select"}, "allow reads"},
		{"denied though allowed", policy.Refusing, []string{"select", "select", "select", "select"}, "deny big"},
		{"default refuses", policy.Refusing, []string{"drop"}, "deny default"},
		{"default allows", policy.Allowing, []string{"drop"}, "allow default"},
		{"denied though default allows", policy.Allowing, []string{"a", "b", "c", "d"}, "deny big"},
	} {
		session.Target.Default = tt.fall
		v := load(t, rules).For(session).Decide(request(verbs(tt.verbs...)))
		if got := v.Outcome.String() + " " + v.Rule; got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		if v.Outcome == policy.Refuse && v.Hint != "Allowed: Reading with SELECT." {
			t.Errorf("%s: got hint %q, want what the allow rule says", tt.name, v.Hint)
		}
	}
}

func TestConditionsSeeTheSession(t *testing.T) {
	for _, tt := range []struct {
		when string
		want bool
	}{
		{`target.name == "orders-db"`, true},
		{`target.name == "other"`, false},
		{`target.address == "10.0.0.5" && target.port == 5432`, true},
		{`target.labels.env == "prod"`, true},
		{`target.labels["env"] in ["prod", "stage"]`, true},
		{`target.labels.team == "x"`, false},
		{`target.labels.team == ""`, true},
		{`workload.namespace == "agents" && workload.pod.startsWith("reporter-") && workload.container == "main"`, true},
		{`workload.image.startsWith("registry/") && workload.service_account == "reporter" && workload.owner.startsWith("ReplicaSet/")`, true},
		{`workload.labels.app == "reporter" && workload.labels.team == "" && !("team" in workload.labels)`, true},
		{`workload.labels.app == "other"`, false},
		{`"team" in target.labels`, false},
		{`"env" in target.labels`, true},
		{`target.labels.exists(k, k == "env")`, true},
		{`workload.name == "reporter" && workload.source == "run"`, true},
		{`workload.cgroup.startsWith("/agentd-runs/")`, true},
		{`workload.unit == ""`, true},
		{`workload.pid == 42 && workload.uid == 1000`, true},
		{`workload.comm == "psql" && workload.exe.endsWith("/psql")`, true},
		{`login.user == "agent" && login.database == "orders"`, true},
		{`login.user != "agent"`, false},
		{`sql.opaque || sql.verbs[0] == "select"`, true},
		{`sql.normalized.matches("^sel")`, true},
		{`type(target.port) == int`, true},
		{`{"a": target.name}["a"] == "orders-db"`, true},
		{`[target.name, "x"][0] == "x"`, false},
		{`sql.verbs.map(v, {"k": v})[0].k == "select"`, true},
		{`(sql.verbs + ["x"]).size() == 2`, true},
		{`target.labels.exists(k, target.labels[k] == "prod")`, true},
		{`[target.labels][0]["team"] == ""`, true},
		{`"prod" == target.labels.env && "orders-db" == target.name`, true},
		{`"other" == target.name && sql.opaque`, false},
		{`.target.name == "orders-db"`, true},
	} {
		e := load(t, fmt.Sprintf("rules:\n  - {name: r, on: request, do: deny, message: No., when: %s}", yamlQuote(tt.when)))
		r := e.For(orders())
		r.Decide(login("agent"))
		v := r.Decide(request(verbs("select")))
		if got := v.Outcome == policy.Refuse; got != tt.want || strings.Contains(v.Reason, "evaluated") {
			t.Errorf("%s: got %t (%s), want %t", tt.when, got, v.Reason, tt.want)
		}
	}
}

func TestARefusalNamesWhatIsAllowedEvenIfThatHasNoWords(t *testing.T) {
	session := orders()
	session.Target.Default = policy.Refusing
	e := load(t, "rules: [{name: reads, on: request, do: allow, when: sql.opaque}]")
	v := e.For(session).Decide(request(verbs("drop")))
	if got, want := v.Hint, `Allowed is what these rules say: "reads".`; got != want {
		t.Errorf("got hint %q, want %q", got, want)
	}
	v = load(t, "rules: []").For(session).Decide(request(verbs("drop")))
	if got, want := v.Reason, `No rule allows this on target "orders-db".`; got != want || v.Hint == "" {
		t.Errorf("got %q, hint %q, want %q and a hint", got, v.Hint, want)
	}
}

func yamlQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
