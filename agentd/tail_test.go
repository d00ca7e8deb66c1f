package agentd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/recorder"
)

const watched = `
rules:
  - {name: no-drops, on: request, do: deny, when: '"drop" in sql.verbs', message: no}
  - {name: no-secrets, on: request, do: deny, when: '"secrets" in sql.tables', message: no}
`

// TestWhatIsRecordedIsFollowedAndFound: over the API and in the folder, by what
// is asked for.
func TestWhatIsRecordedIsFollowedAndFound(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: watched, Target: server})
	output(t, agentd.Captured(t, psql(server, "select 'before';")))

	client := control.NewClient(agentd.Socket)
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	all, denied := make(chan recorder.Statement, 99), make(chan recorder.Statement, 99)
	follow := func(f control.TailFilter, to chan recorder.Statement) chan error {
		done := make(chan error, 1)
		go func() {
			done <- client.Tail(ctx, f, func(told control.Told) error {
				if told.Lost > 0 {
					t.Errorf("%d records are lost, want none", told.Lost)
				}
				to <- *told.Statement
				return nil
			})
		}()
		return done
	}
	// Both begin with the first record, so that neither has to be waited for.
	ends := []chan error{follow(control.TailFilter{}, all), follow(control.TailFilter{Which: recorder.Which{Verb: "drop", Denied: true, Text: "TABLE nosuch"}}, denied)}
	agentd.Captured(t, psql(server, "create table customers (id int);", "drop table nosuch;", "select 1 from customers;")).Run() // one is refused
	var got []string                                                                                                             // a refusal is told when it is its turn to be answered
	for range 4 {
		s := <-all
		if got = append(got, s.Text); s.Workload == "" || s.Session == "" {
			t.Errorf("got %+v, want to know whose it is", s)
		}
	}
	slices.Sort(got)
	if want := []string{"create table customers (id int);", "drop table nosuch;", "select 'before';", "select 1 from customers;"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := <-denied; got.Text != "drop table nosuch;" || got.Rule != "no-drops" {
		t.Errorf("got %+v, want what was refused", got)
	}
	cancel()
	for _, end := range ends {
		if err := <-end; !errors.Is(err, context.Canceled) {
			t.Errorf("following ended with %v, want that it was cancelled", err)
		}
	}
	for _, tt := range []struct {
		flags string
		want  int
	}{
		{"--verb drop", 1},
		{"--denied", 1},
		{"--table customers", 1},
		{"--table customers --verb drop", 0},
		{"--where text.contains('before')", 1},
		{"--where session.statements>1", 1},
		{"--protocol postgres --since 1h", 2},
		{"--until 2020-01-01", 0},
	} {
		if got := sessions(t, agentd, strings.Fields(tt.flags)...); len(got) != tt.want {
			t.Errorf("sessions list %s: got %+v, want %d", tt.flags, got, tt.want)
		}
	}
}

// TestAgentctlFollows prints what comes: from agentd, or with --dir from the
// folder.
func TestAgentctlFollows(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: watched, Target: server})
	output(t, agentd.Captured(t, psql(server, "select 'there';")))
	for _, from := range [][]string{nil, {"--dir", agentd.Log}} {
		cmd := exec.Command(lab.Binary(t, "./cmd/agentctl"), append([]string{"--socket", agentd.Socket, "sessions", "tail", "-f", "-o", "json", "--where", "'select' in sql.verbs"}, from...)...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		next := func() (s recorder.Statement) {
			if !lines.Scan() {
				t.Fatalf("%v: agentctl ended: %v", from, lines.Err())
			}
			if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
				t.Fatal(err)
			}
			return s
		}
		for next().Text != "select 'there';" { // those that are there
		}
		output(t, agentd.Captured(t, psql(server, "create table if not exists t (id int);", "select 'comes' from t;")))
		for got := next(); got.Text != "select 'comes' from t;"; got = next() {
			if !strings.HasPrefix(got.Text, "select") {
				t.Errorf("%v: got %+v, want what is asked for alone", from, got)
			}
		}
		cmd.Process.Signal(os.Interrupt)
		for lines.Scan() {
		}
		cmd.Wait() // by the signal
	}
}
