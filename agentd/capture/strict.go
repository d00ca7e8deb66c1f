package capture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"agentd.dev/bpf"
)

// A guard is the program of strict mode on the host's end of one cable.
type guard struct {
	link link.Link
	pin  string // "" if it is not pinned
}

// lacksStrict is what a kernel lacks that has no tcx.
const lacksStrict = "strict mode, which stops packet sockets, needs Linux 6.6"

// loadStrict loads the program of strict mode.
func (k *kernel) loadStrict() error {
	spec, err := bpf.LoadStrict()
	if err != nil {
		return err
	}
	var objects struct {
		Strict *ebpf.Program `ebpf:"agentd_strict"`
	}
	if err := spec.LoadAndAssign(&objects, &ebpf.CollectionOptions{MapReplacements: k.shared(spec)}); err != nil {
		return explain(fmt.Errorf("load the program of strict mode: %w", err))
	}
	k.strict = objects.Strict
	k.optional = append(k.optional, k.strict)
	return nil
}

// guard puts strict mode on the host's ends of the cables of l's network
// namespace, if that is not done yet. It fails closed as far as it can: an
// error says which packets are not stopped, and the workload's status too. The
// caller holds c.mu.
func (c *Capture) guard(l *listener) error {
	if l.guards != nil {
		return nil
	}
	if c.kernel.strict == nil {
		return errors.New(lacksStrict)
	}
	if l.netns == c.host {
		return errors.New("strict: the workload is in the host's network namespace, where packet sockets cannot be stopped")
	}
	ends, err := hostEnds(l.netns)
	if err != nil {
		return fmt.Errorf("strict: %w", err)
	}
	if len(ends) == 0 {
		return errors.New("strict: its network namespace has no cable (veth) to the host's: packet sockets are not stopped")
	}
	var guards []guard
	for _, index := range ends {
		g, err := c.kernel.guardLink(index)
		if err != nil {
			for _, g := range guards {
				g.remove()
			}
			return fmt.Errorf("strict: %w", err)
		}
		guards = append(guards, g)
	}
	l.guards = guards
	return nil
}

// guardAll puts strict mode on all network namespaces of w that are listened
// in, if w wants it, and keeps for the status why it could not. The caller
// holds c.mu.
func (c *Capture) guardAll(w *workload, netns map[uint64]bool) {
	w.unguarded = nil
	if !w.Strict {
		return
	}
	for cookie := range netns {
		if l := c.listeners[cookie]; l != nil {
			w.unguarded = errors.Join(w.unguarded, c.guard(l))
		}
	}
}

// guardLink attaches the program to an interface, in place of the one that an
// earlier agentd may have left there.
func (k *kernel) guardLink(index int) (guard, error) {
	g := guard{}
	if k.pins != nil {
		g.pin = filepath.Join(k.pins.Name(), "link_strict_"+strconv.Itoa(index))
		old, err := link.LoadPinnedLink(g.pin, nil)
		if err == nil {
			if info, err := old.Info(); err == nil && info.TCX() != nil && int(info.TCX().Ifindex) == index && old.Update(k.strict) == nil {
				g.link = old
				return g, nil
			}
			_ = errors.Join(old.Unpin(), old.Close()) // of an interface that is gone
		}
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: k.strict, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
	if err != nil {
		return g, fmt.Errorf("attach to interface %d: %w", index, err)
	}
	g.link = l
	if g.pin == "" {
		return g, nil
	}
	if err := l.Pin(g.pin); err != nil {
		return g, errors.Join(err, l.Close())
	}
	return g, nil
}

// unguard ends strict mode in the network namespace of l.
func (l *listener) unguard() {
	for _, g := range l.guards {
		g.remove()
	}
	l.guards = nil
}

// remove takes a guard off. What is left of one whose interface is gone is
// only its pin.
func (g guard) remove() {
	if g.pin != "" {
		_ = os.Remove(g.pin)
	}
	_ = g.link.Close()
}

// hostEnds returns the interfaces of our own network namespace whose cables
// end in ns.
func hostEnds(ns *os.File) (ends []int, err error) {
	links, err := netlink.LinkList() // which makes the kernel give ns an id here
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	id, err := netlink.GetNetNsIdByFd(int(ns.Fd()))
	if err != nil {
		return nil, fmt.Errorf("find out how %s is known here: %w", ns.Name(), err)
	}
	for _, l := range links {
		if l.Type() == "veth" && id >= 0 && l.Attrs().NetNsID == id {
			ends = append(ends, l.Attrs().Index)
		}
	}
	return ends, nil
}
