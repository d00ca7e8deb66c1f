package agentd_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/conversation"
	"agentd.dev/agentd/internal/lab"
)

// tool returns a command that logs in as libpq's environment says.
func tool(s *lab.Server, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PGHOST="+s.Addr.Addr().String(), "PGPORT="+portOf(s),
		"PGUSER="+s.User, "PGPASSWORD="+s.Password, "PGDATABASE="+s.Database)
	return cmd
}

// A dump without what pg_dump makes up anew each time (since its versions of
// August 2025).
func dump(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.Bytes())
	}
	var lines [][]byte
	for line := range bytes.Lines(out) {
		if !bytes.HasPrefix(line, []byte(`\restrict `)) && !bytes.HasPrefix(line, []byte(`\unrestrict `)) {
			lines = append(lines, line)
		}
	}
	return bytes.Join(lines, nil)
}

func TestADumpTakenThroughAgentdEqualsOneTakenDirectly(t *testing.T) {
	t.Parallel()
	server, agentd := conversing(t, judged)
	server.SQL(t, "create database restored owner agent")
	args := []string{"--no-sync", "--exclude-table=vault"}
	want := dump(t, tool(server, "pg_dump", args...))
	got := dump(t, agentd.Captured(t, tool(server, "pg_dump", args...)))
	if diff := conversation.Difference(got, want); diff != "" {
		t.Errorf("a dump through agentd differs from a direct one: %s", diff)
	}

	archive := filepath.Join(t.TempDir(), "archive")
	run(t, agentd.Captured(t, tool(server, "pg_dump", append(args, "-Fc", "-f", archive)...)))
	run(t, agentd.Captured(t, tool(server, "pg_restore", "--exit-on-error", "-d", "restored", archive)))
	got = dump(t, tool(server, "pg_dump", append(args, "-d", "restored")...))
	if diff := conversation.Difference(got, want); diff != "" {
		t.Errorf("what was restored through agentd differs from what was dumped: %s", diff)
	}
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%.2000s", cmd, err, out)
	}
}

const replicating = judged + `
  - name: replication
    on: login
    do: allow
    when: login.replication && login.user == "agent"
  - name: no-new-slots
    on: request
    do: deny
    when: sql.verbs.exists(v, v == "create_replication_slot") && target.labels.slots == "none"
    message: Slots are made by the DBA.
`

// replicated returns a server that lets the agent replicate, with a slot.
func replicated(t *testing.T) *lab.Server {
	server := lab.Postgres(t, lab.Setting("wal_level=logical"), lab.Replication())
	server.SQL(t, customers+"alter role agent replication; select pg_create_logical_replication_slot('feed', 'test_decoding');")
	return server
}

func TestReplicationIsRefusedUnlessARuleAllowsIt(t *testing.T) {
	t.Parallel()
	server := replicated(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: judged, Target: server, Open: true})
	for _, cmd := range []*exec.Cmd{
		tool(server, "pg_basebackup", "-D", filepath.Join(t.TempDir(), "base"), "--no-sync"),
		tool(server, "pg_recvlogical", "-d", server.Database, "--slot=feed", "--start", "-f", "-", "--no-loop"),
	} {
		out, err := agentd.Captured(t, cmd).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "A replication connection carries whole tables") || !strings.Contains(string(out), "do: allow") {
			t.Errorf("%s: %v, want a refusal that says how to allow it; it printed\n%s", cmd.Args[0], err, out)
		}
	}
}

func TestReplicationThatARuleAllowsWorksAsWithoutAgentd(t *testing.T) {
	t.Parallel()
	server := replicated(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: replicating, Target: server})

	base := filepath.Join(t.TempDir(), "base")
	run(t, agentd.Captured(t, tool(server, "pg_basebackup", "-D", base, "--no-sync", "-X", "stream", "-c", "fast")))
	if _, err := os.Stat(filepath.Join(base, "PG_VERSION")); err != nil {
		t.Errorf("the backup is not there: %v", err)
	}
	if out, err := exec.Command(lab.PostgresProgram(t, "pg_verifybackup"), base).CombinedOutput(); err != nil {
		t.Errorf("pg_verifybackup: %v\n%s", err, out)
	}

	server.SQL(t, "insert into customers values (77, 'Tim', 'tim@example.com')")
	end := server.SQL(t, "select pg_current_wal_lsn()")
	out, err := agentd.Captured(t, tool(server, "pg_recvlogical", "-d", server.Database, "--slot=feed", "--start", "-f", "-", "--no-loop", "--endpos="+end)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "table public.customers: INSERT: id[integer]:77") {
		t.Errorf("pg_recvlogical: %v, want the row that was inserted; it printed\n%s", err, out)
	}
	listed, err := agentd.Ctl(t, "sessions", "list", "-o", "json")
	if err != nil || !strings.Contains(listed, "pg_recvlogical") {
		t.Errorf("sessions list: %v\n%s", err, listed)
	}
}

func TestReplicationIsNotAllowedWhereColumnsAreMasked(t *testing.T) {
	t.Parallel()
	server := replicated(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: replicating + strings.TrimPrefix(watching, judged), Target: server, Open: true})
	out, err := agentd.Captured(t, tool(server, "pg_recvlogical", "-d", server.Database, "--slot=feed", "--start", "-f", "-", "--no-loop")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "columns of this database are masked") {
		t.Errorf("pg_recvlogical: %v, want a refusal; it printed\n%s", err, out)
	}
}
