package capture_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/bpf"
)

// A pinned is a daemon of its own, whose kernel side outlives it, with a client
// in each of two workloads.
type pinned struct {
	root            *lab.Cgroup
	pins            string
	daemon          *lab.Process
	refused, bypass *client
	refusedID       uint64
	server          *server
}

func startPinned(t testing.TB) *pinned {
	t.Helper()
	root := lab.NewCgroup(t)
	p := &pinned{root: root, pins: lab.Pins(t), server: serve(t, "127.0.0.1", nil)}
	closed, open := root.Child(t, "closed"), root.Child(t, "open")
	p.daemon, _ = startDaemon(t, nil, daemonSetup{Root: root.Path, Pins: p.pins, Workloads: []capture.Workload{
		{Cgroup: closed.Path, Name: "closed", Source: "test"},
		{Cgroup: open.Path, Name: "open", Source: "test", WhenDown: capture.Bypass},
	}})
	p.refused, p.bypass, p.refusedID = startClient(t, closed, nil), startClient(t, open, nil), closed.ID
	for _, c := range []*client{p.refused, p.bypass} {
		if got := c.do(t, request{Dest: p.server.addr}); got.Err != "" {
			t.Fatalf("before anything happened: %s", got.Err)
		}
	}
	return p
}

// wantsAgentdAway fails the test unless a connection of the one workload is refused, and
// of the other goes to the server directly.
func (p *pinned) wantsAgentdAway(t testing.TB) {
	t.Helper()
	if got := p.refused.do(t, request{Dest: p.server.addr}); got.Err != "connect: connection refused" {
		t.Errorf("the workload to refuse: %+v, want connection refused", got)
	}
	got := p.bypass.do(t, request{Dest: p.server.addr})
	if got.Err != "" || got.Local.String() != got.Seen {
		t.Errorf("the workload to let through: %+v", got)
	}
}

func (p *pinned) kill() {
	p.daemon.Stop(syscall.SIGKILL)
}

// open opens what the daemon left, and detaches when the test ends.
func (p *pinned) open(t testing.TB) *fixture {
	t.Helper()
	f := open(t, p.root, capture.Options{Pins: p.pins})
	f.forward()
	return f
}

func TestWithoutAgentdEachWorkloadGetsWhatItAskedFor(t *testing.T) {
	p := startPinned(t)
	p.kill()
	p.wantsAgentdAway(t)
	f := p.open(t)
	if got := f.Counters(); got["without_listener"] != 2 || got["bypassed"] != 1 || got["redirected"] != 2 {
		t.Errorf("counted %v, want 2 redirected, 2 without listener, 1 of them bypassed", got)
	}
}

func TestTheNextAgentdTakesOver(t *testing.T) {
	p := startPinned(t)
	before := visible(t, p.root)
	p.kill()
	f := p.open(t)
	for _, c := range []*client{p.refused, p.bypass} {
		if got := c.do(t, request{Dest: p.server.addr}); got.Err != "" || got.Peer != p.server.addr {
			t.Errorf("after taking over: %+v", got)
		}
		if conn := f.accepted(t); conn.Peer.TGID != c.pid {
			t.Errorf("accepted a connection of pid %d, want %d", conn.Peer.TGID, c.pid)
		}
	}
	if name, source := f.Names(p.refusedID); name != "closed" || source != "test" {
		t.Errorf("the workload's name is %q from %q, want it kept", name, source)
	}
	for _, w := range f.Workloads() {
		if w.Problem != "" || w.Processes != 1 {
			t.Errorf("workload %s has %d processes and the problem %q, want 1 and none", w.Name, w.Processes, w.Problem)
		}
	}
	after := visible(t, p.root)
	if len(after.links) != len(before.links) {
		t.Errorf("%d links are attached, want %d as before", len(after.links), len(before.links))
	}
	for id := range after.links {
		if !before.links[id] {
			t.Errorf("link %d is new, want the old ones kept", id)
		}
	}
}

func TestASquatterOnTheListenersPortGetsNothing(t *testing.T) {
	p := startPinned(t)
	p.kill()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p.moveListener(t, uint16(l.Addr().(*net.TCPAddr).Port))
	p.wantsAgentdAway(t)
	if err := l.(*net.TCPListener).SetDeadline(aMomentAgo); err != nil {
		t.Fatal(err)
	}
	if conn, err := l.Accept(); err == nil {
		t.Errorf("the squatter has got a connection from %s", conn.RemoteAddr())
	}
	if got := p.open(t).Counters(); got["squatted"] != 2 {
		t.Errorf("counted %v, want 2 squatted", got)
	}
}

func TestAHungAgentdIsAwayToo(t *testing.T) {
	p := startPinned(t)
	if err := p.daemon.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	daemon, err := ebpf.LoadPinnedMap(filepath.Join(p.pins, bpf.CaptureMapAgentdDaemon), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	var said bpf.CaptureDaemon
	if err := daemon.Lookup(uint32(0), &said); err != nil {
		t.Fatal(err)
	}
	said.Beat -= 11e9 // as if eleven seconds had passed
	if err := daemon.Put(uint32(0), &said); err != nil {
		t.Fatal(err)
	}
	p.wantsAgentdAway(t)
	p.kill()
	p.open(t)
}

// moveListener makes port the one that the kernel side knows, as if whoever
// listens there had got the dead daemon's.
func (p *pinned) moveListener(t testing.TB, port uint16) {
	t.Helper()
	ports, err := ebpf.LoadPinnedMap(filepath.Join(p.pins, bpf.CaptureMapAgentdPorts), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ports.Close()
	var (
		cookie uint64
		known  bpf.CapturePorts
	)
	if !ports.Iterate().Next(&cookie, &known) {
		t.Fatal("the daemon had no listener")
	}
	known.V4 = port
	if err := ports.Put(cookie, &known); err != nil {
		t.Fatal(err)
	}
}

func TestAgentdItselfIsNeverCaptured(t *testing.T) {
	root := lab.NewCgroup(t)
	s := serve(t, "127.0.0.1", nil)
	home := root.Child(t, "agentd")
	setup := daemonSetup{
		Root:      root.Path,
		Workloads: []capture.Workload{{Cgroup: root.Path, Name: "everything"}},
		Dial:      &request{Dest: s.addr},
	}
	_, got := startDaemon(t, home, setup)
	if got.Err != "" || got.Local.String() != got.Seen || got.Peer != s.addr {
		t.Errorf("agentd's own connection: %+v", got)
	}
	if got := startClient(t, root.Child(t, "agent"), nil).do(t, request{Dest: s.addr}); got.Err != "" || got.Seen == "" {
		t.Errorf("a captured connection beside it: %+v", got)
	}
}

func TestAgentdsOwnCgroupCannotBeAWorkload(t *testing.T) {
	root := lab.NewCgroup(t)
	cmd := root.Put(exec.Command("/proc/self/exe"))
	cmd.Env = append(os.Environ(), daemonEnv+`={"Root":"`+root.Path+`","Workloads":[{"Cgroup":"`+root.Path+`"}]}`)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "start agentd in a cgroup of its own") {
		t.Errorf("it ended with %v and said %q", err, out)
	}
}

func TestASecondAgentdIsRefused(t *testing.T) {
	pins := lab.Pins(t)
	f := start(t, capture.Options{Pins: pins})
	for _, tt := range []struct {
		name string
		capture.Options
		want string
	}{
		{"the same pins", capture.Options{Root: f.root.Path, Pins: pins}, "another agentd holds " + pins + ": stop it first"},
		{"other pins", capture.Options{Root: f.root.Path, Pins: pins + "-2"}, "another agentd is attached to " + f.root.Path},
		{"no pins", capture.Options{Root: f.root.Path}, "another agentd is attached to " + f.root.Path},
	} {
		c, err := capture.Open(tt.Options)
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	c := startClient(t, f.workload(t, "agent"), nil)
	if got := c.do(t, request{Dest: serve(t, "127.0.0.1", nil).addr}); got.Err != "" {
		t.Errorf("the first one's connections: %s", got.Err)
	}
}

func TestDetachLeavesNothing(t *testing.T) {
	for _, pins := range []string{"", lab.Pins(t)} {
		root := lab.NewCgroup(t)
		c, err := capture.Open(capture.Options{Root: root.Path, Pins: pins})
		if err != nil {
			t.Fatal(err)
		}
		group := root.Child(t, "agent")
		if _, err := c.Add(capture.Workload{Cgroup: group.Path, Name: "agent"}); err != nil {
			t.Fatal(err)
		}
		before := visible(t, root)
		if len(before.links) == 0 || len(before.programs) != len(before.links) || len(before.maps) == 0 {
			t.Fatalf("visible before: %+v, want as many links as programs, and maps", before)
		}
		if err := c.Detach(); err != nil {
			t.Fatal(err)
		}
		before.awaitGone(t)
		if pins != "" {
			if _, err := os.Stat(pins); !os.IsNotExist(err) {
				t.Errorf("stat %s: %v, want that it does not exist", pins, err)
			}
		}
		got := startClient(t, group, nil).do(t, request{Dest: serve(t, "127.0.0.1", nil).addr})
		if got.Err != "" || got.Local.String() != got.Seen {
			t.Errorf("a connection afterwards: %+v", got)
		}
	}
}

func TestNamespacesComeAndGo(t *testing.T) {
	f := start(t, capture.Options{})
	group := f.workload(t, "agent", lab.NewNetns(t))
	netns := lab.NewNetns(t)
	s := serve(t, "127.0.0.1", netns)
	c := startClient(t, group, netns)
	if got := c.do(t, request{Dest: s.addr}); got.Err != "" {
		t.Errorf("the first connection from a namespace: %s", got.Err)
	}
	conn := f.accepted(t)
	if conn.Unknown || conn.Peer.TGID != c.pid {
		t.Errorf("accepted %+v, want a known connection of pid %d", conn, c.pid)
	}

	c.end()
	if err := f.Reconcile(); err != nil {
		t.Fatal(err)
	}
	netns.Do(t, func() error {
		if conn, err := net.Dial("tcp", conn.Local.String()); err == nil {
			conn.Close()
			t.Error("agentd still listens where no captured process is left")
		}
		return nil
	})

	if err := unix.Rmdir(group.Path); err != nil {
		t.Fatal(err)
	}
	if err := f.Reconcile(); err != nil {
		t.Fatal(err)
	}
	if got := f.Workloads(); len(got) != 0 {
		t.Errorf("workloads are %+v, want none after the cgroup went", got)
	}
}
