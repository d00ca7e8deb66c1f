package probe

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
)

// NewNodeStage makes a stage whose cable goes by a bridge in our own network
// namespace, as those of pods go by the node's: there strict mode can be. What
// it drops does not reach the target, where the sniffer is; on the bridge's
// own ports a sniffer would still hear it.
func NewNodeStage() (*Stage, error) { return newStage((*Stage).layByNode) }

func (s *Stage) layByNode() error {
	// Nothing else is to drop what is not as it should be.
	for _, family := range []string{"ip", "ip6"} {
		err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+family+"tables", []byte("0"), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	name := strings.ToLower(rand.Text()[:8])
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br" + name}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return err
	}
	s.tidy = func() error { return netlink.LinkDel(bridge) }
	for end, ns := range map[string]uintptr{"in": s.Inside.Fd(), "out": s.outside.Fd()} {
		veth := netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: end + name, MasterIndex: bridge.Index}, PeerName: cable, PeerNamespace: netlink.NsFd(ns)}
		if err := netlink.LinkAdd(&veth); err != nil {
			return err
		}
		if err := up(end + name); err != nil {
			return err
		}
	}
	return up("br" + name)
}
