package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A socket as the kernel lists it, sock_diag(7).
type listed struct {
	protocol uint8
	family   uint8
	state    uint8
	id       [idSize]byte // inet_diag_sockid, with the cookie: no other socket has it
	local    netip.AddrPort
	remote   netip.AddrPort
	inode    uint32 // 0: no process holds it
	cgroup   uint64 // id of the one it was made in; 0 if the kernel does not say
}

const (
	idSize      = 48
	messageSize = 4 + idSize + 20 // inet_diag_msg
	cgroupID    = 21              // INET_DIAG_CGROUP_ID, since Linux 5.8
)

// TCP's states, as in the kernel; a connected UDP socket is established.
const (
	established = 1
	listening   = 10
)

var states = map[uint8]string{
	established: "established",
	2:           "syn-sent",
	4:           "fin-wait-1",
	5:           "fin-wait-2",
	8:           "close-wait",
	listening:   "listen",
}

// kinds are the sockets that can reach another host without passing connect
// again.
var kinds = []struct {
	family, protocol uint8
	name             string
}{
	{unix.AF_INET, unix.IPPROTO_TCP, "tcp"},
	{unix.AF_INET6, unix.IPPROTO_TCP, "tcp"},
	{unix.AF_INET, unix.IPPROTO_UDP, "udp"},
	{unix.AF_INET6, unix.IPPROTO_UDP, "udp"},
}

// list returns the sockets of the calling thread's network namespace that are
// in one of the states above.
func list() ([]listed, error) {
	var all []listed
	for _, k := range kinds {
		found, err := listKind(k.family, k.protocol)
		if err != nil {
			return nil, fmt.Errorf("list sockets: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func listKind(family, protocol uint8) ([]listed, error) {
	var mask uint32
	for s := range states {
		mask |= 1 << s
	}
	if protocol == unix.IPPROTO_UDP {
		mask = 1 << established
	}
	const attempts = 3
	for attempt := 1; ; attempt++ {
		var all []listed
		r := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
		r.AddRawData(diagRequest(family, protocol, mask, [idSize]byte{}))
		err := r.ExecuteIter(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY, func(message []byte) bool {
			if s, ok := parseListed(message, protocol); ok {
				all = append(all, s)
			}
			return true
		})
		if errors.Is(err, nl.ErrDumpInterrupted) && attempt < attempts {
			continue
		}
		return all, err
	}
}

// diagRequest is an inet_diag_req_v2.
func diagRequest(family, protocol uint8, states uint32, id [idSize]byte) []byte {
	r := []byte{family, protocol, 0, 0}
	r = binary.NativeEndian.AppendUint32(r, states)
	return append(r, id[:]...)
}

// parseListed reads an inet_diag_msg with its attributes.
func parseListed(m []byte, protocol uint8) (s listed, ok bool) {
	if len(m) < messageSize {
		return s, false
	}
	s.family, s.state, s.protocol = m[0], m[1], protocol
	copy(s.id[:], m[4:])
	size := 16
	if s.family == unix.AF_INET {
		size = 4
	}
	s.local = diagAddress(s.id[4:4+size], s.id[0:2])
	s.remote = diagAddress(s.id[20:20+size], s.id[2:4])
	s.inode = binary.NativeEndian.Uint32(m[messageSize-4:])
	attributes, err := nl.ParseRouteAttr(m[messageSize:])
	if err != nil {
		return s, false
	}
	for _, a := range attributes {
		if a.Attr.Type == cgroupID && len(a.Value) == 8 {
			s.cgroup = binary.NativeEndian.Uint64(a.Value)
		}
	}
	return s, true
}

func diagAddress(address, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(address)
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
}

// destroy makes the kernel abort a socket of the calling thread's network
// namespace: its peer gets a reset, its owner ECONNABORTED. gone reports that
// it was not there any more.
func (s *listed) destroy() (gone bool, err error) {
	r := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	r.AddRawData(diagRequest(s.family, s.protocol, 0, s.id))
	_, err = r.Execute(unix.NETLINK_INET_DIAG, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) {
		return true, nil
	}
	return false, explainDestroy(err)
}

// canDestroy returns an error if this kernel cannot destroy sockets. It asks
// for one that cannot be there.
func canDestroy() error {
	for _, k := range kinds {
		_, err := (&listed{family: k.family, protocol: k.protocol}).destroy()
		if err != nil {
			return err
		}
	}
	return nil
}

func explainDestroy(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) {
		return errors.New("the kernel cannot reset connections of others: it was built without CONFIG_INET_DIAG_DESTROY")
	}
	return err
}

// acceptedBy reports whether s belongs to one of the sockets that listen: the
// other side has made this connection.
func (s *listed) acceptedBy(listeners []netip.AddrPort) bool {
	return s.protocol == unix.IPPROTO_TCP && slices.ContainsFunc(listeners, func(l netip.AddrPort) bool {
		return l.Port() == s.local.Port() && (l.Addr().IsUnspecified() || l.Addr() == s.local.Addr())
	})
}
