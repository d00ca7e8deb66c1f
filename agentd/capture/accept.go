package capture

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/identity"
	"agentd.dev/bpf"
)

// A Conn is an accepted connection.
type Conn struct {
	// FD is the socket: non-blocking, close-on-exec, TCP_NODELAY, known to
	// no poller. It belongs to the receiver.
	FD int
	// Peer is who connected. Of a direct connection only NetNS is known.
	Peer   identity.Peer
	Client netip.AddrPort // the other end, on loopback or an address of its own
	Local  netip.AddrPort // our end
	Dest   netip.AddrPort // where the client was going; Local if it is Direct
	At     time.Duration  // when it called connect, by Clock; 0 if it is Direct
	// Direct: nobody sent this connection here. Someone connected to the
	// listener on purpose.
	Direct bool
	// Unknown: nothing had been decided on the workload when it connected.
	// Peer.Captured is the watched cgroup then.
	Unknown bool

	origin bpf.CaptureOrigin
}

// serve hands out what comes to a socket of l until that is closed or paused.
func (c *Capture) serve(l *listener, s *socket, family uint16) {
	local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), l.ports.V4)
	if family == unix.AF_INET6 {
		local = netip.AddrPortFrom(netip.IPv6Loopback(), l.ports.V6)
	}
	c.accepting.Go(func() {
		raw, err := s.SyscallConn()
		if err != nil {
			return // closed
		}
		for {
			fd, client, err := accept(raw)
			switch {
			case err == nil:
				c.give(c.conn(l, fd, client, local))
			case errors.Is(err, os.ErrClosed):
				return
			case passing(err): // the client is gone already
			default:
				c.log.Error("accept", "netns", l.netns.Name(), "error", err)
				c.rest()
			}
		}
	})
}

// accept waits for a connection. The socket that listens is known to Go's
// poller, what it accepts is not.
func accept(raw syscall.RawConn) (fd int, client netip.AddrPort, err error) {
	var addr unix.Sockaddr
	closed := raw.Read(func(s uintptr) bool {
		fd, addr, err = unix.Accept4(int(s), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		return !errors.Is(err, unix.EAGAIN)
	})
	if closed != nil { // or Pause has set a deadline
		return -1, client, os.ErrClosed
	}
	if err != nil {
		return -1, client, err
	}
	return fd, addrPort(addr), nil
}

// passing reports whether an error of accept is about one connection.
func passing(err error) bool {
	return slices.ContainsFunc([]error{unix.ECONNABORTED, unix.EINTR, unix.EPROTO}, func(e error) bool { return errors.Is(err, e) })
}

// rest waits a moment where going on at once could not go better: descriptors
// or memory are used up.
func (c *Capture) rest() {
	select {
	case <-time.After(50 * time.Millisecond):
	case <-c.done:
	}
}

// give hands conn to whoever calls Accept.
func (c *Capture) give(conn Conn) {
	select {
	case c.conns <- conn:
	case <-c.done:
		unix.Close(conn.FD)
	}
}

// conn finds out where an accepted connection was going, and takes that out of
// the kernel's memory.
func (c *Capture) conn(l *listener, fd int, client, local netip.AddrPort) Conn {
	conn := Conn{FD: fd, Client: client, Local: local, Dest: local, Direct: true}
	conn.Peer.NetNS = l.cookie
	if c.hearing != nil { // what the client was told, it was told before it connected
		c.hearing.drain()
	}
	flow := bpf.CaptureFlow{Netns: l.cookie, Client: words(client.Addr()), ClientPort: client.Port(), Listener: local.Port()}
	o := &conn.origin
	if err := c.kernel.AgentdFlows.LookupAndDelete(&flow, o); err != nil {
		return conn // nobody sent it here
	}
	conn.Peer = identity.Peer{
		Cgroup:   o.Cgroup,
		Captured: o.Captured,
		TGID:     int(o.Tgid),
		Start:    o.Start,
		UID:      o.Uid,
		Comm:     unix.ByteSliceToString(o.Comm[:]),
		NetNS:    l.cookie,
	}
	conn.Dest = netip.AddrPortFrom(address(o.Dest), o.DestPort)
	conn.At = time.Duration(o.Connection.At)
	conn.Direct = l.reachedBy(conn.Dest)
	conn.Unknown = o.Unknown != 0
	return conn
}

// reachedBy reports whether dest is the listener itself: to dial it would come
// back here.
func (l *listener) reachedBy(dest netip.AddrPort) bool {
	a := dest.Addr()
	return (a.IsLoopback() || a.IsUnspecified()) && (dest.Port() == l.ports.V4 || dest.Port() == l.ports.V6)
}

// addrPort returns the address and port of an IPv4 or IPv6 socket.
func addrPort(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr).Unmap(), uint16(s.Port))
	}
	return netip.AddrPort{}
}

// words returns an address as the kernel side writes it: four words in network
// order, IPv4 as ::ffff:a.b.c.d.
func words(a netip.Addr) (w [4]uint32) {
	bytes := a.As16()
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(bytes[4*i:])
	}
	return w
}

// address is the opposite of words.
func address(w [4]uint32) netip.Addr {
	var bytes [16]byte
	for i := range w {
		binary.NativeEndian.PutUint32(bytes[4*i:], w[i])
	}
	return netip.AddrFrom16(bytes).Unmap()
}
