package capture

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"agentd.dev/bpf"
)

// Dial connects to where conn was going, from the network namespace it came
// from: source address, routes and rules are those of the workload. The client
// then sees the new connection's local address as its own.
//
// The socket it returns is as Conn.FD is, and belongs to the caller. Waiting
// for an answer holds no thread. Dial returns ctx's error if that ends first,
// and context.Canceled if capture ends.
func (c *Capture) Dial(ctx context.Context, conn Conn) (fd int, err error) {
	if conn.Direct {
		return -1, fmt.Errorf("dial %s: the connection was made to agentd itself", conn.Dest)
	}
	if !c.enter() {
		return -1, fmt.Errorf("dial %s: %w", conn.Dest, os.ErrClosed)
	}
	defer c.dials.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ending, cancel)()
	if fd, err = c.socketFor(&conn); err != nil {
		return -1, fmt.Errorf("dial %s: %w", conn.Dest, err)
	}
	if fd, err = connect(ctx, fd, conn.Dest); err != nil {
		return -1, fmt.Errorf("dial %s: %w", conn.Dest, err)
	}
	if err := c.showLocal(&conn, fd); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("dial %s: %w", conn.Dest, err)
	}
	return fd, nil
}

// enter keeps the kernel side from being closed until c.dials.Done. False: it
// is closed, or about to be.
func (c *Capture) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending.Err() != nil {
		return false
	}
	c.dials.Add(1)
	return true
}

// socketFor makes the socket for a connection upstream, bound as the client
// had bound its own.
func (c *Capture) socketFor(conn *Conn) (fd int, err error) {
	// Held so that the namespace stays open: making a socket takes no time.
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.listeners[conn.Peer.NetNS]
	if l == nil {
		return -1, errors.New("its network namespace is gone")
	}
	err = c.inside(l.netns, func() error {
		fd, err = newSocket(conn.Dest.Addr())
		return err
	})
	if err != nil {
		return -1, err
	}
	if err = c.kernel.AgentdTags.Put(int32(fd), c.nonce); err != nil {
		err = fmt.Errorf("tag the socket: %w", err)
	} else {
		err = prepare(fd, &conn.origin)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func newSocket(dest netip.Addr) (int, error) {
	family := unix.AF_INET6
	if dest.Is4() {
		family = unix.AF_INET
	}
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
}

// keepAlive are the options of all our connections. They find out when a peer
// is gone without a word; of a server, the client cannot: its own probes end on
// loopback.
var keepAlive = []struct{ level, option, value int }{
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60},
	{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
	{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
	{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
}

func prepare(fd int, o *bpf.CaptureOrigin) error {
	for _, k := range keepAlive {
		if err := unix.SetsockoptInt(fd, k.level, k.option, k.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if o.Ifindex != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, int(o.Ifindex)); err != nil {
			return fmt.Errorf("bind to the interface the client is bound to: %w", err)
		}
	}
	bound := address(o.Bound)
	if bound.IsUnspecified() {
		return nil
	}
	// The address alone: the client's own socket holds the port.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(bound, 0))); err != nil {
		return fmt.Errorf("bind to %s as the client is: %w", bound, err)
	}
	return nil
}

// connect connects fd and returns the descriptor to use from then on. It owns
// fd, and closes it if it fails.
func connect(ctx context.Context, fd int, dest netip.AddrPort) (int, error) {
	err := unix.Connect(fd, sockaddr(dest))
	if err == nil {
		return fd, nil
	}
	if !errors.Is(err, unix.EINPROGRESS) && !errors.Is(err, unix.EINTR) {
		unix.Close(fd)
		return -1, err
	}
	// Go's poller waits for the answer, and forgets the socket with the
	// file; a duplicate of the descriptor stays.
	f := os.NewFile(uintptr(fd), "upstream")
	defer f.Close()
	return await(ctx, f)
}

// await waits until f is connected and returns a descriptor of its own for it.
func await(ctx context.Context, f *os.File) (int, error) {
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) }) // closed: nobody waits
	defer stop()
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	var (
		connected = -1
		failed    error
	)
	err = raw.Write(func(s uintptr) bool {
		if failed = connectError(int(s)); errors.Is(failed, unix.EINPROGRESS) {
			return false
		}
		if failed == nil {
			connected, failed = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0)
		}
		return true
	})
	if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return -1, ctx.Err()
	}
	if err = errors.Join(err, failed); err != nil {
		return -1, err
	}
	return connected, nil
}

// connectError returns what came of a connect: nil, why not, or EINPROGRESS.
func connectError(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if code != 0 {
		return unix.Errno(code)
	}
	_, err = unix.Getpeername(fd)
	if errors.Is(err, unix.ENOTCONN) {
		return unix.EINPROGRESS
	}
	return err
}

// showLocal lets the client see the local address of fd as its own.
func (c *Capture) showLocal(conn *Conn, fd int) error {
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	local := addrPort(addr)
	err = c.kernel.AgentdLocals.Update(&conn.origin.Connection, &bpf.CaptureLocal{Addr: words(local.Addr()), Port: local.Port()}, ebpf.UpdateExist)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil // the client is gone, or there was no room: it sees loopback
	}
	return err
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
