package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A sniffer hears every packet that comes to the target's end of the cable,
// whoever made it and however.
type sniffer struct {
	file *os.File
	mac  net.HardwareAddr
	done chan struct{}

	mu     sync.Mutex // guards what is below
	nonce  []byte     // what to listen for
	port   uint16
	flows  map[flow]bool
	fenced chan struct{}
	fence  []byte
}

// A flow is what came from one socket, or looks as if it did.
type flow struct {
	protocol string
	from     netip.AddrPort
}

// sniff listens on an interface of the calling thread's network namespace.
func sniff(link netlink.Link) (*sniffer, error) {
	all := int(htons(unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all)
	if err != nil {
		return nil, fmt.Errorf("listen to all packets: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: link.Attrs().Index}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen to all packets: %w", err)
	}
	s := &sniffer{file: os.NewFile(uintptr(fd), "sniffer"), mac: link.Attrs().HardwareAddr, done: make(chan struct{})}
	go s.run()
	return s, nil
}

func (s *sniffer) close() {
	s.file.Close()
	<-s.done
}

func (s *sniffer) run() {
	defer close(s.done)
	frame := make([]byte, 1<<16)
	for {
		n, err := s.file.Read(frame)
		if errors.Is(err, unix.ENETDOWN) {
			continue
		}
		if err != nil {
			return
		}
		s.hear(frame[:n])
	}
}

// hear notes a frame if it belongs to the attempt that is going on: it carries
// its nonce, or goes to its port.
func (s *sniffer) hear(frame []byte) {
	if len(frame) < 14 || bytes.Equal(frame[6:12], s.mac) {
		return // the target's own
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fence != nil && bytes.Contains(frame, s.fence) {
		s.fence = nil
		close(s.fenced)
		return
	}
	f, to := dissect(frame)
	if s.nonce != nil && bytes.Contains(frame, s.nonce) || s.port != 0 && to == s.port {
		s.flows[f] = true
	}
}

// expect begins an attempt.
func (s *sniffer) expect(nonce string, port uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nonce, s.port, s.flows = []byte(nonce), port, map[flow]bool{}
}

// heardFlows returns what belongs to the attempt so far.
func (s *sniffer) heardFlows() []flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []flow
	for f := range s.flows {
		all = append(all, f)
	}
	return all
}

// pass returns once a packet sent now has come by, and so everything that was
// sent before.
func (s *Stage) pass(ctx context.Context) error {
	word := []byte("fence:" + newNonce())
	passed := make(chan struct{})
	s.sniffer.mu.Lock()
	s.sniffer.fence, s.sniffer.fenced = word, passed
	s.sniffer.mu.Unlock()
	to := unix.SockaddrInet4{Addr: netip.MustParseAddr(outerV4).As4(), Port: 9}
	if err := unix.Sendto(s.fence, word, 0, &to); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("send a packet to the target: %w", err)
	}
	select {
	case <-passed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Second):
		return errors.New("a packet from outside of the workload did not reach the target: run the probe from a process that is not captured")
	}
}

// dissect finds out where an Ethernet frame is from, what it is and which port
// it goes to, 0 if it has none.
func dissect(frame []byte) (f flow, to uint16) {
	packet, kind := frame[14:], binary.BigEndian.Uint16(frame[12:])
	var (
		from     netip.Addr
		protocol byte
	)
	switch {
	case kind == unix.ETH_P_IP && len(packet) >= 20:
		from, _ = netip.AddrFromSlice(packet[12:16])
		protocol = packet[9]
		packet = packet[min(int(packet[0]&0xf)*4, len(packet)):]
	case kind == unix.ETH_P_IPV6 && len(packet) >= 40:
		from, _ = netip.AddrFromSlice(packet[8:24])
		protocol, packet = upper(packet[6], packet[40:])
	default:
		return flow{protocol: fmt.Sprintf("ethertype %#04x", kind)}, 0
	}
	f.protocol = protocolName(protocol)
	switch protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_SCTP, unix.IPPROTO_DCCP:
		if len(packet) < 4 {
			break
		}
		f.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(packet))
		return f, binary.BigEndian.Uint16(packet[2:])
	}
	f.from = netip.AddrPortFrom(from, 0)
	return f, 0
}

// upper skips the extension headers of IPv6 that are as long as they say in
// units of eight bytes.
func upper(next byte, packet []byte) (byte, []byte) {
	for (next == unix.IPPROTO_HOPOPTS || next == unix.IPPROTO_ROUTING || next == unix.IPPROTO_DSTOPTS) && len(packet) >= 8 {
		n := min(8+8*int(packet[1]), len(packet))
		next, packet = packet[0], packet[n:]
	}
	return next, packet
}

func protocolName(p byte) string {
	switch p {
	case unix.IPPROTO_TCP:
		return "TCP"
	case unix.IPPROTO_UDP:
		return "UDP"
	case unix.IPPROTO_UDPLITE:
		return "UDP-Lite"
	case unix.IPPROTO_SCTP:
		return "SCTP"
	case unix.IPPROTO_DCCP:
		return "DCCP"
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return "ICMP"
	}
	return fmt.Sprintf("protocol %d", p)
}

// describe lists flows for people.
func describe(flows []flow) string {
	var words []string
	for _, f := range flows {
		words = append(words, f.protocol+" from "+f.from.String())
	}
	return strings.Join(words, ", ")
}

func htons(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
