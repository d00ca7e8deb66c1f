package lab

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Netns is a network namespace that a test made. Nothing but the test's
// descriptor keeps it: it is gone with the test, however that ends.
type Netns struct {
	File *os.File
	Path string // can be opened by any process on this host while the test runs
}

// NewNetns makes a network namespace with loopback up.
func NewNetns(t testing.TB) *Netns {
	t.Helper()
	n := &Netns{}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := up("lo"); err != nil {
			return err
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		n.File = f
		return err
	})
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { n.File.Close() })
	n.Path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.File.Fd())
	return n
}

// Do runs f on a thread that is in the namespace. Sockets that f makes stay
// there; goroutines that it starts do not run there.
func (n *Netns) Do(t testing.TB, f func() error) {
	t.Helper()
	err := onThread(func() error {
		if err := unix.Setns(int(n.File.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		return f()
	})
	if err != nil {
		t.Fatalf("in network namespace: %v", err)
	}
}

// Listen listens on a TCP address in the namespace until the test ends.
func (n *Netns) Listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	n.Do(t, func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	})
	t.Cleanup(func() { l.Close() })
	return l
}

// Connect joins two namespaces with a cable: each gets an interface with the
// address given, IPv4 or IPv6 of one network (/24 or /64), and Connect returns
// its name, the same on both sides.
func Connect(t testing.TB, a *Netns, aAddr string, b *Netns, bAddr string) string {
	t.Helper()
	name := "lab" + strings.ToLower(rand.Text()[:8])
	a.Do(t, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: name},
			PeerName:      name,
			PeerNamespace: netlink.NsFd(b.File.Fd()),
		})
	})
	a.Do(t, func() error { return address(name, aAddr) })
	b.Do(t, func() error { return address(name, bAddr) })
	return name
}

// Route makes what a namespace sends to a network, as 10.77.0.0/16, go through
// an address on one of its cables.
func (n *Netns) Route(t testing.TB, network, via string) {
	t.Helper()
	to, err := netlink.ParseIPNet(network)
	if err != nil {
		t.Fatal(err)
	}
	n.Do(t, func() error { return netlink.RouteAdd(&netlink.Route{Dst: to, Gw: net.ParseIP(via)}) })
}

// address gives an interface an address and puts it up.
func address(name, text string) error {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	bits := 24
	if addr.Is6() {
		bits = 64
	}
	ip := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, addr.BitLen())}
	// No duplicate address detection: nobody else is on the cable.
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ip, Flags: unix.IFA_F_NODAD}); err != nil {
		return fmt.Errorf("give %s the address %s: %w", name, addr, err)
	}
	return up(name)
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("put %s up: %w", name, err)
	}
	return nil
}

// onThread runs f on a thread of its own, which ends with it because it is
// never unlocked: whatever namespace f enters, nobody else is in it.
func onThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		result <- f()
	}()
	return <-result
}
