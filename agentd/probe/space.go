package probe

import (
	"fmt"
	"net"
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
		Name: "a network namespace made by the workload, with a cable out", Over: []Family{V4}, Alone: true, Want: Captured, Strict: Unserved,
		Why: "needs CAP_NET_ADMIN; strict mode forwards nothing, and so not what agentd sends from there either", try: (*scene).tunnel,
	},
	{
		Name: "in another network namespace", Over: []Family{V4}, Local: true, Alone: true, Want: Captured,
		Why: "needs CAP_SYS_ADMIN and a way to the namespace", try: func(s *scene) error {
			if err := s.enter(s.Beyond); err != nil {
				return err
			}
			return connecting(0, nil)(s)
		},
	},
	{
		Name: "with a socket of another network namespace", Over: []Family{V4}, Local: true, Alone: true, Want: Dropped,
		Why: "needs CAP_SYS_ADMIN and a way to the namespace", try: (*scene).foreign,
	},
	{
		Name: "loopback routed to the cable", Over: []Family{V4}, Alone: true, Want: Dropped,
		Why: "needs CAP_NET_ADMIN", try: (*scene).reroute,
	},
	{
		Name: "loopback routed to the cable once connected", Over: []Family{V4}, Alone: true, Want: Captured,
		Why: "needs CAP_NET_ADMIN", try: (*scene).rerouteLater,
	},
	{
		Name: "loopback copied to the cable (tc mirred)", Over: []Family{V4}, Alone: true, Want: Open, Strict: Captured,
		Why: "needs CAP_NET_ADMIN; what agentd refuses is copied too", try: (*scene).mirror,
	},
	{
		Name: "packets forwarded from an interface of one's own (TUN)", Over: []Family{V4}, Alone: true, Want: Open, Strict: Dropped,
		Why: "needs CAP_NET_ADMIN and /dev/net/tun; nobody's socket has made what is forwarded", try: (*scene).inject,
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

// enter moves this thread to the network namespace at path.
func (s *scene) enter(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	s.Dest = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.Dest.Port())
	return nil
}

// foreign makes a socket elsewhere and comes back.
func (s *scene) foreign() error {
	const own = "/proc/self/ns/net"
	ours, err := os.Open(own)
	if err != nil {
		return err
	}
	if err := s.enter(s.Beyond); err != nil {
		return err
	}
	fd, err := s.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Setns(int(ours.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	return s.connect(fd)
}

// loopbackOut sends what goes to loopback out by the cable.
func loopbackOut() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(cable)
	if err != nil {
		return err
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_LOCAL, LinkIndex: lo.Attrs().Index},
		netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if err := netlink.RouteDel(&r); err != nil {
			return fmt.Errorf("delete route: %w", err)
		}
	}
	// Loopback addresses may go there, and come from there.
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+cable+"/route_localnet", []byte("1"), 0); err != nil {
		return err
	}
	_, all, _ := net.ParseCIDR("127.0.0.0/8")
	// By the target's own link address: no question is asked that nobody
	// would answer.
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: all, Gw: net.ParseIP(outerV4)}); err != nil {
		return fmt.Errorf("add route: %w", err)
	}
	return nil
}

// reroute connects by loopback: outside of a workload on purpose, inside
// because that is where agentd is.
func (s *scene) reroute() error {
	if err := loopbackOut(); err != nil {
		return err
	}
	if s.Free {
		s.Dest = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.Dest.Port())
	}
	return s.fastOpen(func(fd int) error { return unix.Sendto(fd, s.line(), unix.MSG_FASTOPEN, s.to()) })
}

// rerouteLater does so after the connection is there.
func (s *scene) rerouteLater() error {
	fd, err := s.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := s.connect(fd); err != nil {
		return err
	}
	if err := loopbackOut(); err != nil {
		return err
	}
	return s.say(fd)
}

// mirror has a copy of all that passes loopback go out by the cable.
func (s *scene) mirror() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(cable)
	if err != nil {
		return err
	}
	queue := netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: lo.Attrs().Index, Parent: netlink.HANDLE_CLSACT, Handle: netlink.MakeHandle(0xffff, 0)}}
	if err := netlink.QdiscAdd(&queue); err != nil {
		return fmt.Errorf("add clsact: %w", err)
	}
	copied := netlink.NewMirredAction(link.Attrs().Index)
	copied.MirredAction, copied.Action = netlink.TCA_EGRESS_MIRROR, netlink.TC_ACT_PIPE
	filter := netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: lo.Attrs().Index, Parent: netlink.HANDLE_MIN_EGRESS, Priority: 1, Protocol: unix.ETH_P_ALL},
		Actions:     []netlink.Action{copied},
	}
	if err := netlink.FilterAdd(&filter); err != nil {
		return fmt.Errorf("add filter: %w", err)
	}
	return connecting(0, nil)(s)
}

// inject has the kernel forward a packet that comes from an interface which
// this process itself is the other end of.
func (s *scene) inject() error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/net/tun: %w", err)
	}
	const name = "probetun"
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("make an interface: %w", err)
	}
	for _, path := range []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/" + name + "/accept_local"} {
		if err := os.WriteFile(path, []byte("1"), 0); err != nil {
			return err
		}
	}
	if err := address(name, netip.MustParseAddr("198.18.79.1"), 24); err != nil {
		return err
	}
	packet := s.ipv4From(netip.MustParseAddr("198.18.79.2"), unix.IPPROTO_UDP, s.datagram())
	if _, err := unix.Write(fd, packet); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
