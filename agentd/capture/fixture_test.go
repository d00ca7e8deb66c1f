package capture_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/internal/lab"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(clientEnv) != "":
		clientMain()
	case os.Getenv(holderEnv) != "":
		holderMain()
	case os.Getenv(daemonEnv) != "":
		daemonMain()
	default:
		os.Exit(m.Run())
	}
}

// A fixture is capture at work on a cgroup subtree of its own.
type fixture struct {
	*capture.Capture
	root  *lab.Cgroup
	conns chan capture.Conn // each that was accepted and relayed; its FD is in use

	forwarding sync.WaitGroup
}

// start captures below a fresh cgroup, and relays what it accepts.
func start(t testing.TB, o capture.Options) *fixture {
	t.Helper()
	f := open(t, lab.NewCgroup(t), o)
	f.forward()
	return f
}

// open captures below root, and leaves it to the test to accept.
func open(t testing.TB, root *lab.Cgroup, o capture.Options) *fixture {
	t.Helper()
	o.Root = root.Path
	c, err := capture.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Capture: c, root: root, conns: make(chan capture.Conn, 100_000)}
	t.Cleanup(func() {
		if err := c.Detach(); err != nil {
			t.Errorf("detach: %v", err)
		}
		f.forwarding.Wait()
	})
	return f
}

// forward relays what is accepted until the test ends.
func (f *fixture) forward() {
	f.forwarding.Go(func() { forward(f.Capture, f.conns) })
}

// workload makes a cgroup below the root and captures it.
func (f *fixture) workload(t testing.TB, name string, netns ...*lab.Netns) *lab.Cgroup {
	t.Helper()
	group := f.root.Child(t, name)
	var files []*os.File
	for _, n := range netns {
		files = append(files, n.File)
	}
	if _, err := f.Add(capture.Workload{Cgroup: group.Path, Name: name, Source: "test"}, files...); err != nil {
		t.Fatal(err)
	}
	return group
}

// taken accepts a connection itself. Its FD is closed when the test ends.
func (f *fixture) taken(t testing.TB) capture.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := f.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(conn.FD) })
	return conn
}

// accepted returns the next connection that was accepted and relayed.
func (f *fixture) accepted(t testing.TB) capture.Conn {
	t.Helper()
	select {
	case conn := <-f.conns:
		return conn
	case <-time.After(10 * time.Second):
		t.Fatal("no connection was captured")
		panic("unreachable")
	}
}

// none fails the test if a connection was captured.
func (f *fixture) none(t testing.TB) {
	t.Helper()
	select {
	case conn := <-f.conns:
		t.Errorf("captured a connection to %s of pid %d, want none", conn.Dest, conn.Peer.TGID)
	default:
	}
}

// forward relays what c accepts until that ends, and waits for all of it.
func forward(c *capture.Capture, conns chan<- capture.Conn) {
	var relays sync.WaitGroup
	defer relays.Wait()
	for {
		conn, err := c.Accept(context.Background())
		if err != nil {
			return
		}
		conns <- conn
		relays.Go(func() { relay(c, conn) })
	}
}

// relay is a relay of the plainest kind.
func relay(c *capture.Capture, conn capture.Conn) {
	client := os.NewFile(uintptr(conn.FD), "client")
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fd, err := c.Dial(ctx, conn)
	if err != nil {
		return
	}
	server := os.NewFile(uintptr(fd), "server")
	defer server.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(client, server)
		_ = unix.Shutdown(conn.FD, unix.SHUT_WR)
	})
	_, _ = io.Copy(server, client)
	_ = unix.Shutdown(fd, unix.SHUT_WR)
	back.Wait()
}

// A server tells each client its address, once asked.
type server struct {
	addr  netip.AddrPort
	asked chan string // what came in, a line for each client
}

// serve starts a server on a free port of an address, in a network namespace
// (nil: ours).
func serve(t testing.TB, host string, netns *lab.Netns) *server {
	t.Helper()
	var l net.Listener
	addr := net.JoinHostPort(host, "0")
	if netns != nil {
		l = netns.Listen(t, addr)
	} else {
		var err error
		if l, err = net.Listen("tcp", addr); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	s := &server{addr: l.Addr().(*net.TCPAddr).AddrPort(), asked: make(chan string, 100_000)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.answer(conn)
		}
	}()
	return s
}

func (s *server) answer(conn net.Conn) {
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return
	}
	s.asked <- line
	_, _ = io.WriteString(conn, conn.RemoteAddr().String()+"\n")
}
