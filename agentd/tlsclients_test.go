package agentd_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/internal/conversation"
	"agentd.dev/agentd/internal/lab"
)

// Over TLS on both legs each client prints what it prints on a direct TLS
// connection, byte for byte.
func TestClientsSeeNoDifferenceOverTLS(t *testing.T) {
	t.Parallel()
	ca := lab.NewAuthority(t)
	server := lab.Postgres(t, lab.OverTLS(ca.Issue(t, lab.Issue{Name: "orders.internal", IPs: []string{"127.0.0.1"}}), ""),
		lab.Access("hostssl all all all trust"))
	server.SQL(t, conversation.Fixture)
	agentd := lab.StartAgentd(t, lab.Setup{
		Policy: judged, Target: server, Open: true,
		TLS: "{client: require, server: verify-full, name: orders.internal, ca: " + ca.File + "}",
	})
	ours := filepath.Join(t.TempDir(), "ours.crt")
	if _, err := agentd.Ctl(t, "ca", "export", "--out", ours); err != nil {
		t.Fatal(err)
	}
	for _, client := range conversation.Clients {
		if client.Name == "raw bytes" { // knows no TLS
			continue
		}
		t.Run(strings.ReplaceAll(client.Name, "/", " "), func(t *testing.T) {
			direct, captured := client.Cmd(t, server), client.Cmd(t, server)
			direct.Env = append(direct.Env, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+ca.File)
			captured.Env = append(captured.Env, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+ours)
			want := client.Transcript(t, direct)
			got := client.Transcript(t, agentd.Captured(t, captured))
			if diff := conversation.Difference(got, want); diff != "" {
				t.Errorf("captured differs from direct: %s", diff)
			}
		})
	}
	if out, err := agentd.Ctl(t, "sessions", "list", "-o", "json"); err != nil || strings.Contains(out, `"scope": "plaintext"`) {
		t.Errorf("a session was not over TLS: %v", err)
	}
}

// PostgreSQL 17's clients can begin with TLS itself.

// The two combinations that TestClientsSeeNoDifference and the test above leave.
func TestClientsSeeNoDifferenceWhereOneLegAloneHasTLS(t *testing.T) {
	t.Parallel()
	ca := lab.NewAuthority(t)
	server := lab.Postgres(t, lab.OverTLS(ca.Issue(t, lab.Issue{Name: "orders.internal", IPs: []string{"127.0.0.1"}}), ""))
	server.SQL(t, conversation.Fixture)
	for _, leg := range []struct{ name, tls, mode string }{
		{"client", "{client: require, server: disable}", "PGSSLMODE=require"},
		{"server", "{client: off, server: verify-full, name: orders.internal, ca: " + ca.File + "}", "PGSSLMODE=prefer"},
	} {
		agentd := lab.StartAgentd(t, lab.Setup{Policy: judged, Target: server, Open: true, TLS: leg.tls})
		for _, client := range conversation.Clients {
			switch client.Name {
			case "psql", "pgbench prepared", "pgx pipeline", "lib/pq binary", "psycopg2", "node-postgres", "JDBC prepared":
			default:
				continue
			}
			t.Run(leg.name+" "+strings.ReplaceAll(client.Name, "/", " "), func(t *testing.T) {
				direct, captured := client.Cmd(t, server), client.Cmd(t, server)
				direct.Env = append(direct.Env, "PGSSLMODE=disable")
				captured.Env = append(captured.Env, leg.mode)
				want := client.Transcript(t, direct)
				got := client.Transcript(t, agentd.Captured(t, captured))
				if diff := conversation.Difference(got, want); diff != "" {
					t.Errorf("captured differs from direct: %s", diff)
				}
			})
		}
	}
}

func TestDumpsAndBackupsComeThroughOverTLS(t *testing.T) {
	t.Parallel()
	ca := lab.NewAuthority(t)
	server := lab.Postgres(t, lab.OverTLS(ca.Issue(t, lab.Issue{Name: "orders.internal", IPs: []string{"127.0.0.1"}}), ""),
		lab.Access("hostssl all all all trust\nhostssl replication all all trust"))
	server.SQL(t, conversation.Fixture)
	server.SQL(t, "alter role agent replication")
	server.SQL(t, "create database restored owner agent")
	agentd := lab.StartAgentd(t, lab.Setup{
		Policy: replicating, Target: server, Open: true,
		TLS: "{client: require, server: verify-full, name: orders.internal, ca: " + ca.File + "}",
	})
	ours := filepath.Join(t.TempDir(), "ours.crt")
	if _, err := agentd.Ctl(t, "ca", "export", "--out", ours); err != nil {
		t.Fatal(err)
	}
	captured := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.Env = append(cmd.Env, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+ours)
		return agentd.Captured(t, cmd)
	}
	want := dump(t, tool(server, "pg_dump", "--no-sync"))
	got := dump(t, captured(tool(server, "pg_dump", "--no-sync")))
	if diff := conversation.Difference(got, want); diff != "" {
		t.Errorf("a dump through agentd differs from a direct one: %s", diff)
	}
	archive := filepath.Join(t.TempDir(), "archive")
	run(t, captured(tool(server, "pg_dump", "--no-sync", "-Fc", "-f", archive)))
	run(t, captured(tool(server, "pg_restore", "--exit-on-error", "-d", "restored", archive)))
	run(t, captured(tool(server, "pg_basebackup", "-D", filepath.Join(t.TempDir(), "base"), "--no-sync", "-X", "stream", "-c", "fast")))
}

func TestTLSFromTheFirstByteComesThrough(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t, lab.Access("host all all all trust"))
	agentd := lab.StartAgentd(t, lab.Setup{Policy: judged, Target: server, Open: true, TLS: "{client: offer}"})
	server.SQL(t, conversation.Fixture)
	for _, client := range conversation.Clients {
		if client.Name != "pgx extended" {
			continue
		}
		cmd := client.Cmd(t, server)
		cmd.Env = append(cmd.Env, "PGSSLMODE=require", "PGSSLNEGOTIATION=direct")
		client.Transcript(t, agentd.Captured(t, cmd))
	}
	list, err := agentd.Ctl(t, "sessions", "list", "-o", "json")
	if err != nil || !strings.Contains(list, `"client_tls"`) {
		t.Errorf("recorded %s, %v; want a session with TLS", list, err)
	}
}

// A client is told by its own library why it does not trust agentd, and the
// record has it, too.
func TestAClientThatDoesNotTrustAgentdIsRecorded(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: judged, Target: server, TLS: "{client: offer}"})
	cmd := psql(server, "select 1;")
	cmd.Env = append(cmd.Env, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+lab.NewAuthority(t).File)
	if out, err := agentd.Captured(t, cmd).CombinedOutput(); err == nil || !strings.Contains(string(out), "certificate verify failed") {
		t.Errorf("psql printed %q, %v; want that it does not trust the certificate", out, err)
	}
	list, err := agentd.Ctl(t, "sessions", "list", "-o", "json")
	if want := "trust agentd's certificate: give it the CA that `agentctl ca export` prints"; err != nil || !strings.Contains(list, want) {
		t.Errorf("recorded %s, %v; want %q", list, err, want)
	}
}

// hesitant is a captured client that opens many connections and says nothing on
// them, or asks for TLS and goes no further.
const hesitant = `
import socket, sys
address = (sys.argv[1], int(sys.argv[2]))
all = []
for i in range(int(sys.argv[3])):
    c = socket.socket()
    all.append(c)
    try:
        c.connect(address)
        if i % 2: c.sendall(bytes.fromhex("0000000804d2162f"))
    except OSError: # more than its share
        pass
print("all connected", flush=True)
sys.stdin.readline()
`

func TestClientsThatSayNothingKeepNoOtherFromConnecting(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: judged, Target: server, TLS: "{client: offer}"})
	for range 2 { // each a workload of its own
		cmd := exec.Command("/usr/bin/python3", "-c", hesitant, server.Addr.Addr().String(), portOf(server), "800")
		cmd = agentd.Captured(t, cmd)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, len("all connected\n"))
		if _, err := io.ReadFull(out, line); err != nil {
			t.Fatal(err)
		}
		defer func() {
			io.WriteString(in, "\n")
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}()
	}
	if got := output(t, agentd.Captured(t, psql(server, "select 'served';"))); got != "served\n" {
		t.Errorf("beside 1600 that say nothing psql printed %q", got)
	}
}

// Certificates and keys in files are read again when they change.
func TestACertificateThatIsReplacedIsUsed(t *testing.T) {
	t.Parallel()
	ca, others := lab.NewAuthority(t), lab.NewAuthority(t)
	server := lab.Postgres(t, lab.OverTLS(ca.Issue(t, lab.Issue{Name: "orders.internal"}), ca.File), lab.Access("hostssl all all all cert"))
	client, stranger := ca.Issue(t, lab.Issue{Name: "agent"}), others.Issue(t, lab.Issue{Name: "agent"})
	dir := t.TempDir()
	use := func(root string, pair lab.KeyPair) {
		for from, to := range map[string]string{root: "ca.crt", pair.Cert: "client.crt", pair.Key: "client.key"} {
			text, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, to+".new"), text, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, to+".new"), filepath.Join(dir, to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	use(others.File, stranger)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: judged, Target: server, TLS: fmt.Sprintf(
		"{server: verify-full, name: orders.internal, ca: %s/ca.crt, cert: %s/client.crt, key: %s/client.key}", dir, dir, dir)})
	if out, err := agentd.Captured(t, psql(server, "select 1;")).CombinedOutput(); err == nil {
		t.Errorf("a server that nobody trusts was reached: %s", out)
	}
	use(ca.File, client)
	if got := output(t, agentd.Captured(t, psql(server, "select 'served';"))); got != "served\n" {
		t.Errorf("with the right files psql printed %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := output(t, agentd.Captured(t, psql(server, "select 'served';"))); got != "served\n" {
		t.Errorf("with a file that is wrong now psql printed %q, want the last good one in use", got)
	}
	if out, err := agentd.Ctl(t, "targets", "-o", "json"); err != nil || !strings.Contains(out, "ca.crt holds no certificate in PEM") {
		t.Errorf("targets says %s, %v; want what is wrong with the file", out, err)
	}
}

func TestAKeyThatOthersCanReadIsRefused(t *testing.T) {
	t.Parallel()
	agentd := lab.StartAgentd(t, lab.Setup{})
	keys, err := filepath.Glob(filepath.Join(filepath.Dir(agentd.Log), "ca", "*.key"))
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys %q, %v; want one", keys, err)
	}
	info, err := os.Stat(keys[0])
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the key has mode %v, %v; want 0600", info.Mode(), err)
	}
	before, err := agentd.Ctl(t, "ca", "export")
	if err != nil {
		t.Fatal(err)
	}
	if status, err := agentd.Ctl(t, "status"); err != nil || !strings.Contains(status, "agentd CA of lab") {
		t.Errorf("status says %s, %v; want the CA", status, err)
	}
	restart := func() error {
		agentd.Process.Stop(unix.SIGTERM)
		<-agentd.Process.Done()
		return agentd.Start(t)
	}
	if err := restart(); err != nil {
		t.Fatal(err)
	}
	if after, err := agentd.Ctl(t, "ca", "export"); err != nil || after != before {
		t.Errorf("after a restart the CA is another: %v", err)
	}
	if err := os.Chmod(keys[0], 0o640); err != nil {
		t.Fatal(err)
	}
	if err := restart(); err == nil || !strings.Contains(err.Error(), "others could sign with it") {
		t.Errorf("agentd started with a CA that others can sign with: %v", err)
	}
}

// All nodes may share a CA.
func TestASharedCASignsWhatClientsSee(t *testing.T) {
	t.Parallel()
	ca := lab.NewAuthority(t)
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{
		Policy: judged, Target: server, TLS: "{client: require}",
		Config: fmt.Sprintf("ca: {cert: %s, key: %s}\n", ca.File, ca.KeyFile),
	})
	cmd := psql(server, "select 'served';")
	cmd.Env = append(cmd.Env, "PGSSLMODE=verify-full", "PGSSLROOTCERT="+ca.File)
	if got := output(t, agentd.Captured(t, cmd)); got != "served\n" {
		t.Errorf("psql printed %q", got)
	}
}

// A session over TLS goes on while another agentd takes over, and is told when its
// own stops.
func TestAnUpgradeCutsNoSessionOverTLS(t *testing.T) {
	t.Parallel()
	ca := lab.NewAuthority(t)
	server := lab.Postgres(t, lab.OverTLS(ca.Issue(t, lab.Issue{Name: "orders.internal"}), ""), lab.Access("hostssl all all all trust"))
	agentd := lab.StartAgentd(t, lab.Setup{
		Policy: judged, Target: server, Config: "limits: {drain: 0s}\n",
		TLS: "{client: require, server: verify-ca, ca: " + ca.File + "}",
	})
	k := converse(t, agentd, server)
	k.says(t, "begun")
	first := agentd.Process
	if err := agentd.Start(t); err != nil {
		t.Fatal(err)
	}
	k.says(t, "goes on")
	k.ends(t)
	if err := first.Wait(); err != nil {
		t.Errorf("the first agentd ended with %v", err)
	}
	k = converse(t, agentd, server)
	k.says(t, "begun again")
	agentd.Process.Stop(unix.SIGTERM)
	if got := k.say(t, "select 'over';"); !strings.Contains(got, "agentd on this node is stopping") {
		t.Errorf("when agentd stopped psql printed %q, want why its session ended", got)
	}
	if err := agentd.Start(t); err != nil {
		t.Fatal(err)
	}
	for _, s := range summaries(t, agentd) {
		if s.Scope != "intercepted" || s.ClientTLS == nil || s.ServerTLS == nil || s.ServerTLS.Verified != "chain" {
			t.Errorf("recorded scope %q, client %v, server %v; want TLS on both legs", s.Scope, s.ClientTLS, s.ServerTLS)
		}
	}
}
