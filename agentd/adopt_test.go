package agentd_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/internal/lab"
)

// TestRunsOutliveTheDaemon ends the daemon while a run goes on: it must be
// captured by the next one, and its cgroup gone once it has ended.
func TestRunsOutliveTheDaemon(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	for _, tt := range []struct {
		name string
		stop unix.Signal
	}{
		{"killed", unix.SIGKILL},
		{"stopped", unix.SIGTERM},
	} {
		t.Run(tt.name, func(t *testing.T) {
			agentd := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server})
			query := psql(server)
			// The script waits for a line before it connects.
			client := exec.Command("sh", append([]string{"-c", `echo ready; read go; exec "$0" "$@" -c "select 'seen'"`}, query.Args...)...)
			client.Env = query.Env
			client = agentd.Captured(t, client)
			in, err := client.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := client.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			client.Stderr = os.Stderr
			if err := client.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(out)
			expectLine(t, lines, "ready\n")

			agentd.Process.Stop(tt.stop)
			<-agentd.Process.Done()
			if err := agentd.Start(t); err != nil {
				t.Fatal(err)
			}
			if _, err := in.Write([]byte("go\n")); err != nil {
				t.Fatal(err)
			}
			in.Close()
			expectLine(t, lines, "seen\n")
			if err := client.Wait(); err != nil {
				t.Errorf("the run ended with %v", err)
			}
			if list := sessions(t, agentd); len(list) != 1 || list[0].State != "ended" {
				t.Errorf("recorded %+v, want the one session of the run", list)
			}
			runs := filepath.Join(agentd.Root.Path, "agentd-runs", "*")
			for deadline := time.Now().Add(10 * time.Second); ; {
				left, err := filepath.Glob(filepath.Join(runs, "cgroup.procs"))
				if err != nil || len(left) == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("left behind: %v", left)
				}
				<-time.After(50 * time.Millisecond) // the daemon looks every second
			}
		})
	}
}

func expectLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	if got, err := r.ReadString('\n'); got != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}
