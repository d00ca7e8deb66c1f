package legs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A socket is a connected socket before, and below, TLS. It implements net.Conn
// for package tls. Waiting for it holds no thread.
type socket struct {
	f   *os.File
	raw interface {
		Read(func(uintptr) bool) error
	}
	ended atomic.Bool // its peer closed the connection, as far as Read knows
}

// newSocket waits on a duplicate of fd, so that Go's poller forgets fd itself
// when the socket is closed.
func newSocket(fd int) (*socket, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("duplicate a socket", err)
	}
	f := os.NewFile(uintptr(dup), "socket")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &socket{f: f, raw: raw}, nil
}

// until makes everything fail that waits beyond deadline or ctx, until stop is
// called.
func (s *socket) until(ctx context.Context, deadline time.Time) (stop func(), err error) {
	if err := s.f.SetDeadline(deadline); err != nil {
		return nil, err
	}
	end := context.AfterFunc(ctx, func() { _ = s.f.SetDeadline(time.Unix(1, 0)) }) // closed: nobody waits
	return func() {
		end()
		_ = s.f.SetDeadline(time.Time{}) // closed: likewise
	}, nil
}

// peek waits until more than seen bytes can be read, and copies them to buf
// without taking them. It returns io.EOF if no more will come.
func (s *socket) peek(buf []byte, seen int) (n int, err error) {
	waitErr := s.raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), buf, unix.MSG_PEEK)
		return err != unix.EAGAIN && (err != nil || n == 0 || n > seen || hungUp(int(fd)))
	})
	switch {
	case waitErr != nil:
		return 0, waitErr
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n <= seen:
		return 0, io.EOF
	}
	return n, nil
}

// hungUp reports whether the peer will send no more than can be read already.
func hungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

// pending reports whether bytes wait to be read.
func (s *socket) pending() bool {
	waiting := false
	_ = s.raw.Read(func(fd uintptr) bool { // closed: none
		n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		waiting = err == nil && n > 0
		return true
	})
	return waiting
}

// Read implements net.Conn.
func (s *socket) Read(b []byte) (int, error) {
	n, err := s.f.Read(b)
	if errors.Is(err, io.EOF) {
		s.ended.Store(true)
	}
	return n, err
}

// Write implements net.Conn.
func (s *socket) Write(b []byte) (int, error) { return s.f.Write(b) }

// Close implements net.Conn.
func (s *socket) Close() error { return s.f.Close() }

// SetDeadline implements net.Conn.
func (s *socket) SetDeadline(t time.Time) error { return s.f.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (s *socket) SetReadDeadline(t time.Time) error { return s.f.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (s *socket) SetWriteDeadline(t time.Time) error { return s.f.SetWriteDeadline(t) }

// LocalAddr implements net.Conn. Nobody asks.
func (s *socket) LocalAddr() net.Addr { return nowhere{} }

// RemoteAddr implements net.Conn. Nobody asks.
func (s *socket) RemoteAddr() net.Addr { return nowhere{} }

type nowhere struct{}

func (nowhere) Network() string { return "tcp" }
func (nowhere) String() string  { return "" }

// control does something to the descriptor.
func control(f *os.File, do func(fd int)) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("use a socket: %w", err)
	}
	return raw.Control(func(fd uintptr) { do(int(fd)) })
}
