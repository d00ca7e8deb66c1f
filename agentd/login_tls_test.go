package agentd_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// Over TLS the login is bound to the server's certificate: this server tells
// clients that they may, and takes no answer of one that knew and did not. A
// certificate can be the whole credential, too.
func TestAgentdLogsInOverTLS(t *testing.T) {
	t.Parallel()
	ca := lab.NewAuthority(t)
	mine := ca.Issue(t, lab.Issue{Name: "carla"})
	server := lab.Postgres(t, lab.ListenOn("127.0.7.1", "127.0.7.2", "127.0.7.3"), lab.OverTLS(ca.Issue(t, lab.Issue{Name: "orders.internal"}), ca.File),
		lab.Access("hostssl all carla all cert\nhostssl all plain_user all password\nhostssl all all all scram-sha-256"), lab.Setting("log_connections=on"))
	server.SQL(t, loginUsers+"create role carla login;")
	verified := "server: verify-full, name: orders.internal, ca: " + ca.File
	config := fmt.Sprintf(`targets:
  - {name: scram, address: "127.0.7.1:%[1]d", protocol: postgres, default: allow, credential: scram, tls: {server: require}}
  - {name: cert, address: "127.0.7.2:%[1]d", protocol: postgres, default: allow, credential: carla, tls: {%[2]s, cert: %[3]s, key: %[4]s}}
  - {name: plain, address: "127.0.7.0/29:%[1]d", protocol: postgres, default: allow, credential: plain, tls: {%[2]s}}
credentials:
  - {name: scram, user: scram_user, password: {file: %[5]s}}
  - {name: plain, user: plain_user, password: {file: %[5]s}, methods: [password]}
  - {name: carla, user: carla}
`, server.Addr.Port(), verified, mine.Cert, mine.Key, secretFile(t, loginSecret, 0o600))
	a := lab.StartAgentd(t, lab.Setup{Policy: judged, Config: config})
	for address, want := range map[string]string{"127.0.7.1": "scram_user|t\n", "127.0.7.2": "carla|t\n", "127.0.7.3": "plain_user|t\n"} {
		cmd := exec.Command("psql", "-XqAtw", "-h", address, "-p", fmt.Sprint(server.Addr.Port()), "-U", "the-agent", "-d", server.Database,
			"-c", "select session_user, ssl from pg_stat_ssl where pid = pg_backend_pid()")
		if got := output(t, a.Captured(t, cmd)); got != want {
			t.Errorf("%s: psql printed %q, want %q", address, got, want)
		}
	}
	for _, want := range []string{`method=scram-sha-256`, `identity="CN=carla" method=cert`, `method=password`} {
		if !strings.Contains(server.Log(), want) {
			t.Errorf("the server's log has no %s", want)
		}
	}
}
