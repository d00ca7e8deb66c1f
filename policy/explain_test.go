package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"agentd.dev/decoders"
)

func TestEveryRuleTellsWhatItHasToDoWithAnEvent(t *testing.T) {
	e := load(t, `
rules:
  - {name: no-drop, on: request, do: deny, when: '"drop" in sql.verbs', message: No.}
  - {name: ada, on: request, do: allow, when: 'login.user == "ada" && "drop" in sql.verbs'}
  - {name: others, on: request, do: deny, when: 'workload.name == "other"', message: No.}
  - {name: emails, on: result, do: mask, columns: [users.email]}
  - {name: always, on: request, do: alert}
  - {name: early, on: request, do: alert, when: 'now.hour < 24'}
  - {name: used, on: request, do: deny, when: 'usage.minute.statements > 5', message: No.}
  - {name: watched, on: request, do: deny, mode: shadow, when: 'claimed.task == "T-17"', message: No.}
`)
	ev := request(verbs("drop"))
	ev.Claims = []decoders.Claim{{Key: "task", Value: "T-17"}}
	var got []string
	e.Clock(func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) })
	for _, l := range e.Explain(orders(), login("ada"), ev) {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s %s", l.Rule, l.Mode, l.Result, l.Why, l.Saw)))
	}
	want := []string{
		`no-drop enforce matches:  [{sql.verbs ["drop"]}]`,
		`ada enforce matches:  [{login.user "ada"} {sql.verbs ["drop"]}]`,
		`others enforce is for others: workload.name is "reporter", not ["other"] []`,
		`emails enforce is for others: it is on result, and this is a request []`,
		`always enforce matches: it has no condition []`,
		`early enforce matches:  [{now.hour 12}]`,
		`used enforce fails: what was used before is not known here; so it applies [{usage.minute.statements unknown}]`,
		`watched shadow matches:  [{claimed ["task":"T-17"]}]`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
