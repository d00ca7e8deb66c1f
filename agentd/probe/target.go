package probe

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A target answers what comes to one port of the target's namespace, over TCP
// and UDP, IPv4 and IPv6.
type target struct {
	port    uint16
	stream  net.Listener
	packets net.PacketConn
	working sync.WaitGroup

	mu    sync.Mutex        // guards what is below
	conns map[net.Conn]bool // nil once the target is closed
}

// open makes a target on a port, 0 for a free one.
func (s *Stage) open(port uint16) (t *target, err error) {
	t = &target{conns: map[net.Conn]bool{}}
	config := net.ListenConfig{Control: fastOpen}
	config.SetMultipathTCP(true)
	err = within(s.outside, func() error {
		ctx := context.Background()
		for range 10 { // a port that is free for TCP may be taken for UDP
			if t.stream, err = config.Listen(ctx, "tcp", net.JoinHostPort("::", strconv.Itoa(int(port)))); err != nil {
				return err
			}
			t.port = t.stream.Addr().(*net.TCPAddr).AddrPort().Port()
			t.packets, err = net.ListenPacket("udp", net.JoinHostPort("::", strconv.Itoa(int(t.port))))
			if err == nil {
				return nil
			}
			t.stream.Close()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	t.working.Go(t.accept)
	t.working.Go(t.echo)
	return t, nil
}

func fastOpen(_, _ string, c syscall.RawConn) (err error) {
	e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 16)
		if errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP) {
			err = nil // ListenConfig also asks about sockets that are not TCP's
		}
	})
	return errors.Join(err, e)
}

func (t *target) close() {
	t.stream.Close()
	t.packets.Close()
	t.mu.Lock()
	for conn := range t.conns {
		conn.Close()
	}
	t.conns = nil
	t.mu.Unlock()
	t.working.Wait()
}

// dest is the target's address for a family.
func (t *target) dest(f Family) netip.AddrPort {
	addr := netip.MustParseAddr(outerV4)
	switch f {
	case V6:
		addr = netip.MustParseAddr(outerV6)
	case Mapped:
		addr = netip.AddrFrom16(addr.As16())
	}
	return netip.AddrPortFrom(addr, t.port)
}

// answer is what the target says to each line.
const answer = "heard\n"

func (t *target) accept() {
	for {
		conn, err := t.stream.Accept()
		if err != nil {
			return
		}
		t.mu.Lock()
		if t.conns == nil {
			conn.Close()
		} else {
			t.conns[conn] = true
			t.working.Go(func() { t.converse(conn) })
		}
		t.mu.Unlock()
	}
}

// call connects to the stage's inner side until it answers or the target is
// closed.
func (t *target) call(s *Stage) {
	t.working.Go(func() {
		to := netip.AddrPortFrom(netip.MustParseAddr(innerV4), t.port).String()
		for {
			var conn net.Conn
			err := within(s.outside, func() (err error) {
				conn, err = net.DialTimeout("tcp4", to, time.Second)
				return err
			})
			t.mu.Lock()
			if t.conns == nil {
				t.mu.Unlock()
				if err == nil {
					conn.Close()
				}
				return
			}
			if err == nil {
				t.conns[conn] = true
				t.working.Go(func() { t.converse(conn) })
				t.mu.Unlock()
				return
			}
			t.mu.Unlock()
			time.Sleep(10 * time.Millisecond) // it may not listen yet, and says nothing when it does
		}
	})
}

func (t *target) converse(conn net.Conn) {
	defer func() {
		conn.Close()
		t.mu.Lock()
		delete(t.conns, conn)
		t.mu.Unlock()
	}()
	lines := bufio.NewReader(conn)
	for {
		if _, err := lines.ReadString('\n'); err != nil {
			return
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

func (t *target) echo() {
	buf := make([]byte, 1<<16)
	for {
		_, from, err := t.packets.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = t.packets.WriteTo([]byte(answer), from)
	}
}
