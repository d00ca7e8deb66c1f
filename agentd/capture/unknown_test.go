package capture_test

import (
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/internal/lab"
)

// A pending is a connection that a client makes while the test goes on.
func pending(t testing.TB, c *client, r request) <-chan response {
	t.Helper()
	done := make(chan response, 1)
	go func() { done <- c.do(t, r) }()
	return done
}

// stranger returns the next process that waits for a decision.
func (f *fixture) stranger(t testing.TB) capture.Stranger {
	t.Helper()
	select {
	case s := <-f.Strangers():
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("nobody waits for a decision")
		panic("unreachable")
	}
}

func TestAnUnknownConnectionIsHeldUntilItIsDecidedOn(t *testing.T) {
	f := start(t, capture.Options{})
	pods := f.root.Child(t, "pods")
	watched, err := f.Watch(pods.Path, capture.UnknownHold, capture.Refuse)
	if err != nil {
		t.Fatal(err)
	}
	pod := pods.Child(t, "pod")
	inner := pod.Child(t, "container")
	netns := lab.NewNetns(t)
	s := serve(t, "127.0.0.1", netns)
	c := startClient(t, inner, netns)
	first := pending(t, c, request{Dest: s.addr})
	if got := f.stranger(t); got.Cgroup != inner.ID {
		t.Errorf("a stranger in cgroup %d waits, want %d", got.Cgroup, inner.ID)
	}
	conn := f.accepted(t)
	if !conn.Unknown || conn.Peer.Captured != watched || conn.Dest != s.addr {
		t.Errorf("accepted %+v, want an unknown one below %d to %s", conn, watched, s.addr)
	}
	if got := <-first; got.Err != "" || got.Peer != s.addr {
		t.Errorf("held: %+v, want an answer from %s", got, s.addr)
	}
	if d, _ := f.Decision(inner.ID); d != capture.Undecided {
		t.Errorf("decided is %d before anything was", d)
	}

	podID, err := f.Add(capture.Workload{Cgroup: pod.Path, Name: "pod"})
	if err != nil {
		t.Fatal(err)
	}
	if d, id := f.Decision(inner.ID); d != capture.Captured || id != podID {
		t.Errorf("after Add: %d by %d, want captured by %d", d, id, podID)
	}
	if got := c.do(t, request{Dest: s.addr}); got.Err != "" {
		t.Errorf("captured: %s", got.Err)
	}
	if conn := f.accepted(t); conn.Unknown || conn.Peer.Captured != podID {
		t.Errorf("accepted %+v, want one of %d", conn, podID)
	}

	if _, err := f.Free(pod.Path); err != nil {
		t.Fatal(err)
	}
	if got := c.do(t, request{Dest: s.addr}); got.Err != "" || got.Seen != got.Local.String() {
		t.Errorf("free: %+v, want that the server sees the client itself", got)
	}
	f.none(t)
	if d, _ := f.Decision(inner.ID); d != capture.Freed {
		t.Errorf("after Free: %d", d)
	}
}

func TestTheUnknownAreDeniedOrAllowedWhereThatIsAskedFor(t *testing.T) {
	f := start(t, capture.Options{})
	for _, tt := range []struct {
		name    string
		unknown capture.Unknown
		err     string
	}{
		{"denied", capture.UnknownDeny, "connect: connection refused"},
		{"allowed", capture.UnknownAllow, ""},
	} {
		parent := f.root.Child(t, tt.name)
		if _, err := f.Watch(parent.Path, tt.unknown, capture.Refuse); err != nil {
			t.Fatal(err)
		}
		netns := lab.NewNetns(t)
		s := serve(t, "127.0.0.1", netns)
		c := startClient(t, parent.Child(t, "pod"), netns)
		if got := c.do(t, request{Dest: s.addr}); got.Err != tt.err {
			t.Errorf("%s: error %q, want %q", tt.name, got.Err, tt.err)
		}
		f.none(t)
	}
	if got := f.Counters(); got["unknown_denied"] != 1 || got["unknown_allowed"] != 1 {
		t.Errorf("counted %v, want one denied and one allowed", got)
	}
}

func TestWhatAnEarlierAgentdDecidedIsKeptUntilItIsSettled(t *testing.T) {
	pins := lab.Pins(t)
	root := lab.NewCgroup(t)
	pods := root.Child(t, "pods")
	free, captured := pods.Child(t, "free"), pods.Child(t, "captured")
	before, err := capture.Open(capture.Options{Root: root.Path, Pins: pins})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := before.Watch(pods.Path, capture.UnknownDeny, capture.Refuse); err != nil {
		t.Fatal(err)
	}
	if _, err := before.Free(free.Path); err != nil {
		t.Fatal(err)
	}
	if _, err := before.Add(capture.Workload{Cgroup: captured.Path, Name: "captured"}); err != nil {
		t.Fatal(err)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}

	f := open(t, root, capture.Options{Pins: pins})
	f.forward()
	for _, tt := range []struct {
		group *lab.Cgroup
		want  capture.Decision
	}{{free, capture.Freed}, {captured, capture.Captured}, {pods, capture.Undecided}} {
		if got, _ := f.Decision(tt.group.ID); got != tt.want {
			t.Errorf("%s is %d after taking over, want %d", tt.group.Path, got, tt.want)
		}
	}
	if _, err := f.Watch(pods.Path, capture.UnknownDeny, capture.Refuse); err != nil {
		t.Fatal(err)
	}
	if err := f.Settle(); err != nil {
		t.Fatal(err)
	}
	for _, group := range []*lab.Cgroup{free, captured} {
		got := startClient(t, group, nil).do(t, request{Dest: serve(t, "127.0.0.1", nil).addr})
		if got.Err != "connect: connection refused" {
			t.Errorf("%s, which nobody has decided on again: %+v, want connection refused", group.Path, got)
		}
	}
}

func TestOneWorkloadCannotHaveUsListenWithoutEnd(t *testing.T) {
	f := start(t, capture.Options{})
	crowd, other := f.workload(t, "crowd"), f.workload(t, "other")
	for range 80 {
		startClient(t, crowd, lab.NewNetns(t))
	}
	if err := f.Reconcile(); err != nil {
		t.Errorf("reconcile: %v", err)
	}
	problems := map[string]string{}
	for _, w := range f.Workloads() {
		problems[w.Name] = w.Problem
		if w.Namespaces > 64 {
			t.Errorf("%s is listened for in %d namespaces, want 64 at most", w.Name, w.Namespaces)
		}
	}
	if !strings.Contains(problems["crowd"], "more than 64 network namespaces") || problems["other"] != "" {
		t.Errorf("the problems are %q, want that the crowd is one", problems)
	}
	netns := lab.NewNetns(t)
	s := serve(t, "127.0.0.1", netns)
	if got := startClient(t, other, netns).do(t, request{Dest: s.addr}); got.Err != "" {
		t.Errorf("another workload: %s", got.Err)
	}
}
