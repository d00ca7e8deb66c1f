package capture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

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

// strictPin is what the names of its pins begin with; an interface's number
// follows.
const strictPin = "link_strict_"

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

// lookAgain is how often cables are looked for that a namespace got later.
const lookAgain = 10 * time.Second

// guard puts strict mode on the host's ends of the cables of l's network
// namespace, if that was not done just now. It fails closed as far as it can:
// an error says which packets are not stopped, and the workload's status too.
// The caller holds c.mu.
func (c *Capture) guard(l *listener) error {
	if l.guards != nil && time.Since(l.guarded) < lookAgain {
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
	guards := map[int]guard{}
	var errs []error
	for _, index := range ends {
		g, known := l.guards[index]
		if !known {
			if g, err = c.kernel.guardLink(index); err != nil {
				errs = append(errs, fmt.Errorf("strict: %w", err))
				continue
			}
		}
		guards[index] = g
		delete(l.guards, index)
	}
	l.unguard() // what is left is of cables that are gone
	l.guards, l.guarded = guards, time.Now()
	return errors.Join(errs...)
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
		g.pin = filepath.Join(k.pins.Name(), strictPin+strconv.Itoa(index))
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

// unguardOthers takes off what an earlier agentd has left and nobody wants any
// more. The caller holds c.mu.
func (c *Capture) unguardOthers() error {
	if c.kernel.pins == nil {
		return nil
	}
	folder := c.kernel.pins.Name()
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, l := range c.listeners {
		for _, g := range l.guards {
			wanted[g.pin] = true
		}
	}
	var errs []error
	for _, e := range entries {
		if pin := filepath.Join(folder, e.Name()); strings.HasPrefix(e.Name(), strictPin) && !wanted[pin] {
			errs = append(errs, os.Remove(pin))
		}
	}
	return errors.Join(errs...)
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
