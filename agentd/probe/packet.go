package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

const beneath = "needs CAP_NET_RAW; packets made below IP pass no hook of a cgroup: `capture.strict` stops them"

// packets are the ways beneath IP: nothing that goes by cgroups sees them.
var packets = []Vector{
	{Name: "AF_PACKET, whole frames", Want: Open, Strict: Dropped, Why: beneath, try: framing(unix.SOCK_RAW, nil, (*scene).frame)},
	{Name: "AF_PACKET, packets", Want: Open, Strict: Dropped, Why: beneath, try: framing(unix.SOCK_DGRAM, nil, (*scene).packet)},
	{Name: "AF_PACKET past the queues (PACKET_QDISC_BYPASS)", Want: Open, Strict: Dropped, Why: beneath, try: framing(unix.SOCK_RAW, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
	}, (*scene).frame)},
	{Name: "AF_PACKET by a ring (PACKET_TX_RING)", Want: Open, Strict: Dropped, Why: beneath, try: (*scene).transmitRing},
	{Name: "AF_XDP, in copy mode", Want: Open, Strict: Dropped, Why: beneath, Lacks: absent, try: (*scene).express},
	{
		Name: "having the kernel answer a ping in the target's name", Want: Open, Strict: Dropped,
		Why: "needs CAP_NET_RAW; the kernel repeats what it was asked, by a socket that is nobody's: strict mode stops answers to pings", try: (*scene).reflect,
	},
}

// kind is the Ethernet type of the scene's packets.
func (s *scene) kind() uint16 {
	if s.Family == V6 {
		return unix.ETH_P_IPV6
	}
	return unix.ETH_P_IP
}

// packet is UDP to the target.
func (s *scene) packet() []byte {
	if s.Family == V6 {
		return s.ipv6UDP()
	}
	return s.ipv4UDP()
}

func (s *scene) frame() []byte {
	own, err := net.InterfaceByName(cable)
	if err != nil {
		return nil
	}
	b := append(append([]byte(nil), s.MAC...), own.HardwareAddr...)
	return append(binary.BigEndian.AppendUint16(b, s.kind()), s.packet()...)
}

// link is the target as AF_PACKET names it.
func (s *scene) link() (*unix.SockaddrLinklayer, error) {
	own, err := net.InterfaceByName(cable)
	if err != nil {
		return nil, err
	}
	to := &unix.SockaddrLinklayer{Protocol: htons(s.kind()), Ifindex: own.Index, Halen: uint8(len(s.MAC))}
	copy(to.Addr[:], s.MAC)
	return to, nil
}

// framing sends what make makes by a packet socket.
func framing(kind int, prepare func(fd int) error, what func(*scene) []byte) func(*scene) error {
	return func(s *scene) error {
		fd, err := unix.Socket(unix.AF_PACKET, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		if prepare != nil {
			if err := prepare(fd); err != nil {
				return fmt.Errorf("setsockopt: %w", err)
			}
		}
		to, err := s.link()
		if err != nil {
			return err
		}
		if err := unix.Sendto(fd, what(s), 0, to); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		return nil
	}
}

// transmitRing puts a frame into memory that the kernel sends from,
// linux/if_packet.h.
func (s *scene) transmitRing() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	const size = 1 << 12
	var request []byte // struct tpacket_req: one block of one frame
	for _, v := range []uint32{size, 1, size, 1} {
		request = binary.NativeEndian.AppendUint32(request, v)
	}
	if err := unix.SetsockoptString(fd, unix.SOL_PACKET, unix.PACKET_TX_RING, string(request)); err != nil {
		return fmt.Errorf("setsockopt: %w", err)
	}
	ring, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	frame := s.frame()
	// struct tpacket_hdr of version 1: status, len, snaplen; the frame comes
	// after it, aligned, without the link address that a receiver gets.
	const header, status, length = 32, 0, 8
	copy(ring[header:], frame)
	binary.NativeEndian.PutUint32(ring[length:], uint32(len(frame)))
	binary.NativeEndian.PutUint64(ring[status:], unix.TP_STATUS_SEND_REQUEST)
	to, err := s.link()
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, to); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Send(fd, nil, 0); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if binary.NativeEndian.Uint64(ring[status:]) == unix.TP_STATUS_WRONG_FORMAT {
		return errors.New("send: the kernel does not understand the ring")
	}
	return nil
}

// reflect asks itself over loopback, from the target's address.
func (s *scene) reflect() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	ping := s.ping()
	var packet []byte
	if s.Family == V4 {
		packet = ipv4Between(netip.MustParseAddr(outerV4), s.inner(), unix.IPPROTO_ICMP, sealed(ping, 0))
	} else {
		from, to := netip.MustParseAddr(outerV6), s.inner()
		packet = ipv6Between(from, to, unix.IPPROTO_ICMPV6, sealed(ping, pseudo(from, to, unix.IPPROTO_ICMPV6, len(ping))))
	}
	to := &unix.SockaddrLinklayer{Protocol: htons(s.kind()), Ifindex: loopbackIndex, Halen: 6}
	if err := unix.Sendto(fd, packet, 0, to); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// loopbackIndex is that of lo in every network namespace.
const loopbackIndex = 1

// sealed puts the checksum of RFC 1071 into an ICMP message. From is what else
// it covers.
func sealed(b []byte, from uint32) []byte {
	for i, v := range b {
		from += uint32(v) << (8 * ((i + 1) % 2))
	}
	for from > 0xffff {
		from = from>>16 + from&0xffff
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(from))
	return b
}

// pseudo is the sum over what IPv6's checksums cover of the header.
func pseudo(from, to netip.Addr, protocol, length int) uint32 {
	sum := uint32(protocol + length)
	for _, a := range []netip.Addr{from, to} {
		for b := a.AsSlice(); len(b) > 0; b = b[2:] {
			sum += uint32(binary.BigEndian.Uint16(b))
		}
	}
	return sum
}
