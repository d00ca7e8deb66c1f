package agentd_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

const searched = `
rules:
  - {name: contact, on: result, do: mask, find: [email], with: "[masked]"}
  - {name: cards, on: result, when: workload.name != "billing", do: mask, find: [card], with: {keep: 4}}
  - {name: who, on: result, do: mask, columns: [public.customers.name], with: {hash: true}}
`

// TestWhatIsFoundIsReplacedAndCounted: in rows, COPY and errors, and in what is
// recorded of statements and results.
func TestWhatIsFoundIsReplacedAndCounted(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: searched, Target: server, Config: "record: {results: 16KiB}\n"})
	got := output(t, agentd.Captured(t, psql(server,
		"create table notes (id int primary key, note text);",
		"insert into notes values (1, 'paid by ada@example.com with 4111 1111 1111 1111');",
		"select note from notes;",
		"copy notes to stdout;",
		"select note::int from notes;",
		"select count(distinct name), min(length(name)) from customers;",
	)))
	if n := strings.Count(got, "paid by [masked] with **** **** **** 1111"); n != 3 || strings.Contains(got, "ada@") || strings.Contains(got, "4111") {
		t.Errorf("psql printed what is found, or not three times what replaces it:\n%s", got)
	}
	var sessions []struct{ ID string }
	list, err := agentd.Ctl(t, "sessions", "list", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(list), &sessions); err != nil || len(sessions) != 1 {
		t.Fatalf("sessions list printed %s (%v), want one session", list, err)
	}
	replay, err := agentd.Ctl(t, "sessions", "replay", sessions[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2 values masked (card 1, email 1)", "paid by [masked] with **** **** **** 1111"} {
		if !strings.Contains(replay, want) {
			t.Errorf("replay shows no %q:\n%s", want, replay)
		}
	}
	if record, err := exec.Command("grep", "-r", "-c", `"rows":\[\["paid by \[masked\] with \*\*\*\* \*\*\*\* \*\*\*\* 1111"\]\]`, agentd.Log).CombinedOutput(); err != nil {
		t.Errorf("the row is not in the record as it was seen: %v\n%s", err, record)
	}
	for _, secret := range []string{"ada@example", "4111 1111"} {
		if record, err := exec.Command("grep", "-r", "-c", secret, agentd.Log).CombinedOutput(); err == nil {
			t.Errorf("%s is in the record:\n%s", secret, record)
		}
	}
}
