package probe

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// datagrams are the ways by UDP.
var datagrams = []Vector{
	{Name: "UDP connect and send", Over: all, Want: Refused, try: sending(unix.SOCK_DGRAM, 0, (*scene).connectSend)},
	{Name: "UDP sendto", Over: all, Want: Refused, try: sending(unix.SOCK_DGRAM, 0, func(s *scene, fd int) error {
		return unix.Sendto(fd, s.line(), 0, s.to())
	})},
	{Name: "UDP sendmsg", Over: all, Want: Refused, try: sending(unix.SOCK_DGRAM, 0, func(s *scene, fd int) error {
		return unix.Sendmsg(fd, s.line(), nil, s.to(), 0)
	})},
	{Name: "UDP sendmmsg", Over: all, Want: Refused, try: sending(unix.SOCK_DGRAM, 0, func(s *scene, fd int) error {
		return sendmmsg(fd, s.line(), rawAddr(s.Dest, uint16(s.family())))
	})},
	{Name: "UDP in two parts (MSG_MORE)", Over: all, Want: Refused, try: sending(unix.SOCK_DGRAM, 0, func(s *scene, fd int) error {
		if err := unix.Sendto(fd, s.line(), unix.MSG_MORE, s.to()); err != nil {
			return err
		}
		return unix.Sendto(fd, s.line(), 0, s.to())
	})},
	{
		Name: "UDP in two parts, the first to a port that is allowed", Over: all, Want: Allowed, Port: 53,
		Why: "both go to the port of the first part", try: sending(unix.SOCK_DGRAM, 0, func(s *scene, fd int) error {
			if err := unix.Sendto(fd, s.line(), unix.MSG_MORE, s.to()); err != nil {
				return err
			}
			return unix.Sendto(fd, s.line(), 0, sockaddr(netip.AddrPortFrom(s.Dest.Addr(), 9999)))
		}),
	},
	{Name: "UDP in one call for many packets (UDP_SEGMENT)", Over: all, Want: Refused, try: sending(unix.SOCK_DGRAM, 0, func(s *scene, fd int) error {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 10); err != nil {
			return err
		}
		return unix.Sendto(fd, append(s.line(), make([]byte, 100)...), 0, s.to())
	})},
	{Name: "UDP without a copy (MSG_ZEROCOPY)", Over: all, Want: Refused, try: sending(unix.SOCK_DGRAM, 0, func(s *scene, fd int) error {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1); err != nil {
			return err
		}
		return unix.Sendto(fd, s.line(), unix.MSG_ZEROCOPY, s.to())
	})},
	{Name: "UDP sendto an address without family (AF_UNSPEC)", Over: []Family{V4}, Want: Refused, try: sending(unix.SOCK_DGRAM, 0, func(s *scene, fd int) error {
		return sendtoRaw(fd, s.line(), 0, rawAddr(s.Dest, unix.AF_UNSPEC))
	})},
	{Name: "UDP sendto an IPv4 address from an IPv6 socket", Over: []Family{V6}, Want: Refused, try: sending(unix.SOCK_DGRAM, 0, func(s *scene, fd int) error {
		dest := netip.AddrPortFrom(netip.MustParseAddr(outerV4), s.Dest.Port())
		return sendtoRaw(fd, s.line(), 0, rawAddr(dest, unix.AF_INET))
	})},
	{Name: "UDP connected to a port that is allowed, then sendto", Over: all, Want: Refused, try: sending(unix.SOCK_DGRAM, 0, func(s *scene, fd int) error {
		if err := unix.Connect(fd, sockaddr(netip.AddrPortFrom(s.Dest.Addr(), 53))); err != nil {
			return err
		}
		return unix.Sendto(fd, s.line(), 0, s.to())
	})},
	{Name: "UDP connected to a port that is allowed, then to another", Over: all, Want: Refused, try: sending(unix.SOCK_DGRAM, 0, func(s *scene, fd int) error {
		if err := unix.Connect(fd, sockaddr(netip.AddrPortFrom(s.Dest.Addr(), 53))); err != nil {
			return err
		}
		return s.connectSend(fd)
	})},
	{Name: "UDP by a source route (IP_OPTIONS)", Over: []Family{V4}, Want: Refused, try: sending(unix.SOCK_DGRAM, 0, func(s *scene, fd int) error {
		hop := s.Dest.Addr().As4()
		option := append(append([]byte{131, 7, 4}, hop[:]...), 0)
		if err := unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_OPTIONS, string(option)); err != nil {
			return err
		}
		return unix.Sendto(fd, s.line(), 0, s.to())
	})},
	{Name: "UDP-Lite", Over: all, Want: Refused, Lacks: []unix.Errno{unix.EPROTONOSUPPORT}, try: sending(unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, func(s *scene, fd int) error {
		return unix.Sendto(fd, s.line(), 0, s.to())
	})},
	{Name: "UDP-Lite connect and send", Over: all, Want: Refused, Lacks: []unix.Errno{unix.EPROTONOSUPPORT}, try: sending(unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, (*scene).connectSend)},
	{Name: "QUIC (UDP port 443)", Over: all, Port: 443, Want: Refused, try: sending(unix.SOCK_DGRAM, 0, (*scene).connectSend)},
	{Name: "DNS (UDP port 53)", Over: all, Port: 53, Want: Allowed, Why: "names have to be looked up, and what is answered is heard; a tunnel fits in them", try: sending(unix.SOCK_DGRAM, 0, (*scene).connectSend)},
	{
		Name: "UDP to port 53 by a routing header (IPV6_RTHDR)", Over: []Family{V6}, Port: 53, Want: Refused,
		Lacks: []unix.Errno{unix.EINVAL, unix.EPERM}, try: sending(unix.SOCK_DGRAM, 0, func(s *scene, fd int) error {
			if err := unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_RTHDR, string(s.segments())); err != nil {
				return err
			}
			return unix.Sendto(fd, s.line(), 0, s.to())
		}),
	},
	{Name: "UDP-Lite to port 53", Port: 53, Want: Refused, Lacks: []unix.Errno{unix.EPROTONOSUPPORT}, try: sending(unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, (*scene).connectSend)},
}

// sending is a way to send by a socket of a kind.
func sending(kind, protocol int, send func(*scene, int) error) func(*scene) error {
	return func(s *scene) error {
		fd, err := s.socket(kind, protocol)
		if err != nil {
			return err
		}
		if err := send(s, fd); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		return nil
	}
}

func (s *scene) connectSend(fd int) error {
	if err := unix.Connect(fd, s.to()); err != nil {
		return err
	}
	_, err := unix.Write(fd, s.line())
	return err
}
