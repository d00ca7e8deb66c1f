package policy_test

import (
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

const exposed = `
rules:
  - {name: mail, on: result, do: mask, columns: [users.email, users.phone], functions: [audit.note, hush]}
  - {name: phone, on: result, do: mask, columns: [users.phone], predicates: deny}
  - {name: place, on: result, do: mask, columns: [users.city], predicates: allow}
  - {name: key, on: result, do: mask, columns: [users.code], guesses: allow}
  - {name: batch, on: result, when: login.user == "batch", do: mask, columns: [users.name]}
  - {name: no-drops, on: request, when: '"drop" in sql.verbs', do: deny, message: No.}
  - {name: reads, on: request, when: '"select" in sql.verbs', do: allow}
`

func TestWhatWouldShowMaskedColumnsIsRefused(t *testing.T) {
	user := func(name string) []decoders.Column {
		return []decoders.Column{{Schema: "public", Table: "users", Name: name, Derived: true}}
	}
	for _, tt := range []struct {
		name  string
		login string
		verb  string
		how   decoders.Exposure
		want  string
		says  string
	}{
		{"a predicate", "agent", "select", decoders.Exposure{Risk: decoders.Decides, What: "it decides", Columns: user("email")}, "mail", "public.users.email, which is masked: it decides."},
		{"the first rule that minds", "agent", "select", decoders.Exposure{Risk: decoders.Decides, Columns: user("phone")}, "mail", "predicates: allow"},
		{"a predicate that is allowed", "agent", "select", decoders.Exposure{Risk: decoders.Decides, Columns: user("city")}, "reads", ""},
		{"a guess", "agent", "insert", decoders.Exposure{Risk: decoders.Guesses, What: "it writes them", Columns: user("city")}, "place", "guesses: allow"},
		{"a guess that is allowed", "agent", "select", decoders.Exposure{Risk: decoders.Guesses, Columns: user("code")}, "reads", ""},
		{"a predicate where guesses are allowed", "agent", "select", decoders.Exposure{Risk: decoders.Decides, Columns: user("code")}, "key", "predicates: allow"},
		{"a move of such a column", "agent", "select", decoders.Exposure{Columns: user("city")}, "place", "Leave the masked columns out"},
		{"a column that is not masked for this login", "agent", "select", decoders.Exposure{Columns: user("name")}, "reads", ""},
		{"a column that is", "batch", "select", decoders.Exposure{Columns: user("name")}, "batch", ""},
		{"a deny says more", "agent", "drop", decoders.Exposure{Columns: user("email")}, "no-drops", ""},
		{"a function", "agent", "select", decoders.Exposure{Risk: decoders.Calls, Function: "report", Columns: user("email")}, "mail", "functions: [report]"},
		{"a trusted function", "agent", "select", decoders.Exposure{Risk: decoders.Calls, Function: "audit.note", Columns: user("email")}, "reads", ""},
		{"its name without the schema", "agent", "select", decoders.Exposure{Risk: decoders.Calls, Function: "note", Columns: user("email")}, "mail", ""},
		{"a function trusted in any schema", "agent", "select", decoders.Exposure{Risk: decoders.Calls, Function: "x.hush", Columns: user("email")}, "reads", ""},
	} {
		r := load(t, exposed).For(orders())
		r.Decide(login(tt.login))
		ev := request(verbs(tt.verb))
		ev.Exposures = []decoders.Exposure{tt.how}
		v := r.Decide(ev)
		if (v.Outcome == policy.Forward) != (tt.want == "reads") || v.Rule != tt.want || !strings.Contains(v.Reason+" "+v.Hint, tt.says) {
			t.Errorf("%s: got %s by %s (%s %s), want %s that says %q", tt.name, v.Outcome, v.Rule, v.Reason, v.Hint, tt.want, tt.says)
		}
	}
}

func TestExposuresOfWhatIsAllowedUnclassifiedAreRefusedToo(t *testing.T) {
	session := orders()
	session.Target.Unclassified = policy.Allowing
	ev := &decoders.Event{Kind: decoders.Request, Facts: verbs("select"), Unclassified: "a puzzle", Exposures: []decoders.Exposure{
		{Columns: []decoders.Column{{Schema: "*", Table: "users", Name: "email"}}},
	}}
	if v := load(t, exposed).For(session).Decide(ev); v.Rule != "mail" || !strings.Contains(v.Reason, " users.email,") {
		t.Errorf("got %s by %s: %s", v.Outcome, v.Rule, v.Reason)
	}
	ev.Exposures = nil
	if v := load(t, exposed).For(session).Decide(ev); v.Outcome != policy.Forward {
		t.Errorf("without: got %s by %s: %s", v.Outcome, v.Rule, v.Reason)
	}
}
