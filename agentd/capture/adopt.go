package capture

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/bpf"
)

// adopt makes the maps an earlier agentd may have left ours: its listeners are
// gone, and with them the connections that waited there, unless it has handed
// them over.
func (c *Capture) adopt(from *Inheritance) error {
	maps := &c.kernel.CaptureMaps
	if from != nil {
		if err := c.inherit(from); err != nil {
			return err
		}
	} else if err := errors.Join(clearMap[uint64, bpf.CapturePorts](maps.AgentdPorts), clearMap[bpf.CaptureFlow, bpf.CaptureOrigin](maps.AgentdFlows)); err != nil {
		return err
	}
	if err := c.sayAlive(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.restore(from); err != nil {
		return err
	}
	return c.freeOwn()
}

// sourceOwn is the source of the entry of our own cgroup.
const sourceOwn = "agentd"

// freeOwn decides that what else runs with us is not captured, and neither is
// what we do ourselves besides dialling. The caller holds c.mu.
func (c *Capture) freeOwn() error {
	own, err := cgroup.Own(c.hierarchy)
	if err != nil {
		return err
	}
	if _, err := c.decide(own, bpf.CaptureWorkload{Kind: bpf.CaptureKindFREE}, sourceOwn); err != nil {
		return fmt.Errorf("except our own cgroup: %w", err)
	}
	return nil
}

// restore makes the workloads ours that an earlier agentd had captured, as the
// kernel side has kept them. The caller holds c.mu.
func (c *Capture) restore(from *Inheritance) error {
	var (
		id    uint64
		entry bpf.CaptureWorkload
		errs  []error
	)
	kept := c.kernel.AgentdWorkload.Iterate()
	for kept.Next(&id, &entry) {
		dir, err := cgroup.Dir(c.hierarchy, id)
		source := unix.ByteSliceToString(entry.Source[:])
		if errors.Is(err, fs.ErrNotExist) || source == sourceOwn {
			continue
		}
		if err != nil {
			return err
		}
		c.inherited[id] = true
		if entry.Kind != bpf.CaptureKindCAPTURED {
			c.decided[id] = decided{dir, entry.Kind == bpf.CaptureKindWATCHED}
			continue
		}
		w := Workload{Cgroup: dir, Name: unix.ByteSliceToString(entry.Name[:]), Source: source}
		if entry.Down == bpf.CaptureDownBYPASS_DOWN {
			w.WhenDown = Bypass
		}
		c.workloads[id] = &workload{Workload: w, id: id, given: from.givenTo(id)}
		errs = append(errs, c.listenForRestored(c.workloads[id]))
	}
	gone := deleteWhere(c.kernel.AgentdWorkload, func(id *uint64, _ *bpf.CaptureWorkload) bool { return !c.inherited[*id] })
	// A namespace that cannot be listened in is refused in the kernel, and
	// tried again by Reconcile: no reason not to start.
	if err := errors.Join(errs...); err != nil {
		c.log.Error("listen for what an earlier agentd captured", "error", err)
	}
	return errors.Join(kept.Err(), gone)
}

// listenForRestored listens where the processes of w are, in the host's
// network namespace if there are none.
func (c *Capture) listenForRestored(w *workload) error {
	used, _, err := c.listenWhereUsed(w)
	if err != nil || len(used)+len(w.given) > 0 {
		return err
	}
	l, err := c.listenIn(c.host, 0)
	if err == nil {
		w.given[l.cookie] = true
	}
	return err
}

// Settle forgets what an earlier agentd had decided and this one has not: call
// it once everything that is configured has been decided on.
func (c *Capture) Settle() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return os.ErrClosed
	}
	var errs []error
	for id := range c.inherited {
		errs = append(errs, c.remove(id))
	}
	return errors.Join(append(errs, c.unguardOthers())...)
}
