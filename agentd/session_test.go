package agentd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/conversation"
	"agentd.dev/agentd/internal/lab"
)

// lawful is a policy that has something to judge and to mask, and lets the
// conversations through: they touch none of it.
const lawful = `
rules:
  - name: no-secrets
    on: request
    when: sql.normalized.contains("forbidden_table")
    do: deny
    message: That table is nobody's business.
  - name: mask-word
    on: result
    do: mask
    columns: [public.vault.passphrase]
    with: "[masked]"
`

// vault is the table of lawful's mask rule.
const vault = `
create table vault (passphrase text);
alter table vault owner to agent;
`

// customers is a table with something to mask.
const customers = `
create table customers (id int primary key, name text, email text);
insert into customers values (1, 'Ada', 'ada@example.com'), (2, 'Grace', null), (3, 'Edsger', 'ewd@example.com');
alter table customers owner to agent;
`

// judged is a policy that looks at every statement and minds none.
const judged = `
rules:
  - name: reads
    on: request
    when: sql.verbs.exists(v, v == "select")
    do: allow
`

// watching is judged, with a column to be masked that nobody asks for.
const watching = judged + `
  - name: mask-word
    on: result
    do: mask
    columns: [public.vault.passphrase]
    with: "[masked]"
`

func TestClientsSeeNoDifference(t *testing.T) {
	t.Parallel()
	server, agentd := conversing(t, judged)
	for _, client := range conversation.Clients {
		t.Run(client.Name, func(t *testing.T) {
			want := client.Transcript(t, client.Cmd(t, server))
			got := client.Transcript(t, agentd.Captured(t, client.Cmd(t, server)))
			if diff := conversation.Difference(got, want); diff != "" {
				t.Errorf("captured differs from direct: %s", diff)
			}
		})
	}
	if out, err := agentd.Ctl(t, "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

// Where a column is to be masked, agentd hides the texts of errors and notices
// that could carry its values, so transcripts differ in those. Each client
// must still get to the end of its script, and pgbench sees no such texts.
func TestClientsRunTheirCourseWhileAColumnIsWatched(t *testing.T) {
	t.Parallel()
	server, agentd := conversing(t, watching)
	for _, client := range conversation.Clients {
		t.Run(client.Name, func(t *testing.T) {
			got := client.Transcript(t, agentd.Captured(t, client.Cmd(t, server)))
			if !strings.HasPrefix(client.Name, "pgbench") {
				return
			}
			want := client.Transcript(t, client.Cmd(t, server))
			if diff := conversation.Difference(got, want); diff != "" {
				t.Errorf("captured differs from direct: %s", diff)
			}
		})
	}
}

// conversing starts what the conversations need. They have statements that
// nobody can understand, so those are let through.
func conversing(t *testing.T, policy string) (*lab.Server, *lab.Agentd) {
	server := lab.Postgres(t)
	server.SQL(t, conversation.Fixture)
	server.SQL(t, vault)
	return server, lab.StartAgentd(t, lab.Setup{Policy: policy, Target: server, Open: true})
}

// psql returns a command that runs statements as the lab's agent, and stops at
// nothing.
func psql(s *lab.Server, statements ...string) *exec.Cmd {
	cmd := exec.Command("psql", "-XqAt", "-v", "VERBOSITY=verbose", "-h", s.Addr.Addr().String(),
		"-p", fmt.Sprint(s.Addr.Port()), "-U", s.User, "-d", s.Database)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+s.Password, "LC_ALL=C.UTF-8")
	cmd.Stdin = strings.NewReader(strings.Join(statements, "\n"))
	return cmd
}

// output runs cmd and returns what it printed, errors included.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

const strict = `
rules:
  - name: no-destructive-sql
    on: request
    when: sql.verbs.exists(v, v in ["drop", "truncate"])
    do: deny
    message: Dropping tables needs a person.
    hint: Ask for approval.
  - name: mask-email
    on: result
    do: mask
    columns: [public.customers.email]
    with: "[masked]"
`

func TestRefusalLeavesTheSessionAsAServerErrorWould(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: strict, Target: server})
	got := output(t, agentd.Captured(t, psql(server,
		"begin;",
		"insert into customers values (4, 'Barbara', 'bl@example.com');",
		"drop table customers;",
		"select 1;",
		"commit;",
		"select count(*) from customers;",
	)))
	for _, want := range []string{
		"ERROR:  42501: ", "no-destructive-sql", "Dropping tables needs a person.", "HINT:  Ask for approval.",
		"ERROR:  25P02: current transaction is aborted",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("psql printed no %q:\n%s", want, got)
		}
	}
	if lines := strings.Fields(got); lines[len(lines)-1] != "3" {
		t.Errorf("after the refused transaction there are %s customers, want 3:\n%s", lines[len(lines)-1], got)
	}
	if log := server.Log(); strings.Contains(log, "drop table customers") {
		t.Error("the refused statement reached the server")
	}
}

func TestMaskedColumnIsMaskedAndRecordedAsSuch(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: strict, Target: server})
	got := output(t, agentd.Captured(t, psql(server,
		"select id, email from customers order by id;",
		"select upper(email) from customers where email is not null order by id;",
		"select c from customers c where id = 1;",
		"insert into customers values (9, 'Tony', 'planted-secret@example.com');",
	)))
	if want := "1|[masked]\n2|\n3|[masked]\n"; !strings.HasPrefix(got, want) {
		t.Errorf("psql printed %q, want it to begin with %q", got, want)
	}
	if strings.Contains(strings.ToLower(got), "example.com") {
		t.Errorf("an address came through:\n%s", got)
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
	if !strings.Contains(replay, "select id, email from customers") || strings.Contains(replay, "planted-secret") {
		t.Errorf("replay shows the wrong things:\n%s", replay)
	}
	record, err := exec.Command("grep", "-r", "-c", "planted-secret", agentd.Log).CombinedOutput()
	if err == nil {
		t.Errorf("a masked value is in the record:\n%s", record)
	}
}

// ends is a Python client that prints what it sees of its own connection and
// what the server sees of it.
const ends = `
import os, socket, psycopg2
c = psycopg2.connect("")
s = socket.socket(fileno=os.dup(c.fileno()))
print("peer", s.getpeername(), "own", s.getsockname()[0])
q = c.cursor()
q.execute("select client_addr::text, current_user from pg_stat_activity where pid = pg_backend_pid()")
print("server sees", q.fetchone())
`

func TestBothEndsSeeEachOther(t *testing.T) {
	t.Parallel()
	for _, family := range []struct{ name, client, server string }{
		{"IPv4", "10.77.0.1", "10.77.0.2"},
		{"IPv6", "fd77::1", "fd77::2"},
	} {
		t.Run(family.name, func(t *testing.T) {
			t.Parallel()
			near, far := lab.NewNetns(t), lab.NewNetns(t)
			lab.Connect(t, near, family.client, far, family.server)
			server := lab.Postgres(t, lab.InNetns(far.Path), lab.ListenOn(family.server))
			agentd := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server})
			client := func() *exec.Cmd {
				cmd := exec.Command("/usr/bin/python3", "-c", ends)
				cmd.Env = append(os.Environ(), "PGHOST="+server.Addr.Addr().String(), fmt.Sprint("PGPORT=", server.Addr.Port()),
					"PGUSER="+server.User, "PGPASSWORD="+server.Password, "PGDATABASE="+server.Database)
				return cmd
			}
			want := output(t, inside(near, client()))
			if !strings.Contains(want, family.server) || !strings.Contains(want, family.client) {
				t.Fatalf("direct, the client printed %q: the test is broken", want)
			}
			if got := output(t, inside(near, agentd.Captured(t, client()))); got != want {
				t.Errorf("captured:\n%swant, as direct:\n%s", got, want)
			}
		})
	}
}

// portOf returns a server's port, in digits.
func portOf(s *lab.Server) string { return fmt.Sprint(s.Addr.Port()) }

// inside returns cmd, which has not been started, as one that runs in a
// network namespace.
func inside(n *lab.Netns, cmd *exec.Cmd) *exec.Cmd {
	enter := exec.Command("nsenter", append([]string{"--net=" + n.Path, "--", cmd.Path}, cmd.Args[1:]...)...)
	enter.Env = cmd.Env
	return enter
}
