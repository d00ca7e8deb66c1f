// Package faults stands between agentd and the kernel: each step by which agentd
// records and forwards is shown to a test, which says what becomes of it. It may
// go on, fail, take its time, or be the last before or after which agentd is
// killed. agentd itself is the program as it is shipped.
//
// The steps are system calls, trapped by seccomp. They are carried out here, one
// after another but for syncs, so that their order is known.
package faults

import (
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/internal/lab"
)

// A Kind is what a Step does.
type Kind string

// Kinds of steps.
const (
	Write    Kind = "write"    // to a file, at an offset
	Truncate Kind = "truncate" // a file
	Sync     Kind = "sync"     // a file or folder
	Send     Kind = "send"     // to a client or a server
)

// A Step is something that agentd is about to do.
type Step struct {
	Kind   Kind
	Path   string // of the file, "" of a socket
	Offset int64  // Truncate: the size
	Data   []byte
}

// An Act is what becomes of a step. The zero value lets it be.
type Act struct {
	Fail   unix.Errno      // it fails with that
	Until  <-chan struct{} // first it waits for that; of Sync alone
	Before bool            // agentd is killed before it
	After  bool            // or after it, before it knows of it
}

// A Trap is where steps come to.
type Trap struct {
	// Decide is called for each, one at a time.
	Decide func(*Step) Act
	// Done, if not nil, is called after each that was carried out.
	Done func(*Step)

	socket string
	mu     sync.Mutex
	traced sync.WaitGroup // processes
}

// Wait waits until nothing more comes of the processes that there were.
func (t *Trap) Wait() { t.traced.Wait() }

// Set has the steps of a come to the Trap that it returns, from a's next start on.
func Set(t testing.TB, a *lab.Agentd, decide func(*Step) Act) *Trap {
	t.Helper()
	trap := &Trap{Decide: decide, socket: filepath.Join(a.Dir, "trap")}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: trap.socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
		trap.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			trap.traced.Go(func() {
				if err := trap.serve(conn); err != nil {
					t.Error(err)
				}
			})
		}
	})
	a.Wrap = []string{lab.Binary(t, "./agentd/internal/faults/trap"), trap.socket}
	return trap
}

// serve carries out the steps of one process.
func (t *Trap) serve(conn *net.UnixConn) error {
	defer conn.Close()
	listener, pid, err := greet(conn)
	if err != nil {
		return fmt.Errorf("the trap: %w", err)
	}
	defer unix.Close(listener)
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	if _, err := conn.Write([]byte{0}); err != nil {
		return err
	}
	p := process{trap: t, listener: listener, fd: pidfd, pid: pid}
	defer p.syncing.Wait()
	for {
		events := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(events, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			return err
		}
		if events[0].Revents&unix.POLLIN == 0 {
			return nil // nobody is left
		}
		var n notification
		if err := receive(listener, &n); err == nil {
			p.handle(&n)
		}
	}
}

func greet(conn *net.UnixConn) (listener, pid int, err error) {
	oob := make([]byte, 64)
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return 0, 0, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return 0, 0, fmt.Errorf("no descriptor came: %v", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return 0, 0, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var peer *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || failed != nil {
		return 0, 0, fmt.Errorf("peer credentials: %v, %v", err, failed)
	}
	return fds[0], int(peer.Pid), nil
}
