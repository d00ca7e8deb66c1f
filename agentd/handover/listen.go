package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Listener is where other agentds find this one. It outlives the process if
// it is handed on.
type Listener struct {
	file *os.File // of the listening socket
	path string
}

// Listen listens on path, in place of an agentd that has died. The caller has
// made sure that it has: it holds the lock of the control socket.
func Listen(path string) (*Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// The mode is set before the name exists: never open to others.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for other agentds: %w", err)
	}
	defer l.Close()
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	file, err := l.(*net.UnixListener).File()
	if err != nil {
		return nil, err
	}
	return &Listener{file, path}, nil
}

// Adopt returns the listener on path whose socket was handed over.
func Adopt(path string, socket *os.File) *Listener { return &Listener{socket, path} }

// FD returns the descriptor of the socket, to be handed on.
func (l *Listener) FD() int { return FD(l.file) }

// Serve calls f with every connection, one at a time, until ctx ends. What
// comes later waits for the next Serve, here or where the socket was handed to.
func (l *Listener) Serve(ctx context.Context, f func(*Conn)) error {
	accepting, err := net.FileListener(l.file)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { accepting.Close() })
	defer stop()
	for {
		c, err := accepting.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept other agentds: %w", err)
		}
		if conn, err := check(c.(*net.UnixConn)); err == nil {
			f(conn)
		}
	}
}

// Leave gives the socket up and leaves it to whoever has it too.
func (l *Listener) Leave() error { return l.file.Close() }

// Close gives the socket up for good.
func (l *Listener) Close() error { return errors.Join(os.Remove(l.path), l.file.Close()) }
