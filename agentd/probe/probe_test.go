package probe_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/probe"
)

func TestMain(m *testing.M) {
	if probe.Playing() {
		probe.Main()
		return
	}
	os.Exit(m.Run())
}

func TestEveryWayAround(t *testing.T) {
	root := lab.NewCgroup(t)
	c, err := capture.Open(capture.Options{Root: root.Path, UDP: []uint16{53}})
	if err != nil {
		t.Fatal(err)
	}
	taken := &taken{count: map[uint16]int{}}
	var relaying sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	relaying.Go(func() { taken.relay(ctx, c) })
	t.Cleanup(func() {
		stop()
		if err := c.Detach(); err != nil {
			t.Errorf("detach: %v", err)
		}
		relaying.Wait()
	})
	inside, outside := root.Child(t, "workload"), root.Child(t, "bystander")
	shared := newStage(t)
	w := capture.Workload{Cgroup: inside.Path, Name: "probe", Source: "test"}
	if _, err := c.Add(w, shared.Inside); err != nil {
		t.Fatal(err)
	}
	p := &probe.Prober{
		Stage: shared, Inside: inside.Path, Outside: outside.Path, Captured: taken.to,
		Command: func() *exec.Cmd { return exec.Command("/proc/self/exe") },
	}
	p.Fresh = func(context.Context) (*probe.Prober, func() error, error) {
		other := *p
		other.Stage = newStage(t)
		_, err := c.Add(w, other.Stage.Inside)
		return &other, other.Stage.Close, err
	}
	for i := range probe.Vectors {
		v := &probe.Vectors[i]
		for _, family := range v.Families() {
			name := v.Name
			if family != probe.None {
				name += " over " + string(family)
			}
			t.Run(name, func(t *testing.T) {
				row, err := p.Try(t.Context(), v, family)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %s", row.Got, row.Detail)
				if !row.OK || row.Got == probe.Captured && !row.Served && !v.Local {
					t.Errorf("%s (%s), want %s", row.Got, row.Detail, row.Want)
				}
			})
		}
	}
}

func newStage(t *testing.T) *probe.Stage {
	t.Helper()
	s, err := probe.NewStage()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// taken counts the connections that agentd was given.
type taken struct {
	mu    sync.Mutex // guards count
	count map[uint16]int
}

func (k *taken) to(_ context.Context, port uint16) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.count[port], nil
}

// relay relays what c accepts until that ends, and waits for all of it.
func (k *taken) relay(ctx context.Context, c *capture.Capture) {
	var relays sync.WaitGroup
	defer relays.Wait()
	for {
		conn, err := c.Accept(context.Background())
		if err != nil {
			return
		}
		k.mu.Lock()
		k.count[conn.Dest.Port()]++
		k.mu.Unlock()
		relays.Go(func() { relay(ctx, c, conn) })
	}
}

// relay is a relay of the plainest kind, until ctx ends.
func relay(ctx context.Context, c *capture.Capture, conn capture.Conn) {
	client := os.NewFile(uintptr(conn.FD), "client")
	defer client.Close()
	dialling, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	fd, err := c.Dial(dialling, conn)
	if err != nil {
		return
	}
	server := os.NewFile(uintptr(fd), "server")
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(client, server)
		_ = unix.Shutdown(conn.FD, unix.SHUT_WR)
	})
	_, _ = io.Copy(server, client)
	_ = unix.Shutdown(fd, unix.SHUT_WR)
	back.Wait()
}
