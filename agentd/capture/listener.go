package capture

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"agentd.dev/bpf"
)

// A listener takes the connections of captured workloads in one network
// namespace. It keeps that namespace alive until it is shut.
type listener struct {
	netns  *os.File
	inode  uint64 // of netns
	cookie uint64 // of netns
	ports  bpf.CapturePorts
	v4, v6 *socket // v6 is nil where there is no IPv6

	by      uint64        // id of the workload's cgroup that needed it first; 0: asked for by name
	wanted  time.Time     // when a connection last asked for it that waits
	guards  map[int]guard // of strict mode, by interface
	guarded time.Time     // when they were last looked after
}

// A socket is one that listens. Its descriptor is kept beside the file because
// asking the file for it could make it block.
type socket struct {
	*os.File
	fd int
}

// backlog is how many connections may wait; the kernel caps it at somaxconn.
const backlog = 4096

// maxNamespaces is in how many network namespaces one workload is listened for.
// Making them costs it nothing, and us two sockets and three descriptors each;
// connections from more of them wait in vain.
const maxNamespaces = 64

// errCrowded says that a workload has more network namespaces than that.
var errCrowded = fmt.Errorf("it is in more than %d network namespaces: connections from the others are not taken", maxNamespaces)

// crowded reports whether a workload has all the listeners it may have. Those
// of unknown cgroups count together, and go again soon.
func (c *Capture) crowded(by uint64) bool {
	if by == 0 {
		return false
	}
	n, most := 0, maxNamespaces
	if c.workloads[by] == nil {
		most = 2048
	}
	for _, l := range c.listeners {
		if l.by == by {
			n++
		}
	}
	return n >= most
}

// listenIn makes sure that we listen in the network namespace ns, which the
// caller keeps, and returns the listener. By is the workload's cgroup that
// needs it, 0 if someone asked for it by name. The caller holds c.mu.
func (c *Capture) listenIn(ns *os.File, by uint64) (*listener, error) {
	ino, err := inode(ns)
	if err != nil {
		return nil, err
	}
	for _, l := range c.listeners {
		if l.inode == ino {
			return l, nil
		}
	}
	if c.crowded(by) {
		return nil, errCrowded
	}
	l := &listener{inode: ino, by: by}
	if err := c.hold(l, ns); err != nil {
		return nil, err
	}
	if err := c.listen(l); err != nil {
		l.close(c)
		return nil, fmt.Errorf("listen in %s: %w", ns.Name(), err)
	}
	c.listeners[l.cookie] = l
	c.take(l)
	return l, nil
}

// hold gives l a descriptor of its own for the namespace ns, and its cookie.
func (c *Capture) hold(l *listener, ns *os.File) (err error) {
	host, err := inode(c.host)
	if err != nil {
		return err
	}
	if l.inode == host {
		l.netns, l.cookie = c.host, c.hostID
		return nil
	}
	fd, err := unix.FcntlInt(ns.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("keep %s: %w", ns.Name(), err)
	}
	l.netns = os.NewFile(uintptr(fd), ns.Name())
	if l.cookie, err = c.cookieOf(l.netns); err != nil {
		return errors.Join(err, l.netns.Close())
	}
	return nil
}

// listen makes the sockets of l, tags them, and tells the kernel side, in this
// order: a port that is told is one that is ours.
func (c *Capture) listen(l *listener) error {
	err := c.inside(l.netns, func() (err error) {
		if l.v4, l.ports.V4, err = loopback4(c.port); err != nil {
			return err
		}
		l.v6, l.ports.V6, err = loopback6(c.port)
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
			return nil // no IPv6 here, for the workload neither
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, s := range []*socket{l.v4, l.v6} {
		if s == nil {
			continue
		}
		if err := c.kernel.AgentdTags.Put(int32(s.fd), c.nonce); err != nil {
			return fmt.Errorf("tag the socket: %w", err)
		}
	}
	return c.kernel.AgentdPorts.Put(l.cookie, l.ports)
}

// loopback4 listens on port, or if that is taken on another one. What waits for
// port waits in vain then.
func loopback4(port uint16) (s *socket, on uint16, err error) {
	for _, p := range []uint16{port, 0} {
		s, on, err = loopback(unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: int(p)})
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return s, on, err
}

func loopback6(port uint16) (s *socket, on uint16, err error) {
	for _, p := range []uint16{port, 0} {
		s, on, err = loopback(unix.AF_INET6, &unix.SockaddrInet6{Addr: [16]byte{15: 1}, Port: int(p)})
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return s, on, err
}

// loopback listens on a port of a loopback address. Neither SO_REUSEPORT,
// which would let others join, nor MPTCP, which would change what is accepted.
func loopback(family int, addr unix.Sockaddr) (*socket, uint16, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return nil, 0, err
	}
	port, err := listenOn(fd, addr)
	if err != nil {
		return nil, 0, errors.Join(err, unix.Close(fd))
	}
	return &socket{os.NewFile(uintptr(fd), "listener:"+strconv.Itoa(int(port))), fd}, port, nil
}

func listenOn(fd int, addr unix.Sockaddr) (uint16, error) {
	// What is accepted inherits them, which saves calls for each connection. A
	// client that has broken its own loopback is gone without a word, too.
	for _, k := range keepAlive {
		if err := unix.SetsockoptInt(fd, k.level, k.option, k.value); err != nil {
			return 0, os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Bind(fd, addr); err != nil {
		return 0, fmt.Errorf("bind to loopback (is lo up?): %w", err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return 0, err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return addrPort(bound).Port(), nil
}

// verify returns an error unless the kernel side has l as it should be.
func (c *Capture) verify(l *listener) error {
	var ports bpf.CapturePorts
	if err := c.kernel.AgentdPorts.Lookup(l.cookie, &ports); err != nil || ports != l.ports {
		return fmt.Errorf("the kernel does not know the listener in %s", l.netns.Name())
	}
	for _, s := range []*socket{l.v4, l.v6} {
		if s == nil {
			continue
		}
		var tag uint64
		if err := c.kernel.AgentdTags.Lookup(int32(s.fd), &tag); err != nil || tag != c.nonce {
			return fmt.Errorf("the listener in %s has lost its tag", l.netns.Name())
		}
	}
	return nil
}

// shut stops listening and forgets the connections that nobody accepted, which
// the kernel resets. The caller holds c.mu.
func (c *Capture) shut(l *listener) {
	delete(c.listeners, l.cookie)
	if err := c.kernel.AgentdPorts.Delete(l.cookie); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		c.log.Error("forget the listener", "netns", l.netns.Name(), "error", err)
	}
	l.close(c)
	err := deleteWhere(c.kernel.AgentdFlows, func(f *bpf.CaptureFlow, _ *bpf.CaptureOrigin) bool { return f.Netns == l.cookie })
	if err != nil {
		c.log.Error("forget the connections of a listener", "netns", l.netns.Name(), "error", err)
	}
}

func (l *listener) close(c *Capture) {
	if !c.closed { // else what is pinned stays, and the rest goes with us
		l.unguard()
	}
	for _, s := range []*socket{l.v4, l.v6} {
		if s != nil {
			s.Close()
		}
	}
	if l.netns != c.host {
		l.netns.Close()
	}
}
