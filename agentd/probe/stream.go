package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"

	"golang.org/x/sys/unix"
)

// all are the families of what does not depend on them.
var all = []Family{V4, V6, Mapped}

// streams are the ways to connect.
var streams = []Vector{
	{Name: "TCP connect", Over: all, Want: Captured, try: connecting(0, nil)},
	{Name: "TCP connect, non-blocking", Over: all, Want: Captured, try: (*scene).connectLater},
	{Name: "MPTCP connect", Over: all, Want: Captured, Lacks: []unix.Errno{unix.EPROTONOSUPPORT, unix.ENOPROTOOPT}, try: connecting(unix.IPPROTO_MPTCP, nil)},
	{Name: "TCP from a bound address", Over: all, Want: Captured, try: connecting(0, func(s *scene, fd int) error {
		return unix.Bind(fd, sockaddr(netip.AddrPortFrom(s.inner(), 0)))
	})},
	{Name: "TCP bound to an interface (SO_BINDTODEVICE)", Over: all, Want: Captured, try: connecting(0, func(_ *scene, fd int) error {
		return unix.BindToDevice(fd, cable)
	})},
	{Name: "TCP with a mark (SO_MARK)", Want: Captured, Why: "needs CAP_NET_RAW", try: connecting(0, func(_ *scene, fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 0xa9e7d)
	})},
	{Name: "TCP connect, AF_UNSPEC, connect again", Over: all, Want: Captured, try: (*scene).connectAgain},
	{Name: "TCP Fast Open by sendto", Over: all, Want: Captured, try: func(s *scene) error {
		return s.fastOpen(func(fd int) error { return unix.Sendto(fd, s.line(), unix.MSG_FASTOPEN, s.to()) })
	}},
	{Name: "TCP Fast Open by sendmsg", Over: all, Want: Captured, try: func(s *scene) error {
		return s.fastOpen(func(fd int) error { return unix.Sendmsg(fd, s.line(), nil, s.to(), unix.MSG_FASTOPEN) })
	}},
	{Name: "TCP Fast Open by connect (TCP_FASTOPEN_CONNECT)", Over: all, Want: Captured, try: func(s *scene) error {
		return s.fastOpen(func(fd int) error {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1); err != nil {
				return err
			}
			if err := unix.Connect(fd, s.to()); err != nil {
				return err
			}
			_, err := unix.Write(fd, s.line())
			return err
		})
	}},
	{Name: "MPTCP Fast Open by sendto", Want: Captured, Lacks: []unix.Errno{unix.EPROTONOSUPPORT, unix.ENOPROTOOPT, unix.EOPNOTSUPP}, try: func(s *scene) error {
		fd, err := s.socket(unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
		if err != nil {
			return err
		}
		if err := unix.Sendto(fd, s.line(), unix.MSG_FASTOPEN, s.to()); err != nil {
			return silence(err)
		}
		return s.hear(fd)
	}},
	{
		Name: "TCP with the handshake left out (TCP_REPAIR)", Want: Refused, Why: "needs CAP_NET_ADMIN",
		Lacks: []unix.Errno{unix.ENOPROTOOPT}, try: (*scene).repair,
	},
	{Name: "TCP by a source route (IP_OPTIONS)", Over: []Family{V4}, Want: Dropped, try: (*scene).sourceRoute},
	{
		Name: "TCP by a routing header (IPV6_RTHDR)", Over: []Family{V6}, Want: Dropped,
		Lacks: []unix.Errno{unix.EINVAL, unix.EPERM}, try: (*scene).routingHeader,
	},
	{Name: "fifty processes that connect as their first act", Want: Captured, try: (*scene).storm},
}

// connecting is a plain connect on a socket that was prepared.
func connecting(protocol int, prepare func(*scene, int) error) func(*scene) error {
	return func(s *scene) error {
		fd, err := s.socket(unix.SOCK_STREAM, protocol)
		if err != nil {
			return err
		}
		if prepare != nil {
			if err := prepare(s, fd); err != nil {
				return err
			}
		}
		return s.connect(fd)
	}
}

// connect connects fd to the target and hears whether that is there.
func (s *scene) connect(fd int) error {
	if err := unix.Connect(fd, s.to()); err != nil {
		return silence(fmt.Errorf("connect: %w", err))
	}
	return s.converse(fd)
}

// converse tells the target who we are and hears it.
func (s *scene) converse(fd int) error {
	if _, err := unix.Write(fd, s.line()); err != nil {
		return silence(fmt.Errorf("write: %w", err))
	}
	return s.hear(fd)
}

func (s *scene) hear(fd int) error {
	buf := make([]byte, 64)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return silence(fmt.Errorf("read: %w", err))
	}
	if string(buf[:n]) != answer {
		return fmt.Errorf("read: %q", buf[:n])
	}
	return nil
}

func (s *scene) connectLater() error {
	fd, err := s.socket(unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, s.to()); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect: %w", err)
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 1000); n == 0 || err != nil {
		return errors.Join(errSilent, err)
	}
	if code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
		return fmt.Errorf("connect: %w", errors.Join(err, unix.Errno(code)))
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return err
	}
	return s.converse(fd)
}

// connectAgain connects a socket elsewhere first: to nobody.
func (s *scene) connectAgain() error {
	fd, err := s.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := s.connect(fd); err != nil {
		return err
	}
	if err := disconnect(fd); err != nil {
		return fmt.Errorf("disconnect: %w", err)
	}
	return s.connect(fd)
}

// fastOpen sends with the first packet, without a cookie.
func (s *scene) fastOpen(send func(fd int) error) error {
	fd, err := s.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_NO_COOKIE, 1); err != nil {
		return fmt.Errorf("setsockopt: %w", err)
	}
	if err := send(fd); err != nil {
		return silence(fmt.Errorf("send: %w", err))
	}
	return s.hear(fd)
}

// repair makes a connection that the other end knows nothing of, as a restored
// checkpoint would.
func (s *scene) repair() error {
	fd, err := s.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil {
		return fmt.Errorf("setsockopt: %w", err)
	}
	if err := unix.Connect(fd, s.to()); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 0); err != nil {
		return fmt.Errorf("setsockopt: %w", err)
	}
	return s.converse(fd)
}

// sourceRoute asks the network to pass by the target on the way: the packet's
// own destination is then the target, wherever the socket is connected to.
func (s *scene) sourceRoute() error {
	hop := s.Dest.Addr().As4()
	option := append([]byte{131, 7, 4}, hop[:]...) // LSRR, RFC 791
	option = append(option, 0)
	return s.fastOpen(func(fd int) error {
		if err := unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_OPTIONS, string(option)); err != nil {
			return err
		}
		return unix.Sendto(fd, s.line(), unix.MSG_FASTOPEN, s.to())
	})
}

// segments is a segment routing header (RFC 8754) by way of the target.
func (s *scene) segments() []byte {
	hop := s.Dest.Addr().As16()
	header := []byte{0, 4, 4, 1, 1, 0, 0, 0} // two segments, one to go
	header = append(header, make([]byte, 16)...)
	return append(header, hop[:]...)
}

// routingHeader is the same as sourceRoute for IPv6.
func (s *scene) routingHeader() error {
	return s.fastOpen(func(fd int) error {
		if err := unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_RTHDR, string(s.segments())); err != nil {
			return err
		}
		return unix.Sendto(fd, s.line(), unix.MSG_FASTOPEN, s.to())
	})
}

// storm starts processes that connect at once.
func (s *scene) storm() error {
	var started []*exec.Cmd
	for range 50 {
		other, cmd := s.helper("connect")
		if err := other.start(cmd, s.Inside); err != nil {
			return err
		}
		started = append(started, cmd)
	}
	var errs []error
	for _, cmd := range started {
		errs = append(errs, cmd.Wait())
	}
	return errors.Join(errs...)
}
