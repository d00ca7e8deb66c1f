package capture

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/bpf"
)

// adopt makes the maps an earlier agentd may have left ours: its listeners are
// gone, and with them the connections that waited there.
func (c *Capture) adopt() error {
	maps := &c.kernel.CaptureMaps
	if err := errors.Join(clearMap[uint64, bpf.CapturePorts](maps.AgentdPorts), clearMap[bpf.CaptureFlow, bpf.CaptureOrigin](maps.AgentdFlows)); err != nil {
		return err
	}
	if err := c.sayAlive(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restore()
}

// restore makes the workloads ours that an earlier agentd had captured, as the
// kernel side has kept them. The caller holds c.mu.
func (c *Capture) restore() error {
	var (
		id    uint64
		entry bpf.CaptureWorkload
		errs  []error
	)
	kept := c.kernel.AgentdCaptured.Iterate()
	for kept.Next(&id, &entry) {
		dir, err := cgroup.Dir(c.hierarchy, id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		w := Workload{Cgroup: dir, Name: unix.ByteSliceToString(entry.Name[:]), Source: unix.ByteSliceToString(entry.Source[:])}
		if entry.Down == bpf.CaptureDownBYPASS_DOWN {
			w.WhenDown = Bypass
		}
		c.workloads[id] = &workload{Workload: w, given: map[uint64]bool{}}
		used, _, err := c.listenWhereUsed(dir)
		if err == nil && len(used) == 0 {
			var l *listener
			if l, err = c.listenIn(c.host); err == nil {
				c.workloads[id].given[l.cookie] = true
			}
		}
		errs = append(errs, err)
	}
	gone := deleteWhere(c.kernel.AgentdCaptured, func(id *uint64, _ *bpf.CaptureWorkload) bool { return c.workloads[*id] == nil })
	// A namespace that cannot be listened in is refused in the kernel, and
	// tried again by Reconcile: no reason not to start.
	if err := errors.Join(errs...); err != nil {
		c.log.Error("listen for what an earlier agentd captured", "error", err)
	}
	return errors.Join(kept.Err(), gone)
}
