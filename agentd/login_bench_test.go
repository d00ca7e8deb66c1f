package agentd_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// BenchmarkLogin tells what a connection costs, from connect to the answer to
// its one statement: to the server itself, through agentd with the client's own
// login, and with agentd's.
func BenchmarkLogin(b *testing.B) {
	server := lab.Postgres(b, lab.Setting("log_statement=none"))
	script := b.TempDir() + "/script"
	if err := os.WriteFile(script, []byte("select 1;\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	target := fmt.Sprintf("targets: [{name: orders, address: %q, protocol: postgres, default: allow", server.Addr)
	own := lab.StartAgentd(b, lab.Setup{Policy: judged, Config: target + "}]\n"})
	agentds := lab.StartAgentd(b, lab.Setup{Policy: judged, Config: target + ", credential: own}]\n" +
		"credentials: [{name: own, user: " + server.User + ", password: {file: " + secretFile(b, server.Password, 0o600) + "}}]\n"})
	for _, way := range []struct {
		name, user string
		agentd     *lab.Agentd
	}{{"direct", server.User, nil}, {"the client's", server.User, own}, {"agentd's", "nobody", agentds}} {
		b.Run(way.name, func(b *testing.B) {
			cmd := exec.Command("pgbench", "-n", "-C", "-c", "4", "-j", "2", "-t", fmt.Sprint((b.N+3)/4), "-f", script)
			cmd.Env = append(os.Environ(), "PGHOST="+server.Addr.Addr().String(), fmt.Sprintf("PGPORT=%d", server.Addr.Port()),
				"PGUSER="+way.user, "PGPASSWORD="+server.Password, "PGDATABASE="+server.Database)
			if way.agentd != nil {
				cmd = way.agentd.Captured(b, cmd)
			}
			out, err := cmd.CombinedOutput()
			if err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				var tps float64
				if n, _ := fmt.Sscanf(line, "tps = %f", &tps); n == 1 {
					b.ReportMetric(tps, "connections/s")
				}
			}
		})
	}
}
