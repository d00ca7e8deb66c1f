package capture_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/internal/lab"
)

func TestTenThousandConnectionsLeaveNothing(t *testing.T) {
	f := start(t, capture.Options{})
	group := f.workload(t, "agent")
	c := startClient(t, group, nil)
	s := serve(t, "127.0.0.1", nil)
	if got := c.do(t, request{Dest: s.addr}); got.Err != "" { // makes what is made once
		t.Fatal(got.Err)
	}
	f.accepted(t)
	await(t, "the first connection to end", func() bool { return entries(t, f.root) == 0 })
	files, goroutines := openFiles(t), runtime.NumGoroutine()

	n := 10_000 / lab.Slower(t)
	if got := c.do(t, request{Dest: s.addr, Count: n, At: 64}); got.Err != "" {
		t.Fatal(got.Err)
	}
	for range n {
		conn := f.accepted(t)
		if conn.Direct || conn.Dest != s.addr || conn.Peer.TGID != c.pid || conn.Peer.Captured != group.ID {
			t.Fatalf("accepted %+v, want a connection of pid %d to %s", conn, c.pid, s.addr)
		}
	}
	f.none(t)
	await(t, "connections to end", func() bool {
		return openFiles(t) <= files && runtime.NumGoroutine() <= goroutines && entries(t, f.root) == 0
	})
}

// entries counts what the maps that hold connections have in them, the maps
// found as anyone would find them.
func entries(t testing.TB, root *lab.Cgroup) int {
	t.Helper()
	n := 0
	for id := range visible(t, root).maps {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			t.Fatal(err)
		}
		info, err := m.Info()
		if err != nil {
			t.Fatal(err)
		}
		switch info.Name {
		case "agentd_flows", "agentd_locals", "agentd_mptcp":
			key, value := make([]byte, info.KeySize), make([]byte, info.ValueSize)
			for all := m.Iterate(); all.Next(&key, &value); {
				n++
			}
		}
		m.Close()
	}
	return n
}

func openFiles(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func TestWaitingForABlackHoleHoldsNoThread(t *testing.T) {
	near, far := lab.NewNetns(t), lab.NewNetns(t)
	cable := lab.Connect(t, near, "10.78.0.1", far, "10.78.0.2")
	hole := netip.MustParseAddrPort("10.78.0.3:5432")
	near.Do(t, func() error { return swallow(cable, hole.Addr()) })

	f := open(t, lab.NewCgroup(t), capture.Options{})
	const n = 100
	if got := startClient(t, f.workload(t, "agent", near), near).do(t, request{Dest: hole, Count: n, At: n, Abrupt: true}); got.Err != "" {
		t.Fatal(got.Err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var (
		dials   sync.WaitGroup
		waiting = make(chan error, n)
	)
	before := threads(t)
	for range n {
		conn := f.taken(t)
		dials.Go(func() {
			_, err := f.Dial(ctx, conn)
			waiting <- err
		})
	}
	await(t, "the SYNs to be under way", func() bool { return synSent(t, near) == n })
	if now := threads(t); now > before+20 {
		t.Errorf("%d threads while %d dials wait, %d before", now, n, before)
	}
	cancel()
	dials.Wait()
	for range n {
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Fatalf("a dial ended with %v, want context.Canceled", err)
		}
	}
}

// swallow makes everything that is sent to addr through a link go to a station
// that does not exist.
func swallow(name string, addr netip.Addr) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.NeighAdd(&netlink.Neigh{
		LinkIndex:    link.Attrs().Index,
		State:        netlink.NUD_PERMANENT,
		IP:           addr.AsSlice(),
		HardwareAddr: []byte{2, 0, 0, 0, 0, 0x99},
	})
}

func threads(t testing.TB) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(tasks)
}

// synSent counts the sockets in a namespace that wait for an answer.
func synSent(t testing.TB, netns *lab.Netns) (n int) {
	t.Helper()
	netns.Do(t, func() error {
		// A thread's own view: /proc/net is that of the main thread.
		text, err := os.ReadFile("/proc/thread-self/net/tcp")
		for line := range strings.Lines(string(text)) {
			const state = 3
			if fields := strings.Fields(line); len(fields) > state && fields[state] == "02" {
				n++
			}
		}
		return err
	})
	return n
}

func TestADialEndsWithItsDeadline(t *testing.T) {
	near, far := lab.NewNetns(t), lab.NewNetns(t)
	cable := lab.Connect(t, near, "10.79.0.1", far, "10.79.0.2")
	hole := netip.MustParseAddrPort("10.79.0.3:5432")
	near.Do(t, func() error { return swallow(cable, hole.Addr()) })
	f := open(t, lab.NewCgroup(t), capture.Options{})
	c := startClient(t, f.workload(t, "agent", near), near)
	c.do(t, request{Dest: hole, Abrupt: true})
	conn := f.taken(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := f.Dial(ctx, conn)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "dial "+hole.String()) {
		t.Errorf("the dial ended with %v, want one to %s with its deadline", err, hole)
	}
}

func TestADialToAClosedPortSaysSo(t *testing.T) {
	f := open(t, lab.NewCgroup(t), capture.Options{})
	c := startClient(t, f.workload(t, "agent"), nil)
	closed := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 1)
	c.do(t, request{Dest: closed, Abrupt: true})
	_, err := f.Dial(context.Background(), f.taken(t))
	if want := "dial 127.0.0.1:1: connection refused"; err == nil || err.Error() != want {
		t.Errorf("the dial ended with %v, want %q", err, want)
	}
}
