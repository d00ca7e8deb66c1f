package cluster

import (
	"net"
	"testing"

	"github.com/vishvananda/netlink"

	"agentd.dev/agentd/internal/lab"
)

// makeNetwork makes the node's network namespace and one beside it. There is no
// kube-proxy: the node itself has the address of the API server's service.
func (n *Node) makeNetwork(t testing.TB) {
	t.Helper()
	n.Netns, n.Beside = lab.NewNetns(t), lab.NewNetns(t)
	cable := lab.Connect(t, n.Netns, Address, n.Beside, Outside)
	n.Netns.Do(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(service), Mask: net.CIDRMask(32, 32)}}); err != nil {
			return err
		}
		return route(cable, "0.0.0.0/0", Outside) // the kubelet looks for one
	})
	n.Beside.Do(t, func() error { return route(cable, Pods, Address) })
}

func route(name, to, via string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	_, dst, err := net.ParseCIDR(to)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Gw: net.ParseIP(via)})
}
