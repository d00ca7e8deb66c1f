package agentd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// learning is a policy that asks for what only the server can tell.
const learning = `
rules:
  - name: reads
    on: request
    when: sql.tables.all(t, t != "public.nobody")
    do: allow
`

// BenchmarkRecordSize tells how many bytes the record of a statement of pgbench
// takes, as it is and as zstd leaves it, and what it costs a connection that
// agentd asks the server what names mean.
func BenchmarkRecordSize(b *testing.B) {
	server := lab.Postgres(b, lab.Setting("log_statement=none"))
	script := b.TempDir() + "/script"
	if err := os.WriteFile(script, []byte("select 1;\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	pgbench := func(args ...string) *exec.Cmd {
		cmd := exec.Command("pgbench", args...)
		cmd.Env = append(os.Environ(), "PGHOST="+server.Addr.Addr().String(), fmt.Sprintf("PGPORT=%d", server.Addr.Port()),
			"PGUSER="+server.User, "PGPASSWORD="+server.Password, "PGDATABASE="+server.Database)
		return cmd
	}
	if out, err := pgbench("-i", "-q").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for _, policy := range []struct{ name, text, config string }{{"words", judged, ""}, {"names", learning, ""}, {"results", judged, "record: {results: 16KiB}\n"}} {
		for _, way := range []struct {
			name       string
			args       []string
			statements int
		}{
			{"transactions", []string{"-n", "-c", "4"}, 7},
			{"prepared", []string{"-n", "-c", "4", "-M", "prepared"}, 7},
			{"selects", []string{"-n", "-S", "-c", "4"}, 1},
			{"connections", []string{"-n", "-C", "-c", "4", "-f", script}, 1},
		} {
			b.Run(policy.name+"/"+way.name, func(b *testing.B) {
				agentd := lab.StartAgentd(b, lab.Setup{Policy: policy.text, Target: server, Config: policy.config})
				out, err := agentd.Captured(b, pgbench(append(way.args, "-t", fmt.Sprint((b.N+3)/4))...)).CombinedOutput()
				if err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
				for line := range strings.Lines(string(out)) {
					var tps float64
					if n, _ := fmt.Sscanf(line, "tps = %f", &tps); n == 1 {
						b.ReportMetric(tps, "tps")
					}
				}
				agentd.Process.Stop(syscall.SIGTERM)
				files, err := filepath.Glob(agentd.Log + "/*.seg")
				if err != nil || len(files) == 0 {
					b.Fatal(err, "no segments")
				}
				var whole, packed int
				for _, f := range files {
					data, err := os.ReadFile(f)
					if err != nil {
						b.Fatal(err)
					}
					small, err := exec.Command("zstd", "-qc", f).Output()
					if err != nil {
						b.Fatal(err)
					}
					whole, packed = whole+len(data), packed+len(small)
				}
				n := float64((b.N + 3) / 4 * 4 * way.statements)
				b.ReportMetric(float64(whole)/n, "bytes/statement")
				b.ReportMetric(float64(packed)/n, "zstd-bytes/statement")
			})
		}
	}
}
