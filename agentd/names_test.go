package agentd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// asking returns cmd, which has not been started, as one that asks d for names
// and nobody else: it has a mount namespace of its own with another
// /etc/resolv.conf.
func asking(t *testing.T, d *lab.DNS, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	write(t, conf, fmt.Sprintf("nameserver %s\n", d.Addr.Addr()))
	script := `mount --bind "$1" /etc/resolv.conf && shift && exec "$@"`
	wrapped := exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, "sh", conf, cmd.Path}, cmd.Args[1:]...)...)
	wrapped.Env, wrapped.Stdin = cmd.Env, cmd.Stdin
	return wrapped
}

// psqlAt is psql with a host to connect to in place of the server's address.
func psqlAt(host string, s *lab.Server, statements ...string) *exec.Cmd {
	cmd := psql(s, statements...)
	for i, arg := range cmd.Args {
		if arg == "-h" {
			cmd.Args[i+1] = host
		}
	}
	return cmd
}

func TestASessionShowsTheNameThatWasAskedFor(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	dns := lab.StartDNS(t, "host-record=orders.shop.internal,127.0.0.1", "cname=Db.Shop.Internal,orders.shop.internal")
	agentd := lab.StartAgentd(t, lab.Setup{Target: server, Policy: `
rules:
  - name: by-its-first-name
    on: request
    when: target.host == "db.shop.internal" && sql.verbs.exists(v, v == "drop")
    do: deny
    message: Not here.
`})
	if got := output(t, agentd.Captured(t, asking(t, dns, psqlAt("db.shop.internal", server, "select 'hello';", "drop table x;")))); !strings.HasPrefix(got, "hello\n") || !strings.Contains(got, "by-its-first-name") {
		t.Fatalf("psql printed %q", got)
	}
	if got := output(t, agentd.Captured(t, psql(server, "select 'hello';"))); got != "hello\n" {
		t.Fatalf("psql printed %q", got)
	}
	list := sessions(t, agentd)
	if len(list) != 2 || list[0].Host != "db.shop.internal" || list[1].Host != "" || list[0].Target != "orders" {
		t.Fatalf("sessions are %+v, want one to db.shop.internal and one that asked for no name", list)
	}
	for _, args := range [][]string{{"list"}, {"show", list[0].ID}, {"replay", list[0].ID}} {
		out, err := agentd.Ctl(t, append([]string{"sessions"}, args...)...)
		if err != nil || !strings.Contains(out, "db.shop.internal") {
			t.Errorf("sessions %s printed %s (%v), want the name in it", args[0], out, err)
		}
	}
}

// hurried asks for a name and connects as soon as it has the answer, a hundred
// times, each time with another name of one of twenty addresses; then it waits
// until all are served.
const hurried = `
import socket, struct, sys
all = [socket.create_connection((f"n{i}.a{i%20}.internal", int(sys.argv[1]))) for i in range(100)]
for s in all:
    s.sendall(struct.pack("!II", 8, 80877103)) # SSLRequest
    s.recv(1)
`

func TestTheNameIsKnownWhenTheConnectionIsThere(t *testing.T) {
	t.Parallel()
	var hosts, records []string
	for i := range 20 {
		hosts = append(hosts, fmt.Sprintf("127.0.1.%d", i+1))
		records = append(records, fmt.Sprintf("address=/a%d.internal/%s", i, hosts[i]))
	}
	server := lab.Postgres(t, lab.ListenOn(hosts...))
	dns := lab.StartDNS(t, records...)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: lawful, Config: fmt.Sprintf(
		"targets: [{name: orders, address: \"127.0.0.0/8:%s\", protocol: postgres}]\n", portOf(server))})
	client := exec.Command("/usr/bin/python3", "-c", hurried, portOf(server))
	client.Env = os.Environ()
	output(t, agentd.Captured(t, asking(t, dns, client)))
	list := sessions(t, agentd, "--limit", "0")
	if len(list) != 100 {
		t.Fatalf("%d sessions, want 100", len(list))
	}
	seen := map[string]bool{}
	for _, s := range list {
		seen[s.Host] = true
	}
	for i := range 100 {
		if name := fmt.Sprintf("n%d.a%d.internal", i, i%20); !seen[name] {
			t.Errorf("no session shows %s", name)
		}
	}
}
