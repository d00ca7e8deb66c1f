package agentd_test

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/synthetic"
)

func TestStatusIsVerifiedByAConnectionFromInside(t *testing.T) {
	a := lab.StartAgentd(t, lab.Setup{})
	space := lab.NewNetns(t)
	begun := time.Now()
	for _, netns := range []string{"", space.Path} {
		startRun(t, a, netns, "cat")
	}
	list := workloads(t, a)
	if len(list) != 2 {
		t.Fatalf("%d workloads, want 2", len(list))
	}
	for _, w := range list {
		if !w.Verified || w.Seen.Before(begun) {
			t.Errorf("%s in %s is verified: %t, seen %s, problem %q; want it seen since %s", w.Name, w.Cgroup, w.Verified, w.Seen, w.Problem, begun)
		}
	}
	if sessions, err := a.Ctl(t, "sessions", "list", "-o", "json"); err != nil || strings.TrimSpace(sessions) != "[]" {
		t.Errorf("sessions are %s (%v), want none: agentd's own are not recorded", sessions, err)
	}
}

func TestAWorkloadWhoseConnectionsDoNotComeIsNotVerified(t *testing.T) {
	a := lab.StartAgentd(t, lab.Setup{})
	space := lab.NewNetns(t)
	startRun(t, a, space.Path, "cat")
	cutLoopback(t, space)
	list := workloads(t, a)
	if len(list) != 1 {
		t.Fatalf("%d workloads, want 1", len(list))
	}
	const want = "a connection from inside did not come to agentd: no answer within 1s"
	if w := list[0]; w.Verified || !w.Seen.IsZero() || !strings.Contains(w.Problem, want) {
		t.Errorf("verified: %t, seen %s, problem %q, want %q", w.Verified, w.Seen, w.Problem, want)
	}
}

func TestSyntheticAddressesAnswerNobodyElse(t *testing.T) {
	a := lab.StartAgentd(t, lab.Setup{})
	host, port, err := net.SplitHostPort(synthetic.Addresses[0].String())
	if err != nil {
		t.Fatal(err)
	}
	cmd := a.Captured(t, exec.Command("bash", "-c", "exec 3<>/dev/tcp/"+host+"/"+port+"; cat <&3"))
	out, _ := cmd.CombinedOutput() // how it ends is told by what it heard
	if text := strings.TrimSpace(string(out)); !strings.HasSuffix(text, "Connection reset by peer") {
		t.Errorf("a workload heard %q, want a reset", text)
	}
	if sessions, err := a.Ctl(t, "sessions", "list"); err != nil || !strings.Contains(sessions, "unlisted") {
		t.Errorf("sessions are %s (%v), want the one to %s", sessions, err, host)
	}
}

// cutLoopback makes every connection to agentd's listener in a namespace wait
// in vain.
func cutLoopback(t *testing.T, space *lab.Netns) {
	t.Helper()
	space.Do(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(lo)
	})
}

// startRun starts a program that copies its input to its output as a run of the
// daemon's, and returns once it does.
func startRun(t *testing.T, a *lab.Agentd, netns string, program ...string) {
	t.Helper()
	cmd := a.Captured(t, exec.Command(program[0], program[1:]...))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	lab.Start(t, cmd, netns, syscall.SIGTERM)
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func workloads(t *testing.T, a *lab.Agentd) (list []control.Workload) {
	t.Helper()
	text, err := a.Ctl(t, "workloads", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	return list
}
