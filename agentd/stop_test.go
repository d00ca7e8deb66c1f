package agentd_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/internal/lab"
)

func TestStopEndsAndRecordsWhatIsStillConnecting(t *testing.T) {
	t.Parallel()
	addr := silent(t)
	agentd := lab.StartAgentd(t, lab.Setup{Config: fmt.Sprintf(
		"targets: [{name: silent, address: %q, protocol: postgres}]\nlimits: {drain: 100ms}\n", addr)})
	client := agentd.Captured(t, exec.Command("psql", "-X", "-h", addr.Addr().String(), "-p", fmt.Sprint(addr.Port()), "-U", "agent", "orders"))
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for len(sessions(t, agentd)) == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("no session began:\n%s", agentd.Said())
		}
	}

	began := time.Now()
	agentd.Process.Stop(unix.SIGTERM)
	if err := agentd.Process.Wait(); err != nil {
		t.Errorf("agentd ended with %v:\n%s", err, agentd.Said())
	}
	if took := time.Since(began); took > 5*time.Second { // dialling alone may take ten
		t.Errorf("agentd took %v to stop", took)
	}
	if err := client.Wait(); err == nil {
		t.Error("psql connected to a server that does not answer")
	}
	list := sessions(t, agentd, "--dir", agentd.Log)
	if len(list) != 1 || list[0].State != "ended" || !strings.Contains(list[0].Outcome, "stopping") {
		t.Errorf("recorded %+v, want one session that ended because agentd was stopping", list)
	}
}

type listed struct{ ID, State, Outcome, Target, Host, Address string }

func sessions(t *testing.T, a *lab.Agentd, args ...string) (list []listed) {
	t.Helper()
	out, err := a.Ctl(t, append([]string{"sessions", "list", "-o", "json"}, args...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// silent returns an address where nobody answers: the queue of its listener is
// full, and the kernel then drops whatever asks.
func silent(t *testing.T) netip.AddrPort {
	t.Helper()
	socket := func() int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	listener := socket()
	if err := unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(listener, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(listener)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 { // more than fit
		if err := unix.Connect(socket(), name); err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
	}
	at := name.(*unix.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port))
}
