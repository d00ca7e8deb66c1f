package capture_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/internal/lab"
)

// received returns in as another process would receive it.
func received(t testing.TB, in *capture.Inheritance) *capture.Inheritance {
	t.Helper()
	dup := func(fd int) *os.File {
		other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(other), "received")
	}
	there := *in
	there.Listeners = slices.Clone(in.Listeners)
	for i := range there.Listeners {
		l := &there.Listeners[i]
		for _, fd := range l.FDs() {
			l.Files = append(l.Files, dup(fd))
		}
	}
	there.Pins = dup(int(in.Pins.Fd()))
	return &there
}

// waiting starts connections of clients that nobody takes yet, and returns what
// comes of each.
func waiting(t testing.TB, clients []*client, s *server) []chan response {
	var all []chan response
	for _, c := range clients {
		got := make(chan response, 1)
		go func() { got <- c.do(t, request{Dest: s.addr}) }()
		all = append(all, got)
	}
	return all
}

func TestWhatWaitsIsTakenByTheAgentdThatTakesOver(t *testing.T) {
	pins, netns := lab.Pins(t), lab.NewNetns(t)
	first := start(t, capture.Options{Pins: pins})
	group := first.workload(t, "agent", netns)
	ours, theirs := serve(t, "127.0.0.1", nil), serve(t, "::1", netns)
	var here, there []*client
	for range 10 {
		here = append(here, startClient(t, group, nil))
		there = append(there, startClient(t, group, netns))
	}
	if err := first.Reconcile(); err != nil { // processes have come, in our namespace too
		t.Fatal(err)
	}

	if err := first.Pause(); err != nil {
		t.Fatal(err)
	}
	began := append(waiting(t, here, ours), waiting(t, there, theirs)...)
	for first.Counters()["redirected"] < 20 { // the last of them
	}
	second, err := capture.Open(capture.Options{Root: first.root.Path, Pins: pins, From: received(t, first.Bequest())})
	if err != nil {
		t.Fatal(err)
	}
	first.Leave()
	if err := second.Resume(); err != nil {
		t.Fatal(err)
	}
	f := &fixture{Capture: second, root: first.root, conns: make(chan capture.Conn, 100)}
	t.Cleanup(func() {
		if err := second.Detach(); err != nil {
			t.Errorf("detach: %v", err)
		}
		f.forwarding.Wait()
	})
	f.forward()
	for i, got := range began {
		if r := <-got; r.Err != "" {
			t.Errorf("connection %d, which waited, failed: %s", i, r.Err)
		}
	}
	seen := map[int]bool{}
	for range began {
		conn := f.accepted(t)
		if conn.Direct {
			t.Error("nobody knows any more where a connection was going")
		}
		seen[conn.Peer.TGID] = true
	}
	if len(seen) != len(began) {
		t.Errorf("the connections are of %d processes, want %d", len(seen), len(began))
	}
	for i, c := range []*client{here[0], there[0]} {
		if got := c.do(t, request{Dest: []*server{ours, theirs}[i].addr}); got.Err != "" {
			t.Errorf("a new connection: %s", got.Err)
		}
	}
	for _, w := range second.Workloads() {
		if w.Problem != "" || w.Processes != 20 {
			t.Errorf("workload %s has %d processes and the problem %q, want 20 and none", w.Name, w.Processes, w.Problem)
		}
	}
}

// TestATakeOverThatFailsLosesNothing gives everything to another agentd, which
// ends before it has taken over.
func TestATakeOverThatFailsLosesNothing(t *testing.T) {
	pins := lab.Pins(t)
	f := start(t, capture.Options{Pins: pins})
	c := startClient(t, f.workload(t, "agent"), nil)
	s := serve(t, "127.0.0.1", nil)
	for round := range 3 {
		if err := f.Pause(); err != nil {
			t.Fatal(err)
		}
		got := waiting(t, []*client{c}, s)[0]
		for f.Counters()["redirected"] <= int64(2*round) {
		}
		other, err := capture.Open(capture.Options{Root: f.root.Path, Pins: pins, From: received(t, f.Bequest())})
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Detach(); err != nil { // which must leave everything
			t.Fatal(err)
		}
		if err := f.Resume(); err != nil {
			t.Fatal(err)
		}
		if r := <-got; r.Err != "" {
			t.Errorf("round %d: what waited failed: %s", round, r.Err)
		}
		if r := c.do(t, request{Dest: s.addr}); r.Err != "" {
			t.Errorf("round %d: a new connection: %s", round, r.Err)
		}
	}
	for _, w := range f.Workloads() {
		if w.Problem != "" {
			t.Errorf("workload %s: %s", w.Name, w.Problem)
		}
	}
}

func TestShapesTellMapsApart(t *testing.T) {
	shapes, err := capture.Shapes()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for name, shape := range shapes {
		seen[shape] += fmt.Sprint(name, " ")
	}
	again, err := capture.Shapes()
	if err != nil || len(shapes) < 5 || shapes["agentd_flows"] == shapes["agentd_locals"] || shapes["agentd_flows"] != again["agentd_flows"] {
		t.Errorf("shapes are %v, %v, want them told apart and always the same", seen, err)
	}
}
