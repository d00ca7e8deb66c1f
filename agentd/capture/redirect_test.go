package capture_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/identity"
	"agentd.dev/agentd/internal/lab"
)

func TestEveryWayToConnectIsRedirected(t *testing.T) {
	f := start(t, capture.Options{})
	group := f.workload(t, "agent")
	c := startClient(t, group, nil)
	v4, v6 := serve(t, "127.0.0.1", nil), serve(t, "::1", nil)
	mapped := netip.AddrPortFrom(netip.AddrFrom16(v4.addr.Addr().As16()), v4.addr.Port())
	everywhere := netip.AddrPortFrom(netip.IPv4Unspecified(), v4.addr.Port())
	for _, tt := range []struct {
		name string
		request
	}{
		{"TCP over IPv4", request{Dest: v4.addr}},
		{"TCP over IPv6", request{Dest: v6.addr}},
		{"IPv4 from an IPv6 socket", request{Dest: mapped}},
		{"the unspecified address", request{Dest: everywhere}},
		{"MPTCP over IPv4", request{Dest: v4.addr, Protocol: unix.IPPROTO_MPTCP}},
		{"MPTCP over IPv6", request{Dest: v6.addr, Protocol: unix.IPPROTO_MPTCP}},
		{"MPTCP over IPv4 from an IPv6 socket", request{Dest: mapped, Protocol: unix.IPPROTO_MPTCP}},
		{"TCP Fast Open", request{Dest: v4.addr, FastOpen: true}},
		{"connected again", request{Dest: v4.addr, Again: true}},
		{"bound to an address", request{Dest: v4.addr, Bind: netip.MustParseAddr("127.0.0.3")}},
		{"bound to an interface", request{Dest: v4.addr, Device: "lo"}},
	} {
		got := c.do(t, tt.request)
		if got.Err != "" {
			t.Errorf("%s: %s", tt.name, got.Err)
			continue
		}
		if tt.Again {
			f.accepted(t)
		}
		conn := f.accepted(t)
		want := netip.AddrPortFrom(tt.Dest.Addr().Unmap(), tt.Dest.Port())
		if conn.Dest != want || conn.Direct {
			t.Errorf("%s: accepted for %s (direct: %t), want %s", tt.name, conn.Dest, conn.Direct, want)
		}
		if conn.Peer.TGID != c.pid || conn.Peer.Captured != group.ID || conn.Peer.Cgroup != group.ID {
			t.Errorf("%s: it is of pid %d in cgroup %d captured by %d, want %d, %d and %d", tt.name,
				conn.Peer.TGID, conn.Peer.Cgroup, conn.Peer.Captured, c.pid, group.ID, group.ID)
		}
		if got.Peer != tt.Dest {
			t.Errorf("%s: getpeername shows %s, want %s", tt.name, got.Peer, tt.Dest)
		}
		if local := netip.AddrPortFrom(got.Local.Addr().Unmap(), got.Local.Port()); local.String() != got.Seen {
			t.Errorf("%s: getsockname shows %s, want what the server sees, %s", tt.name, got.Local, got.Seen)
		}
		if tt.Bind.IsValid() && netip.MustParseAddrPort(got.Seen).Addr() != tt.Bind {
			t.Errorf("%s: the server sees %s, want %s", tt.name, got.Seen, tt.Bind)
		}
	}
	f.none(t)
}

func TestAConnectionIsAttributedToItsProcess(t *testing.T) {
	f := start(t, capture.Options{})
	group := f.workload(t, "agent")
	below := group.Child(t, "worker.service").Child(t, "inner")
	c := startClient(t, below, nil)
	if got := c.do(t, request{Dest: serve(t, "127.0.0.1", nil).addr}); got.Err != "" {
		t.Fatal(got.Err)
	}
	id, err := identity.Of(context.Background(), identity.Sources(f.Names, nil), f.accepted(t).Peer)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what      string
		got, want any
	}{
		{"workload", id.Workload, "agent"},
		{"source", id.Source, "test"},
		{"cgroup", f.Hierarchy() + id.Cgroup, below.Path},
		{"cgroup id", id.CgroupID, below.ID},
		{"unit", id.Unit, "worker.service"},
		{"pid", id.Process.PID, c.pid},
		{"uid", id.Process.UID, uint32(os.Getuid())},
		{"exe", id.Process.Exe, exe},
		{"comm", id.Process.Comm, "exe"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s is %v, want %v", tt.what, tt.got, tt.want)
		}
	}
}

func TestAWorkloadBesideIsLeftAlone(t *testing.T) {
	f := start(t, capture.Options{})
	f.workload(t, "agent")
	c := startClient(t, f.root.Child(t, "bystander"), nil)
	s := serve(t, "127.0.0.1", nil)
	got := c.do(t, request{Dest: s.addr})
	if got.Err != "" || got.Peer != s.addr || got.Local.String() != got.Seen {
		t.Errorf("a bystander's connection: %+v", got)
	}
	f.none(t)
}

func TestARemovedWorkloadIsLeftAlone(t *testing.T) {
	f := start(t, capture.Options{})
	group := f.workload(t, "agent")
	c := startClient(t, group, nil)
	if err := f.Remove(group.ID); err != nil {
		t.Fatal(err)
	}
	if got := c.do(t, request{Dest: serve(t, "127.0.0.1", nil).addr}); got.Err != "" {
		t.Error(got.Err)
	}
	f.none(t)
	if got := f.Workloads(); len(got) != 0 {
		t.Errorf("workloads are %v, want none", got)
	}
}

func TestASocketStaysCapturedWhenItIsHandedOn(t *testing.T) {
	f := start(t, capture.Options{})
	group := f.workload(t, "agent")
	maker, taker := startClient(t, group, nil), startClient(t, f.root.Child(t, "bystander"), nil)
	s := serve(t, "127.0.0.1", nil)
	made := maker.do(t, request{Keep: true})
	if got := taker.do(t, request{Dest: s.addr, Borrow: [2]int{maker.pid, made.FD}}); got.Err != "" {
		t.Fatal(got.Err)
	}
	conn := f.accepted(t)
	if conn.Peer.Captured != group.ID || conn.Peer.TGID != taker.pid || conn.Dest != s.addr {
		t.Errorf("captured by cgroup %d, of pid %d, to %s; want %d, %d and %s",
			conn.Peer.Captured, conn.Peer.TGID, conn.Dest, group.ID, taker.pid, s.addr)
	}
}

func TestConnectingToTheListenerIsDirect(t *testing.T) {
	f := start(t, capture.Options{})
	c := startClient(t, f.workload(t, "agent"), nil)
	c.do(t, request{Dest: serve(t, "127.0.0.1", nil).addr})
	listener := f.accepted(t).Local

	stranger, err := net.Dial("tcp", listener.String())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	conn := f.accepted(t)
	if !conn.Direct || conn.Dest != listener || conn.Peer.TGID != 0 {
		t.Errorf("a stranger's connection: %+v, want a direct one to %s", conn, listener)
	}

	if got := c.do(t, request{Dest: listener}); got.Err == "" {
		t.Errorf("the workload's connection to the listener was answered: %+v", got)
	}
	conn = f.accepted(t)
	if !conn.Direct || conn.Dest != listener || conn.Peer.TGID != c.pid {
		t.Errorf("the workload's own connection: %+v, want a direct one to %s of pid %d", conn, listener, c.pid)
	}
}

func TestAClientThatLeavesAtOnceIsAttributed(t *testing.T) {
	f := start(t, capture.Options{})
	c := startClient(t, f.workload(t, "agent"), nil)
	s := serve(t, "127.0.0.1", nil)
	const n = 200
	if got := c.do(t, request{Dest: s.addr, Count: n, At: 8, Abrupt: true}); got.Err != "" {
		t.Fatal(got.Err)
	}
	for range n {
		if conn := f.accepted(t); conn.Direct || conn.Dest != s.addr {
			t.Fatalf("accepted for %s (direct: %t), want %s", conn.Dest, conn.Direct, s.addr)
		}
		if line := <-s.asked; line != question {
			t.Fatalf("the server was asked %q, want %q", line, question)
		}
	}
}

func TestDialsComeFromTheWorkloadsNamespace(t *testing.T) {
	for _, tt := range []struct{ name, near, far string }{
		{"IPv4", "10.77.0.1", "10.77.0.2"},
		{"IPv6", "fd77::1", "fd77::2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := lab.NewNetns(t), lab.NewNetns(t)
			cable := lab.Connect(t, near, tt.near, far, tt.far)
			f := start(t, capture.Options{})
			c := startClient(t, f.workload(t, "agent", near), near)
			s := serve(t, tt.far, far)
			for _, device := range []string{"", cable} {
				got := c.do(t, request{Dest: s.addr, Device: device})
				if got.Err != "" {
					t.Fatalf("device %q: %s", device, got.Err)
				}
				f.accepted(t)
				if seen := netip.MustParseAddrPort(got.Seen).Addr().String(); seen != tt.near {
					t.Errorf("device %q: the server sees %s, want %s", device, seen, tt.near)
				}
				if got.Peer != s.addr || got.Local.String() != got.Seen {
					t.Errorf("device %q: the client sees itself as %s and the server as %s, want %s and %s", device, got.Local, got.Peer, got.Seen, s.addr)
				}
			}
		})
	}
}
