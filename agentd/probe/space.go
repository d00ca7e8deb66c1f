package probe

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// spaces are the ways by network namespaces and interfaces of one's own.
var spaces = []Vector{
	{
		Name: "a network namespace made by the workload", Over: []Family{V4}, Local: true, Want: Captured,
		Why: "needs a user namespace or CAP_SYS_ADMIN", try: (*scene).retreat,
	},
	{
		Name: "a network namespace made by the workload, with a cable out", Over: []Family{V4}, Alone: true, Want: Captured,
		Why: "needs CAP_NET_ADMIN", try: (*scene).tunnel,
	},
}

// retreat talks to itself in a new network namespace.
func (s *scene) retreat() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := up("lo"); err != nil {
		return err
	}
	s.Dest = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.Dest.Port())
	l, err := s.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(l, s.to()); err != nil {
		return err
	}
	if err := unix.Listen(l, 1); err != nil {
		return err
	}
	fd, err := s.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, s.to()); err != nil {
		return silence(fmt.Errorf("connect: %w", err))
	}
	if err := s.say(fd); err != nil {
		return err
	}
	peer, _, err := unix.Accept(l)
	if err != nil {
		return silence(fmt.Errorf("accept: %w", err))
	}
	if _, err := unix.Write(peer, []byte(answer)); err != nil {
		return err
	}
	return s.hear(fd)
}

// tunnel makes a network namespace behind ours and connects from there.
func (s *scene) tunnel() error {
	ours, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	const name, near, far = "probe1", "198.18.78.1", "198.18.78.2"
	veth := netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name, PeerNamespace: netlink.NsFd(ours.Fd())}
	if err := netlink.LinkAdd(&veth); err != nil {
		return fmt.Errorf("lay a cable: %w", err)
	}
	if err := within(ours, func() error {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			return err
		}
		return address(name, netip.MustParseAddr(near), 24)
	}); err != nil {
		return err
	}
	if err := up("lo"); err != nil {
		return err
	}
	if err := address(name, netip.MustParseAddr(far), 24); err != nil {
		return err
	}
	if err := gateway(name, near); err != nil {
		return err
	}
	return connecting(0, nil)(s)
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}
