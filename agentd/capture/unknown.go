package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/bpf"
)

// Unknown is what cgroups below a watched one may do before anything was
// decided on them.
type Unknown uint8

const (
	UnknownHold  Unknown = iota // their connections wait for the decision
	UnknownDeny                 // their connections are refused
	UnknownAllow                // they are not captured yet
)

// A Stranger is a process that wants to connect and that nothing was decided
// on.
type Stranger struct {
	Cgroup uint64 // id of the cgroup it is in
	PID    int    // of its thread, in the host's pid namespace
}

// decided is a cgroup that is free or watched.
type decided struct {
	dir     string
	watched bool
}

// maxStrangers is how many may wait to be looked at. One that finds no place
// is not forgotten: its connection is accepted as unknown.
const maxStrangers = 1024

// wantedFor is how long a listener is kept after a connection has asked for
// it, whether or not a captured process is seen there.
const wantedFor = 10 * time.Second

// Free decides that the cgroup with directory dir, and what is below it and
// has no decision of its own, is not captured. It returns the cgroup's id.
func (c *Capture) Free(dir string) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, err := c.decide(dir, bpf.CaptureWorkload{Kind: bpf.CaptureKindFREE}, "")
	if err != nil {
		return 0, fmt.Errorf("leave %s alone: %w", dir, err)
	}
	return id, nil
}

// Watch makes everything below the cgroup with directory dir unknown that has
// no decision of its own; u says what it may do. It returns the cgroup's id.
// While agentd is away, down applies to what is held.
func (c *Capture) Watch(dir string, u Unknown, down Down) (uint64, error) {
	entry := bpf.CaptureWorkload{Kind: bpf.CaptureKindWATCHED, Unknown: unknowns[u], Down: downs[down]}
	c.mu.Lock()
	defer c.mu.Unlock()
	id, err := c.decide(dir, entry, "")
	if err != nil {
		return 0, fmt.Errorf("watch %s: %w", dir, err)
	}
	return id, nil
}

// What the kernel side calls these.
var (
	unknowns = [...]bpf.CaptureUnknown{UnknownHold: bpf.CaptureUnknownHOLD_UNKNOWN, UnknownDeny: bpf.CaptureUnknownDENY_UNKNOWN, UnknownAllow: bpf.CaptureUnknownALLOW_UNKNOWN}
	downs    = [...]bpf.CaptureDown{Refuse: bpf.CaptureDownREFUSE_DOWN, Bypass: bpf.CaptureDownBYPASS_DOWN}
)

// decide enters a decision that is not to capture. The caller holds c.mu.
func (c *Capture) decide(dir string, entry bpf.CaptureWorkload, source string) (uint64, error) {
	if c.closed {
		return 0, os.ErrClosed
	}
	if err := cgroup.Check(dir); err != nil {
		return 0, err
	}
	id, err := cgroup.ID(dir)
	if err != nil {
		return 0, err
	}
	copy(entry.Source[:], source)
	if err := c.kernel.AgentdWorkload.Put(id, &entry); err != nil {
		return 0, err
	}
	delete(c.workloads, id)
	delete(c.inherited, id)
	c.decided[id] = decided{dir, entry.Kind == bpf.CaptureKindWATCHED}
	c.tell()
	return id, nil
}

// Strangers hands out the processes whose connections wait for a decision:
// Add, Free or nothing, after which they are accepted as unknown. It is never
// closed.
func (c *Capture) Strangers() <-chan Stranger { return c.strangers }

// A Decision is what was decided on a cgroup or, if nothing was, on the nearest
// one above it.
type Decision uint8

const (
	Undecided Decision = iota // nothing, or only to watch it
	Captured
	Freed
)

// Decision returns how the cgroup with the given id stands now, and the id of
// the cgroup that decides. One that is gone is undecided.
func (c *Capture) Decision(id uint64) (Decision, uint64) {
	dir, err := cgroup.Dir(c.hierarchy, id)
	if err != nil {
		return Undecided, 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; len(dir) >= len(c.hierarchy); dir = filepath.Dir(dir) {
		id, err := cgroup.ID(dir)
		if err != nil {
			return Undecided, 0
		}
		if c.workloads[id] != nil {
			return Captured, id
		}
		if d, ok := c.decided[id]; ok && !d.watched {
			return Freed, id
		} else if ok {
			return Undecided, id
		}
	}
	return Freed, 0 // nobody watches it
}

// Await is Decision, but waits until something was decided or ctx ends. Its
// error is ctx's.
func (c *Capture) Await(ctx context.Context, id uint64) (Decision, uint64, error) {
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if d, by := c.Decision(id); d != Undecided {
			return d, by, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Undecided, 0, ctx.Err()
		}
	}
}

// tell wakes those who await a decision. The caller holds c.mu.
func (c *Capture) tell() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// attend sees to what waits in the kernel: it listens where that is wanted,
// until Close. What it cannot help waits in vain.
func (c *Capture) attend() {
	var record ringbuf.Record
	for {
		err := c.wants.ReadInto(&record)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			c.log.Error("read what the kernel side wants", "error", err)
			c.rest()
			continue
		}
		var want bpf.CaptureWant
		err = binary.Read(bytes.NewReader(record.RawSample), binary.NativeEndian, &want)
		if err == nil {
			err = c.listenWanted(want)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) { // else it has ended
			c.log.Warn("a connection waits in vain", "pid", want.Tid, "error", err)
		}
		if want.Unknown != 0 {
			select {
			case c.strangers <- Stranger{Cgroup: want.Cgroup, PID: int(want.Tid)}:
			default:
			}
		}
	}
}

// listenWanted listens in the network namespace that a connection waits in.
func (c *Capture) listenWanted(want bpf.CaptureWant) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	l := c.listeners[want.Netns]
	if l == nil {
		ns, err := os.Open("/proc/" + strconv.Itoa(int(want.Tid)) + "/ns/net")
		if err != nil {
			return err
		}
		defer ns.Close()
		if l, err = c.listenIn(ns, want.Captured); err != nil {
			return err
		}
		if l.cookie != want.Netns {
			return errors.New("its socket is of another network namespace than its process")
		}
	}
	if want.Unknown != 0 { // else its captured process keeps it
		l.wanted = time.Now()
	}
	return nil
}
