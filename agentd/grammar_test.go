package agentd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/internal/lab"
)

// An agentd that may not change users still takes everything else from the
// processes that parse, and says what it could not.
func TestWithoutTheRightToChangeUsersWorkersAreStillConfined(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.NewAgentd(t, lab.Setup{Policy: lawful, Target: server})
	agentd.Wrap = []string{"setpriv", "--bounding-set=-setuid,-setgid,-setpcap", "--inh-caps=-all"}
	if err := agentd.Start(t); err != nil {
		t.Fatal(err)
	}
	if said := agentd.Said(); !strings.Contains(said, "less confined") || !strings.Contains(said, "become nobody") {
		t.Errorf("it says nothing of its workers' user:\n%s", said)
	}
	if got := output(t, agentd.Captured(t, psql(server, "select 'served';"))); got != "served\n" {
		t.Errorf("psql printed %q", got)
	}
	ready := 0
	for _, status := range workersOf(t, agentd) {
		if !strings.Contains(status, "Seccomp:\t2") { // it is still being started, and answers nobody yet
			continue
		}
		ready++
		for _, want := range []string{"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"} {
			if !strings.Contains(status, want) {
				t.Errorf("a worker has not %q:\n%s", want, status)
			}
		}
	}
	if ready == 0 {
		t.Error("no worker is confined")
	}
}

// A worker that would outlive agentd is one that nobody listens to. It ends
// even if it is stopped, and cannot see the end of its socket.
func TestWorkersEndWithAgentd(t *testing.T) {
	t.Parallel()
	agentd := lab.NewAgentd(t, lab.Setup{})
	if err := agentd.Start(t); err != nil {
		t.Fatal(err)
	}
	for pid := range workersOf(t, agentd) {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer func() {
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if n, err := unix.Poll(poll, int(10*time.Second/time.Millisecond)); n != 1 {
				t.Errorf("a worker outlives agentd by ten seconds (%v)", err)
			}
		}()
	}
	agentd.Process.Stop(syscall.SIGKILL)
}

// workersOf returns the grammar's workers of an agentd, with the status of each.
func workersOf(t *testing.T, a *lab.Agentd) map[int]string {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", a.Process.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	workers := map[int]string{}
	for _, path := range tasks {
		children, _ := os.ReadFile(path) // gone if the thread has ended
		for _, child := range strings.Fields(string(children)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				t.Fatal(err)
			}
			line, _ := os.ReadFile("/proc/" + child + "/cmdline")
			status, _ := os.ReadFile("/proc/" + child + "/status")
			if strings.Contains(string(line), "grammar-worker") {
				workers[pid] = string(status)
			}
		}
	}
	return workers
}
