package agentd_test

import (
	"fmt"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
	"agentd.dev/recorder"
)

// Rules that only watch touch nothing, and the record says what they would have
// done.
func TestRulesInShadowModeTouchNothing(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers)
	a := lab.StartAgentd(t, lab.Setup{Target: server, Policy: `
rules:
  - {name: mail, on: result, do: mask, columns: [public.customers.email], mode: shadow}
  - {name: no-drop, on: request, when: '"drop" in sql.verbs', do: deny, message: No., mode: shadow}
  - {name: ask, on: request, when: '"delete" in sql.verbs', do: approve, mode: shadow}
  - {name: few, on: request, do: limit, rows: 1, mode: shadow}
  - {name: tell, on: request, when: '"drop" in sql.verbs', do: alert}
`})
	statements := []string{
		"select email from customers where id = 1;",
		"select id from customers where email like '%';",
		"create table gone as select generate_series(1, 3) as n;",
		"select n from gone order by n;",
		"delete from gone where n = 1;",
		"drop table gone;",
	}
	c := converse(t, a, server)
	for _, s := range statements {
		if said := c.say(t, s); strings.Contains(said, "agentd") || strings.Contains(said, "ERROR") {
			t.Errorf("%s: got %q, want it served", s, said)
		}
	}
	c.ends(t)
	folder, err := recorder.OpenFolder(a.Log)
	if err != nil {
		t.Fatal(err)
	}
	told, err := folder.Session(summaries(t, a)[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range told.Entries {
		if e.Kind != "request" {
			continue
		}
		said := fmt.Sprint(e.Verdict, e.Shadows, e.Alerts)
		if e.Result != nil {
			said += fmt.Sprint(e.Result.Verdict, e.Result.Shadows)
		}
		if e.Done != nil {
			said += fmt.Sprint(e.Done.Masked, e.Done.Over)
		}
		verb, _, _ := strings.Cut(e.Text.Text, " from")
		verb, _, _ = strings.Cut(verb, " as")
		got[strings.TrimSuffix(verb, ";")] = said
	}
	for statement, want := range map[string]string{
		"select email":      "allow[] []allow[{mask mail [0]}]0 []",
		"select id":         "allow[{deny mail []}] []0 [few]",
		"create table gone": "allow[] []0 []",
		"select n":          "allow[] []0 [few]",
		"delete":            "allow[{hold ask []}] []0 []",
		"drop table gone":   "allow[{deny no-drop []}] [tell]0 []",
	} {
		if got[statement] != want {
			t.Errorf("%s: got %s, want %s", statement, got[statement], want)
		}
	}
	if out, err := a.Ctl(t, "sessions", "show", told.ID); err != nil || !strings.Contains(out, "shadow no-drop: deny") || !strings.Contains(out, "alert tell") {
		t.Errorf("sessions show: %v\n%s", err, out)
	}
}
