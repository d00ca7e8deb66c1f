package probe

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// experimental is a protocol number that nobody uses, RFC 3692.
const experimental = 253

const needsRaw = "needs CAP_NET_RAW"

// raws are the ways below TCP and UDP.
var raws = []Vector{
	{Name: "raw IP with a header of one's own: a TCP SYN", Over: []Family{V4}, Want: Refused, Why: needsRaw, try: rawIP(unix.IPPROTO_RAW, (*scene).ipv4SYN)},
	{Name: "raw IP with a header of one's own: UDP", Over: []Family{V4}, Want: Refused, Why: needsRaw, try: rawIP(unix.IPPROTO_RAW, (*scene).ipv4UDP)},
	{Name: "raw IP with a header of one's own: UDP to port 53", Over: []Family{V4}, Port: 53, Want: Refused, Why: needsRaw, try: rawIP(unix.IPPROTO_RAW, (*scene).ipv4UDP)},
	{Name: "raw IP with a header of one's own: UDP over IPv6", Over: []Family{V6}, Want: Refused, Why: needsRaw, try: rawIP(unix.IPPROTO_RAW, (*scene).ipv6UDP)},
	{Name: "raw TCP", Want: Refused, Why: needsRaw, try: rawIP(unix.IPPROTO_TCP, (*scene).segment)},
	{Name: "raw UDP", Want: Refused, Why: needsRaw, try: rawIP(unix.IPPROTO_UDP, (*scene).datagram)},
	{Name: "raw ICMP", Want: Refused, Why: needsRaw, try: func(s *scene) error {
		if s.Family == V6 {
			return rawIP(unix.IPPROTO_ICMPV6, (*scene).ping)(s)
		}
		return rawIP(unix.IPPROTO_ICMP, (*scene).ping)(s)
	}},
	{Name: "raw IP of an unused protocol", Want: Refused, Why: needsRaw, try: rawIP(experimental, (*scene).line)},
	{Name: "a ping socket", Want: Refused, Why: "needs net.ipv4.ping_group_range", Lacks: []unix.Errno{unix.EACCES}, try: func(s *scene) error {
		protocol := unix.IPPROTO_ICMP
		if s.Family == V6 {
			protocol = unix.IPPROTO_ICMPV6
		}
		return sending(unix.SOCK_DGRAM, protocol, func(s *scene, fd int) error {
			return unix.Sendto(fd, s.ping(), 0, s.portless())
		})(s)
	}},
}

// rawIP sends what make makes by a raw socket.
func rawIP(protocol int, what func(*scene) []byte) func(*scene) error {
	return sending(unix.SOCK_RAW, protocol, func(s *scene, fd int) error {
		return unix.Sendto(fd, what(s), 0, s.portless())
	})
}

// portless is the target's address as raw sockets want it.
func (s *scene) portless() unix.Sockaddr { return sockaddr(netip.AddrPortFrom(s.Dest.Addr(), 0)) }

// segment is a SYN. Its checksum is wrong, which a sniffer does not mind.
func (s *scene) segment() []byte {
	b := binary.BigEndian.AppendUint16(nil, 40000)
	b = binary.BigEndian.AppendUint16(b, s.Dest.Port())
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, 5<<4, 2, 0xff, 0xff, 0, 0, 0, 0)
	return append(b, s.line()...)
}

func (s *scene) datagram() []byte {
	b := binary.BigEndian.AppendUint16(nil, 40000)
	b = binary.BigEndian.AppendUint16(b, s.Dest.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(s.line())))
	return append(append(b, 0, 0), s.line()...)
}

func (s *scene) ping() []byte {
	kind := byte(8)
	if s.Family == V6 {
		kind = 128
	}
	return append([]byte{kind, 0, 0, 0, 0, 1, 0, 1}, s.line()...)
}

func (s *scene) ipv4SYN() []byte { return s.ipv4(unix.IPPROTO_TCP, s.segment()) }
func (s *scene) ipv4UDP() []byte { return s.ipv4(unix.IPPROTO_UDP, s.datagram()) }

func (s *scene) ipv4(protocol byte, payload []byte) []byte {
	return s.ipv4From(netip.MustParseAddr(innerV4), protocol, payload)
}

// ipv4From is a packet to the target.
func (s *scene) ipv4From(source netip.Addr, protocol byte, payload []byte) []byte {
	return ipv4Between(source, netip.MustParseAddr(outerV4), protocol, payload)
}

func ipv4Between(source, dest netip.Addr, protocol byte, payload []byte) []byte {
	from, to := source.As4(), dest.As4()
	b := []byte{0x45, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(payload)))
	b = append(b, 0, 1, 0, 0, 64, protocol, 0, 0)
	b = append(append(b, from[:]...), to[:]...)
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	return append(b, payload...)
}

func (s *scene) ipv6UDP() []byte {
	return ipv6Between(netip.MustParseAddr(innerV6), netip.MustParseAddr(outerV6), unix.IPPROTO_UDP, s.datagram())
}

func ipv6Between(source, dest netip.Addr, protocol byte, payload []byte) []byte {
	from, to := source.As16(), dest.As16()
	b := binary.BigEndian.AppendUint16([]byte{6 << 4, 0, 0, 0}, uint16(len(payload)))
	b = append(b, protocol, 64)
	b = append(append(b, from[:]...), to[:]...)
	return append(b, payload...)
}
