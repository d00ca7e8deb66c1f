package agentd

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"agentd.dev/agentd/capture"
)

// decideWithin is how long a connection waits for a decision on its workload.
const decideWithin = 5 * time.Second

// decided waits until something was decided on the workload of a connection
// that was made before. It reports whether that is free, and if it is captured
// says so in conn. It fails closed: without a decision the error is why the
// connection is refused.
func (d *Daemon) decided(ctx context.Context, conn *capture.Conn) (free bool, err error) {
	if !conn.Unknown {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, decideWithin)
	defer cancel()
	decision, by, err := d.capture.Await(ctx, conn.Peer.Cgroup)
	if err != nil {
		return false, fmt.Errorf("%w: cgroup %d", errUnknown, conn.Peer.Cgroup)
	}
	if decision == capture.Freed {
		return true, nil
	}
	conn.Peer.Captured = by
	return false, nil
}

// pass connects a free workload's connection, which was made before that was
// known, to where it was going. It is neither judged nor recorded. It owns
// conn.FD, and returns once bytes flow.
func (d *Daemon) pass(ctx context.Context, conn capture.Conn) error {
	server, err := d.dial(ctx, conn)
	if err != nil {
		resetClose(conn.FD)
		return err
	}
	ends, err := streams(conn.FD, server)
	if err != nil {
		return err
	}
	// Ends with the daemon, as sessions do: waited for by d.live.
	stop := context.AfterFunc(d.serving, func() { ends[0].Close(); ends[1].Close() })
	go func() {
		defer d.ended()
		defer stop()
		copyBoth(ends[0], ends[1])
	}()
	return nil
}

// streams makes connections of two sockets, which it owns.
func streams(fds ...int) (conns [2]*net.TCPConn, err error) {
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "passed")
		defer f.Close()
		c, e := net.FileConn(f)
		if e != nil {
			err = e
			continue
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			err = fmt.Errorf("descriptor %d is %T", fd, c)
		}
		conns[i] = tcp
	}
	if err != nil {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}
	return conns, err
}

// copyBoth copies between two connections until both have said all they will,
// and closes them. A reset of one becomes one of the other.
func copyBoth(a, b *net.TCPConn) {
	var both sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{a, b}, {b, a}} {
		both.Go(func() {
			from, to := way[0], way[1]
			if _, err := io.Copy(to, from); err != nil {
				to.SetLinger(0)
				from.SetLinger(0)
				to.Close()
				from.Close()
				return
			}
			to.CloseWrite()
		})
	}
	both.Wait()
	a.Close()
	b.Close()
}
