package probe

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Stage is two network namespaces with a cable between them: attempts are
// made in one, the target is in the other. They are gone once the Stage is
// closed and no process is left in them.
type Stage struct {
	Inside *os.File // network namespace of the attempts

	outside *os.File // that of the target
	mac     net.HardwareAddr
	sniffer *sniffer
	fence   int          // socket in the inner namespace that belongs to no workload
	tidy    func() error // nil: what lay made goes with the namespaces
}

// The cable, the same on every stage: nothing else is in its namespaces.
const (
	cable   = "probe0"
	innerV4 = "198.18.77.1"
	outerV4 = "198.18.77.2"
	innerV6 = "fd00:77::1"
	outerV6 = "fd00:77::2"
)

// NewStage makes a stage. The caller must not be in a captured workload.
func NewStage() (*Stage, error) { return newStage((*Stage).lay) }

// newStage makes a stage whose cable lay makes.
func newStage(lay func(*Stage) error) (*Stage, error) {
	s := &Stage{fence: -1}
	if err := s.build(lay); err != nil {
		return nil, errors.Join(fmt.Errorf("make network namespaces: %w", err), s.Close())
	}
	return s, nil
}

// lay lays the cable from the one namespace to the other.
func (s *Stage) lay() error {
	return within(s.Inside, func() error {
		veth := netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: cable}, PeerName: cable, PeerNamespace: netlink.NsFd(s.outside.Fd())}
		return netlink.LinkAdd(&veth)
	})
}

func (s *Stage) build(lay func(*Stage) error) (err error) {
	if s.Inside, err = newNamespace(); err != nil {
		return err
	}
	if s.outside, err = newNamespace(); err != nil {
		return err
	}
	if err := lay(s); err != nil {
		return fmt.Errorf("lay a cable: %w", err)
	}
	err = within(s.Inside, func() error {
		if err := plugIn(cable, innerV4, innerV6, outerV4, outerV6); err != nil {
			return err
		}
		s.fence, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return err
	}
	return within(s.outside, func() error {
		if err := plugIn(cable, outerV4, outerV6, innerV4, innerV6); err != nil {
			return err
		}
		link, err := netlink.LinkByName(cable)
		if err != nil {
			return err
		}
		s.mac = link.Attrs().HardwareAddr
		s.sniffer, err = sniff(link)
		return err
	})
}

// Start starts a program in the inner network namespace.
func (s *Stage) Start(cmd *exec.Cmd) error {
	return within(s.Inside, cmd.Start)
}

// Close lets go of the stage. It may be called again.
func (s *Stage) Close() error {
	if s.sniffer != nil {
		s.sniffer.close()
		s.sniffer = nil
	}
	if s.fence >= 0 {
		unix.Close(s.fence)
		s.fence = -1
	}
	for _, ns := range []*os.File{s.Inside, s.outside} {
		if ns != nil {
			ns.Close()
		}
	}
	if s.tidy != nil {
		defer func() { s.tidy = nil }()
		return s.tidy()
	}
	return nil
}

// newNamespace makes a network namespace with loopback up.
func newNamespace() (ns *os.File, err error) {
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := up("lo"); err != nil {
			return err
		}
		// TCP Fast Open for servers too; it is this namespace's own.
		if err := os.WriteFile("/proc/sys/net/ipv4/tcp_fastopen", []byte("3"), 0); err != nil {
			return err
		}
		// Anyone may ping.
		if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0); err != nil {
			return err
		}
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}

// plugIn gives an interface its addresses, puts it up and sends everything
// there.
func plugIn(name, own4, own6, gate4, gate6 string) error {
	if err := address(name, netip.MustParseAddr(own4), 24); err != nil {
		return err
	}
	if err := address(name, netip.MustParseAddr(own6), 64); err != nil {
		return err
	}
	if err := gateway(name, gate4); err != nil {
		return err
	}
	return gateway(name, gate6)
}

// address gives an interface an address and puts it up.
func address(name string, ip netip.Addr, bits int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	// No duplicate address detection: nobody else is on the cable.
	addr := netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(bits, ip.BitLen())}, Flags: unix.IFA_F_NODAD}
	if err := netlink.AddrAdd(link, &addr); err != nil {
		return fmt.Errorf("add %s: %w", ip, err)
	}
	return netlink.LinkSetUp(link)
}

// gateway sends everything by the interface to a gateway.
func gateway(name, gate string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(gate)}); err != nil {
		return fmt.Errorf("route by %s: %w", gate, err)
	}
	return nil
}

// within runs f on a thread in the network namespace ns. Sockets that f makes
// and processes that it starts stay there.
func within(ns *os.File, f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// onThread runs f on a thread that ends with it, because it is never unlocked:
// nobody else is in the namespaces that f enters.
func onThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		result <- f()
	}()
	return <-result
}
