package agentd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// TestDetachRemovesEveryTrace detaches after the daemon was killed, while it
// hangs, and by force while it is well.
func TestDetachRemovesEveryTrace(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	for _, tt := range []struct {
		name string
		stop func(*lab.Process)
		args []string
	}{
		{"killed", func(p *lab.Process) { p.Stop(syscall.SIGKILL) }, nil},
		{"hung", func(p *lab.Process) { _ = p.Cmd.Process.Signal(syscall.SIGSTOP) }, nil},
		{"well", func(*lab.Process) {}, []string{"--force"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			agentd := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server})
			k := converse(t, agentd, server)
			k.says(t, "captured")
			objects := kernelObjects(t, agentd)
			if out, err := detach(agentd); err == nil || !strings.Contains(out, "runs and is well") {
				t.Errorf("detach of a daemon that is well: %v\n%s", err, out)
			}
			k.says(t, "still captured")
			tt.stop(agentd.Process)
			if out, err := detach(agentd, tt.args...); err != nil {
				t.Fatalf("detach: %v\n%s", err, out)
			}
			out, err := exec.Command("bpftool", "cgroup", "tree", agentd.Root.Path).CombinedOutput()
			if err != nil || strings.Contains(string(out), "agentd_") {
				t.Errorf("programs are attached after detach: %v\n%s", err, out)
			}
			agentd.Process.Stop(syscall.SIGKILL)
			for _, o := range objects {
				if out, left := awaitGone(o); left {
					t.Errorf("%s %s is left after detach:\n%s", o.kind, o.id, out)
				}
			}
			k.kill()                                    // its connection is gone, or never will be
			if out, err := detach(agentd); err != nil { // what was in use then
				t.Errorf("detach again: %v\n%s", err, out)
			}
			for _, pattern := range []string{agentd.Socket + "*", filepath.Join(agentd.Root.Path, "agentd-runs")} {
				if left, _ := filepath.Glob(pattern); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			}
			if _, err := os.Stat(agentd.Log); err != nil {
				t.Errorf("the record: %v", err)
			}
		})
	}
}

func TestDetachTakesNoDaemonForHungThatVerifiesForLong(t *testing.T) {
	t.Parallel()
	agentd := lab.StartAgentd(t, lab.Setup{})
	for range 4 { // a second each
		space := lab.NewNetns(t)
		startRun(t, agentd, space.Path, "cat")
		cutLoopback(t, space)
	}
	if out, err := detach(agentd); err == nil || !strings.Contains(out, "runs and is well") {
		t.Errorf("detach of a daemon that is well: %v\n%s", err, out)
	}
}

func detach(a *lab.Agentd, args ...string) (string, error) {
	cmd := exec.Command(a.Program(), append([]string{"detach", "--config", filepath.Join(a.Dir, "agentd.yaml")}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
