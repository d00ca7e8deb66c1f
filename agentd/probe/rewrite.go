package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	ownNetwork = "needs CAP_NET_ADMIN"
	ownProgram = "needs CAP_NET_ADMIN and CAP_BPF"
)

// rewrites are the ways by changing packets on their way through a network
// namespace that the workload is master of.
var rewrites = []Vector{
	{
		Name: "agentd's listener sent on to the target (DNAT)", Over: []Family{V4}, Alone: true, Want: Dropped, Why: ownNetwork,
		Lacks: noNAT, try: (*scene).divertListener,
	},
	{
		Name: "agentd's own connection sent on to another target (DNAT)", Over: []Family{V4}, Alone: true, Want: Open, Strict: Dropped,
		Why: ownNetwork + "; agentd believes that it speaks to the first", Lacks: noNAT, try: (*scene).divertUpstream,
	},
	{
		Name: "an address elsewhere, taken by the workload itself", Over: []Family{V4}, Local: true, Alone: true, Want: Captured,
		Why: ownNetwork + "; it speaks to itself, in another's name", try: (*scene).impersonate,
	},
	{
		Name: "DNS that becomes something else on its way out (tc, BPF)", Over: []Family{V4}, Alone: true, Want: Open, Strict: Dropped,
		Why: ownProgram, Lacks: noPrograms, try: (*scene).disguise,
	},
	{
		Name: "loopback sent to the cable once connected (tc, BPF)", Over: []Family{V4}, Alone: true, Want: Open, Strict: Captured,
		Why: ownProgram, Lacks: noPrograms, try: (*scene).smuggle,
	},
}

var (
	noNAT      = []unix.Errno{unix.ENOENT, unix.ENOSYS} // see iptables
	noPrograms = []unix.Errno{unix.EPERM, unix.EINVAL}
)

// iptables adds a rule of network address translation.
func iptables(rule ...string) error {
	out, err := exec.Command("iptables", append([]string{"-w", "-t", "nat", "-A"}, rule...)...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("iptables: %w", unix.ENOENT)
	}
	if err != nil {
		return fmt.Errorf("iptables: %w: %s", unix.ENOSYS, out)
	}
	return nil
}

// divert sends what goes to an address and port to the target instead.
func (s *scene) divert(from netip.AddrPort) error {
	return iptables("OUTPUT", "-p", "tcp", "-d", from.Addr().String(), "--dport", strconv.Itoa(int(from.Port())),
		"-j", "DNAT", "--to-destination", s.Dest.String())
}

// divertListener connects by loopback: outside of a workload on purpose,
// inside because that is where agentd is.
func (s *scene) divertListener() error {
	port, err := s.listenerPort()
	if err != nil {
		return err
	}
	local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
	if s.Free {
		local = netip.AddrPortFrom(local.Addr(), s.Dest.Port())
	}
	// Loopback addresses may leave, with an address that can be answered.
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/all/route_localnet", []byte("1"), 0); err != nil {
		return err
	}
	if err := errors.Join(s.divert(local), iptables("POSTROUTING", "-o", cable, "-j", "MASQUERADE")); err != nil {
		return err
	}
	if s.Free {
		s.Dest = local
	}
	return connecting(0, nil)(s)
}

func (s *scene) divertUpstream() error {
	told := netip.AddrPortFrom(s.Dest.Addr(), s.Dest.Port()^1)
	if err := s.divert(told); err != nil {
		return err
	}
	s.Dest = told
	return connecting(0, nil)(s)
}

// impersonate answers in another's place. The target's own address stays, as
// the stage needs it.
func (s *scene) impersonate() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	const elsewhere = "198.18.80.1"
	s.Dest = netip.AddrPortFrom(netip.MustParseAddr(elsewhere), s.Dest.Port())
	addr := netlink.Addr{IPNet: netlink.NewIPNet(net.ParseIP(elsewhere))}
	if err := netlink.AddrAdd(lo, &addr); err != nil {
		return fmt.Errorf("add address: %w", err)
	}
	l, err := s.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(l, s.to()); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(l, 1); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	answered := make(chan error, 1)
	go func() {
		fd, _, err := unix.Accept(l)
		if err == nil {
			_, err = unix.Write(fd, []byte(answer))
		}
		answered <- err
	}()
	return errors.Join(connecting(0, nil)(s), <-answered)
}

// Where things are in a frame of IPv4 without options.
const (
	frameMACs     = 0
	frameProtocol = 14 + 9
	frameDest     = 14 + 16
	framePort     = 14 + 20 + 2
)

// put stores bytes into the packet that R6 is.
func put(offset int32, b []byte) (code asm.Instructions) {
	const place = -16
	for i, v := range b {
		code = append(code, asm.StoreImm(asm.RFP, int16(place+i), int64(v), asm.Byte))
	}
	return append(code, asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, offset), asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, place),
		asm.Mov.Imm(asm.R4, int32(len(b))), asm.Mov.Imm(asm.R5, 0), asm.FnSkbStoreBytes.Call())
}

// program puts a program on all that leaves by an interface.
func program(name string, code asm.Instructions) error {
	code = append(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}, code...)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: code, License: "GPL"})
	if err != nil {
		return fmt.Errorf("load a program: %w", err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	index := link.Attrs().Index
	queue := netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Parent: netlink.HANDLE_CLSACT, Handle: netlink.MakeHandle(0xffff, 0)}}
	if err := netlink.QdiscAdd(&queue); err != nil {
		return fmt.Errorf("add clsact: %w", err)
	}
	filter := netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_EGRESS, Priority: 1, Protocol: unix.ETH_P_ALL},
		Fd:          p.FD(), Name: "probe", DirectAction: true,
	}
	if err := netlink.FilterAdd(&filter); err != nil {
		return fmt.Errorf("add filter: %w", err)
	}
	return nil
}

// disguise sends to a port that is allowed, and changes that on the way.
func (s *scene) disguise() error {
	code := asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, frameProtocol), asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, -1),
		asm.Mov.Imm(asm.R4, 1), asm.StoreImm(asm.RFP, -1, 0, asm.Byte), asm.FnSkbLoadBytes.Call(),
		asm.LoadMem(asm.R1, asm.RFP, -1, asm.Byte), asm.JNE.Imm(asm.R1, unix.IPPROTO_UDP, "end"),
	}
	code = append(code, put(framePort, binary.BigEndian.AppendUint16(nil, s.Dest.Port()))...)
	code = append(code, asm.Mov.Imm(asm.R0, 0).WithSymbol("end"), asm.Return()) // TC_ACT_OK
	if err := program(cable, code); err != nil {
		return err
	}
	s.Dest = netip.AddrPortFrom(s.Dest.Addr(), 53)
	return sending(unix.SOCK_DGRAM, 0, (*scene).connectSend)(s)
}

// smuggle sends what goes to loopback out by the cable once connected, with
// addresses that switches and the target take.
func (s *scene) smuggle() error {
	to := s.Dest
	if s.Free { // nobody is on loopback but ourselves
		l, err := s.socket(unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		s.Dest = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.Dest.Port())
		if err := errors.Join(unix.Bind(l, s.to()), unix.Listen(l, 1)); err != nil {
			return err
		}
	}
	fd, err := s.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, s.to()); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	link, err := netlink.LinkByName(cable)
	if err != nil {
		return err
	}
	addr := to.Addr().As4()
	code := append(put(frameMACs, append(append([]byte(nil), s.MAC...), link.Attrs().HardwareAddr...)), put(frameDest, addr[:])...)
	code = append(code, asm.Mov.Imm(asm.R1, int32(link.Attrs().Index)), asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), asm.Return())
	if err := program("lo", code); err != nil {
		return err
	}
	return s.say(fd)
}
