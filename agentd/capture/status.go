package capture

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"agentd.dev/bpf"
)

// A Status says of a captured workload what the kernel says, not what was
// asked for.
type Status struct {
	Workload
	ID         uint64 // of the cgroup
	Processes  int
	Namespaces int    // network namespaces its processes are in
	Problem    string // why some of its connections are not captured, "" if all are
}

// Workloads returns what is captured, in the order of its cgroups' names.
func (c *Capture) Workloads() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Status
	for id, w := range c.workloads {
		if s, ok := c.status(id, w); ok {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Cgroup, b.Cgroup) })
	return all
}

// status asks the kernel about a workload. It is false for one whose cgroup is
// gone.
func (c *Capture) status(id uint64, w *workload) (Status, bool) {
	s := Status{Workload: w.Workload, ID: id}
	if c.closed {
		s.Problem = "agentd is stopping"
		return s, true
	}
	used, processes, err := c.listenWhereUsed(w)
	if errors.Is(err, fs.ErrNotExist) {
		return s, false
	}
	s.Processes, s.Namespaces = processes, len(used)
	errs := []error{err, w.crowded, w.unguarded, c.kernel.verify()}
	maps.Copy(used, w.given)
	for cookie := range used {
		if l := c.listeners[cookie]; l != nil {
			errs = append(errs, c.verify(l))
		}
	}
	var entry bpf.CaptureWorkload
	if err := c.kernel.AgentdWorkload.Lookup(id, &entry); err != nil || entry != w.entry() {
		errs = append(errs, errors.New("the kernel does not know that it is captured"))
	}
	if err := errors.Join(errs...); err != nil {
		s.Problem = err.Error()
	}
	return s, true
}
