package probe

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// absent is what kernels say of families and protocols that they do not have.
var absent = []unix.Errno{unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.ESOCKTNOSUPPORT, unix.ENODEV}

// What package unix does not name.
const (
	protocolDCCP = 33
	familySMC    = 43
)

const notIP = "not of the IP family, which the kernel side looks at"

// families are the ways by other protocols.
var families = []Vector{
	{Name: "SCTP", Want: Refused, Lacks: absent, try: connecting(unix.IPPROTO_SCTP, nil)},
	{Name: "SCTP, one to many", Want: Refused, Lacks: absent, try: sending(unix.SOCK_SEQPACKET, unix.IPPROTO_SCTP, func(s *scene, fd int) error {
		return unix.Sendto(fd, s.line(), 0, s.to())
	})},
	{Name: "DCCP", Want: Refused, Lacks: absent, try: func(s *scene) error {
		fd, err := s.socket(unix.SOCK_DCCP, protocolDCCP)
		if err != nil {
			return err
		}
		return s.connect(fd)
	}},
	{Name: "SMC, which falls back to TCP", Want: Captured, Lacks: absent, try: func(s *scene) error {
		protocol := 0 // SMCPROTO_SMC
		if s.Family == V6 {
			protocol = 1
		}
		fd, err := unix.Socket(familySMC, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		return s.connect(fd)
	}},
	socketOf("RDS", unix.AF_RDS, unix.SOCK_SEQPACKET, 0),
	socketOf("TIPC", unix.AF_TIPC, unix.SOCK_RDM, 0),
	socketOf("RxRPC", unix.AF_RXRPC, unix.SOCK_DGRAM, unix.AF_INET),
	socketOf("KCM", unix.AF_KCM, unix.SOCK_DGRAM, 0),
	socketOf("L2TP/PPP", unix.AF_PPPOX, unix.SOCK_STREAM, 0),
	socketOf("Bluetooth", unix.AF_BLUETOOTH, unix.SOCK_RAW, 1),
	socketOf("CAN", unix.AF_CAN, unix.SOCK_RAW, 1),
	socketOf("Phonet", unix.AF_PHONET, unix.SOCK_DGRAM, 0),
	socketOf("QIPCRTR", unix.AF_QIPCRTR, unix.SOCK_DGRAM, 0),
	{
		Name: "vsock, to the host of a virtual machine", Over: []Family{None}, Local: true, Want: Open, Why: notIP,
		Lacks: absent, try: func(*scene) error {
			fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("socket: %w", err)
			}
			// To ourselves only: whether it may be made is the question.
			_ = fd
			return nil
		},
	},
}

// socketOf is a socket of another family, which is nothing a cgroup's programs
// see. Whether it can be made is the question.
func socketOf(name string, family, kind, protocol int) Vector {
	return Vector{
		Name: name, Over: []Family{None}, Local: true, Want: Open, Why: notIP, Lacks: absent,
		try: func(*scene) error {
			if _, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol); err != nil {
				return fmt.Errorf("socket: %w", err)
			}
			return nil
		},
	}
}
