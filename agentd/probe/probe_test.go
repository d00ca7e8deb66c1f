package probe_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
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
	// Built with -race, each of the many processes would sleep for a second at
	// its end.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	if os.Getenv(nodeEnv) == "" {
		if err := becomeNode(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// nodeEnv says that this process is the node.
const nodeEnv = "PROBE_TEST_NODE"

// becomeNode starts the test binary anew, in its place, in a network namespace
// of its own, which is the node's of everything here: workloads are cabled to
// it. It returns only if that fails.
func becomeNode() error {
	runtime.LockOSThread() // the program that is started gets this thread's namespaces
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	return unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), nodeEnv+"=1"))
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
	outside := root.Child(t, "bystander")
	// place makes a prober in a workload of its own.
	place := func(name string, strict bool, stage func() (*probe.Stage, error)) *probe.Prober {
		inside := root.Child(t, name)
		p := &probe.Prober{
			Inside: inside.Path, Outside: outside.Path, Captured: taken.to, Strict: strict && stops(c),
			Command:  func() *exec.Cmd { return exec.Command("/proc/self/exe") },
			Patience: 15 * time.Second * time.Duration(lab.Slower(t)),
		}
		p.Fresh = func(context.Context) (*probe.Prober, func() error, error) {
			other := *p
			other.Stage = newStage(t, stage)
			_, err := c.Add(capture.Workload{Cgroup: inside.Path, Name: name, Source: "test", Strict: strict}, other.Stage.Inside)
			return &other, other.Stage.Close, err
		}
		p, _, err := p.Fresh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	usual := place("workload", false, probe.NewStage)
	strict := place("strict", true, probe.NewNodeStage)
	for i := range probe.Vectors {
		v := &probe.Vectors[i]
		for _, family := range v.Families() {
			name := v.Name
			if family != probe.None {
				name += " over " + string(family)
			}
			t.Run(name, func(t *testing.T) {
				row := judge(t, v)(usual.Try(t.Context(), v, family))
				if row.Got == probe.Lacking || !row.OK {
					return
				}
				judge(t, v)(strict.TryInside(t.Context(), v, family))
			})
		}
	}
}

// judge fails the test if a row is not as it should be.
func judge(t *testing.T, v *probe.Vector) func(probe.Row, error) probe.Row {
	return func(row probe.Row, err error) probe.Row {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %s", row.Got, row.Detail)
		if !row.OK || row.Got == probe.Captured && !v.Local && row.Served != (row.Want == probe.Captured) {
			t.Errorf("%s (%s), want %s", row.Got, row.Detail, row.Want)
		}
		return row
	}
}

// stops reports whether this kernel can have strict mode: without tcx it is
// said, and not done.
func stops(c *capture.Capture) bool {
	return !slices.ContainsFunc(c.Lacks(), func(what string) bool { return strings.Contains(what, "strict mode") })
}

func newStage(t *testing.T, stage func() (*probe.Stage, error)) *probe.Stage {
	t.Helper()
	s, err := stage()
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
