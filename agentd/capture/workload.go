package capture

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/bpf"
)

// Down is what happens to the connections of a workload while agentd is away.
type Down uint8

const (
	Refuse Down = iota // ECONNREFUSED
	Bypass             // they go where they wanted to, unseen
)

// MaxName is how long the name of a workload may be, in bytes: what the kernel
// side keeps for the next agentd.
const MaxName = 64

// A Workload is a cgroup, and all below it, to capture.
type Workload struct {
	Cgroup   string // absolute path of the cgroup's directory
	Name     string // what people call it, at most MaxName bytes
	Source   string // where the name is from, as "run" or "unit", at most 12 bytes
	WhenDown Down
	// Strict drops, at the host's end of its cables, what no cgroup's hook
	// sees: the packets of packet sockets, and what it forwards.
	Strict bool
}

// workload is a captured one.
type workload struct {
	Workload
	id    uint64          // of the cgroup
	given map[uint64]bool // cookies of the network namespaces named in Add

	unguarded error // why strict mode is not everywhere it should be
	crowded   error // errCrowded if it is
}

// Add captures a workload and returns the id of its cgroup. Before it does, it
// listens in the network namespaces given and in those of the processes that
// are in the cgroup already; if that is none at all, in the host's. So the
// workload's connections are captured from one moment on, and never refused
// for want of a listener. Connections made before go on as they are, or are reset
// when it was not captured until now, as Options.Takeover says.
//
// Add may be called again for the same cgroup, to add namespaces or to change
// the rest. If it fails, nothing has changed, except that it may listen more.
func (c *Capture) Add(w Workload, netns ...*os.File) (uint64, error) {
	id, err := c.check(&w)
	if err != nil {
		return 0, fmt.Errorf("capture %s: %w", w.Cgroup, err)
	}
	known, err := c.add(id, w, netns)
	if err != nil {
		return 0, err
	}
	if known || c.takeover != Destroy {
		return id, nil
	}
	// It is captured, whatever comes of this.
	switch n, err := c.Destroy(id); {
	case err != nil:
		c.log.Error("connections from before go on", "workload", w.Name, "error", err)
	case n > 0:
		c.log.Info("connections from before were reset", "workload", w.Name, "connections", n)
	}
	return id, nil
}

// add is Add for a cgroup that can be captured. It reports whether it was
// captured already.
func (c *Capture) add(id uint64, w Workload, netns []*os.File) (known bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false, os.ErrClosed
	}
	added := &workload{Workload: w, id: id, given: map[uint64]bool{}}
	old := c.workloads[id]
	if known = old != nil; known {
		maps.Copy(added.given, old.given)
	}
	for _, ns := range netns {
		l, err := c.listenIn(ns, 0)
		if err != nil {
			return false, fmt.Errorf("capture %s: %w", w.Cgroup, err)
		}
		added.given[l.cookie] = true
	}
	used, _, err := c.listenWhereUsed(added)
	if err == nil && len(used)+len(added.given) == 0 {
		var l *listener
		if l, err = c.listenIn(c.host, 0); err == nil {
			added.given[l.cookie] = true
		}
	}
	if err != nil {
		return false, fmt.Errorf("capture %s: %w", w.Cgroup, err)
	}
	entry := w.entry()
	if err := c.kernel.AgentdWorkload.Put(id, &entry); err != nil {
		return false, fmt.Errorf("capture %s: %w", w.Cgroup, err)
	}
	c.workloads[id] = added
	maps.Copy(used, added.given)
	c.guardAll(added, used)
	delete(c.decided, id)
	delete(c.inherited, id)
	c.tell()
	return known, nil
}

// check returns the id of w's cgroup, or why it cannot be captured.
func (c *Capture) check(w *Workload) (uint64, error) {
	// The kernel side looks at this many levels: MAX_LEVEL in bpf/workload.h.
	const maxLevel = 32
	w.Cgroup = filepath.Clean(w.Cgroup)
	if len(w.Name) > MaxName || len(w.Source) > len(bpf.CaptureWorkload{}.Source) {
		return 0, fmt.Errorf("the name %q is too long: %d bytes are kept", w.Name, MaxName)
	}
	if err := cgroup.Check(w.Cgroup); err != nil {
		return 0, err
	}
	below, err := filepath.Rel(c.root, w.Cgroup)
	if err != nil || below == ".." || strings.HasPrefix(below, "../") {
		return 0, fmt.Errorf("it is not below %s, which agentd is attached to: set capture.root to a cgroup above both", c.root)
	}
	depth, err := filepath.Rel(c.hierarchy, w.Cgroup)
	if err != nil || strings.Count(depth, "/") >= maxLevel {
		return 0, fmt.Errorf("it is nested more than %d levels deep", maxLevel)
	}
	own, err := cgroup.Own(c.hierarchy)
	if err != nil {
		return 0, err
	}
	if own == w.Cgroup {
		return 0, errors.New("agentd itself runs in it, and is never captured: start agentd in a cgroup of its own")
	}
	return cgroup.ID(w.Cgroup)
}

// entry returns w as the kernel side keeps it.
func (w *Workload) entry() bpf.CaptureWorkload {
	e := bpf.CaptureWorkload{Kind: bpf.CaptureKindCAPTURED, Down: downs[w.WhenDown]}
	copy(e.Name[:], w.Name)
	copy(e.Source[:], w.Source)
	return e
}

// Remove forgets what was decided on the cgroup with the given id: that it is
// captured, free or watched. Connections that are captured go on. An id that
// nothing was decided on is no error.
func (c *Capture) Remove(id uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return os.ErrClosed
	}
	return errors.Join(c.remove(id), c.reconcile())
}

// remove is Remove without looking at the listeners.
func (c *Capture) remove(id uint64) error {
	delete(c.workloads, id)
	delete(c.decided, id)
	delete(c.inherited, id)
	c.tell()
	if err := c.kernel.AgentdWorkload.Delete(id); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("release cgroup %d: %w", id, err)
	}
	return nil
}

// Names returns the name of a captured workload by its cgroup id and where the
// name is from, "" for one that is not captured.
func (c *Capture) Names(id uint64) (name, source string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.workloads[id]; w != nil {
		return w.Name, w.Source
	}
	return "", ""
}

// staleFlow is when a connection that is not accepted yet never will be: the
// kernel has given up on its handshake by then, tcp(7).
const staleFlow = 3 * time.Minute

// Reconcile catches up with what happened: it listens in network namespaces
// that have appeared in captured cgroups, stops where no captured process is
// left, ends strict mode where nobody wants it any more, and forgets cgroups
// that are gone.
func (c *Capture) Reconcile() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return os.ErrClosed
	}
	return errors.Join(c.reconcile(), c.forgetStale())
}

func (c *Capture) reconcile() error {
	var errs []error
	needed := map[uint64]bool{}
	strict := map[uint64]bool{} // those in which a workload wants strict mode
	for id, w := range c.workloads {
		if now, err := cgroup.ID(w.Cgroup); errors.Is(err, fs.ErrNotExist) || err == nil && now != id {
			errs = append(errs, c.remove(id))
			continue
		}
		used, _, err := c.listenWhereUsed(w)
		if errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			errs = append(errs, c.remove(id))
			continue
		}
		errs = append(errs, err)
		maps.Copy(used, w.given)
		c.guardAll(w, used)
		maps.Copy(needed, used)
		if w.Strict {
			maps.Copy(strict, used)
		}
	}
	for id, d := range c.decided {
		if now, err := cgroup.ID(d.dir); errors.Is(err, fs.ErrNotExist) || err == nil && now != id {
			errs = append(errs, c.remove(id))
		}
	}
	if errors.Join(errs...) == nil { // else something may have been overlooked
		for id, l := range c.listeners {
			if !needed[id] && time.Since(l.wanted) > wantedFor {
				c.shut(l)
			} else if !strict[id] {
				l.unguard()
			}
		}
	}
	return errors.Join(errs...)
}

func (c *Capture) forgetStale() error {
	now, err := monotonic()
	if err != nil {
		return err
	}
	return deleteWhere(c.kernel.AgentdFlows, func(_ *bpf.CaptureFlow, o *bpf.CaptureOrigin) bool {
		at := o.Connection.At
		return now > at && now-at > uint64(staleFlow)
	})
}

// listenWhereUsed listens in every network namespace that a process of w is in,
// as far as there may be so many, and returns their cookies and the number of
// processes. It goes on after an error.
func (c *Capture) listenWhereUsed(w *workload) (used map[uint64]bool, processes int, err error) {
	used = map[uint64]bool{}
	w.crowded = nil
	pids, err := cgroup.Processes(w.Cgroup)
	if err != nil {
		return used, 0, fmt.Errorf("list the processes of %s: %w", w.Cgroup, err)
	}
	var errs []error
	for _, pid := range pids {
		l, err := c.listenFor(pid, w.id)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if errors.Is(err, errCrowded) {
			w.crowded = err
			processes++
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		used[l.cookie] = true
		processes++
	}
	return used, processes, errors.Join(errs...)
}

// listenFor listens in the network namespace of a process, for a workload.
func (c *Capture) listenFor(pid int, by uint64) (*listener, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/ns/net"
	// Looked at before it is opened: most are known, and stat costs less.
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	for _, l := range c.listeners {
		if l.inode == stat.Ino {
			return l, nil
		}
	}
	ns, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return c.listenIn(ns, by)
}
