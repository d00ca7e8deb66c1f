package capture

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/cgroup"
)

// Takeover is what becomes of the connections that a workload has when it is
// captured.
type Takeover uint8

const (
	Leave   Takeover = iota // they go on as they are, unseen
	Destroy                 // they are reset, so that they come again through agentd
)

// An Earlier is a connection of a captured workload that does not go through
// agentd: it was there before the capture, or was let past while agentd was
// away.
type Earlier struct {
	Workload uint64 // id of the captured cgroup
	Protocol string // tcp or udp
	Local    netip.AddrPort
	Remote   netip.AddrPort
	State    string // in TCP's words, as "established" and "syn-sent"
	PID      int    // of a process of the workload that holds it, 0 if none does
	// Accepted: the other side connected, to a socket that listens. It is never
	// destroyed, because nothing would bring it back through agentd.
	Accepted bool
	// Foreign: it was made in a cgroup outside of the workload, whose it may
	// still be. It is never destroyed.
	Foreign bool

	socket listed
}

// stays reports whether Destroy leaves a connection alone.
func (e *Earlier) stays() bool { return e.Accepted || e.Foreign }

// Earlier returns the connections that the captured workload with the given
// cgroup id, or one in a cgroup below it that nothing else was decided on, has
// beside agentd, in the network namespaces of its processes: TCP over IPv4 and
// IPv6, those that are only being made included, and UDP sockets that are
// connected to a port that captured workloads may not send to.
func (c *Capture) Earlier(id uint64) ([]Earlier, error) {
	places, err := c.placesOf(id)
	if err != nil {
		return nil, err
	}
	defer places.close()
	var all []Earlier
	for _, p := range places.namespaces {
		var sockets []listed
		err = errors.Join(err, c.inside(p.netns, func() (err error) {
			sockets, err = list()
			return err
		}))
		all = append(all, places.earlier(p, sockets)...)
	}
	if err != nil {
		return all, fmt.Errorf("connections from before the capture: %w", err)
	}
	return all, nil
}

// Destroy resets the connections that Earlier lists, but for those that are
// accepted or foreign, and returns how many there were. Their peers are told;
// whoever holds one gets ECONNABORTED, and is captured when it connects again.
func (c *Capture) Destroy(id uint64) (n int, err error) {
	places, err := c.placesOf(id)
	if err != nil {
		return 0, err
	}
	defer places.close()
	for _, p := range places.namespaces {
		err = errors.Join(err, c.inside(p.netns, func() error {
			sockets, err := list()
			for _, e := range places.earlier(p, sockets) {
				if e.stays() {
					continue
				}
				gone, failed := e.socket.destroy()
				err = errors.Join(err, failed)
				if failed == nil && !gone {
					n++
				}
			}
			return err
		}))
	}
	if err != nil {
		return n, fmt.Errorf("reset connections from before the capture: %w", err)
	}
	return n, nil
}

// CanDestroy returns why connections cannot be reset on this kernel, nil if
// they can.
func (c *Capture) CanDestroy() error { return c.inside(c.host, canDestroy) }

// places is where the connections of a workload may be.
type places struct {
	workload   uint64
	cgroups    map[uint64]bool // its own, and those below
	holders    map[uint32]int  // its processes, by the inodes of the sockets they hold
	host       *os.File
	allowed    map[uint16]bool // ports that datagrams may go to
	namespaces []namespace
}

// A namespace is one that the workload's processes are in.
type namespace struct {
	netns *os.File
	ours  []netip.AddrPort // where agentd listens
}

// placesOf finds out where the connections of a workload may be. What it
// returns keeps namespaces alive until it is closed.
func (c *Capture) placesOf(id uint64) (*places, error) {
	c.mu.Lock()
	w := c.workloads[id]
	closed := c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return nil, os.ErrClosed
	case w == nil:
		return nil, fmt.Errorf("cgroup %d is not captured", id)
	}
	pids, err := cgroup.Processes(w.Cgroup)
	if err != nil {
		return nil, err
	}
	p := &places{workload: id, host: c.host, holders: holders(pids)}

	c.mu.Lock()
	defer c.mu.Unlock()
	if p.cgroups, err = c.cgroupsOf(id, w.Cgroup); err != nil {
		return nil, err
	}
	if p.allowed, err = c.allowed(); err != nil {
		return nil, err
	}
	used, _, err := c.listenWhereUsed(w)
	if err != nil {
		return nil, err
	}
	maps.Copy(used, w.given)
	for cookie := range used {
		l := c.listeners[cookie]
		if l == nil {
			continue
		}
		n := namespace{netns: l.netns, ours: []netip.AddrPort{
			netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), l.ports.V4),
			netip.AddrPortFrom(netip.IPv6Loopback(), l.ports.V6),
		}}
		if l.netns != c.host {
			fd, err := unix.FcntlInt(l.netns.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				p.close()
				return nil, fmt.Errorf("keep %s: %w", l.netns.Name(), err)
			}
			n.netns = os.NewFile(uintptr(fd), l.netns.Name())
		}
		p.namespaces = append(p.namespaces, n)
	}
	return p, nil
}

// allowed returns the ports that captured workloads may send datagrams to.
func (c *Capture) allowed() (map[uint16]bool, error) {
	var (
		port uint16
		one  uint8
	)
	ports, all := map[uint16]bool{}, c.kernel.AgentdUdp.Iterate()
	for all.Next(&port, &one) {
		ports[port] = true
	}
	return ports, all.Err()
}

func (p *places) close() {
	for _, n := range p.namespaces {
		if n.netns != p.host {
			n.netns.Close()
		}
	}
}

// cgroupsOf returns the ids of a captured cgroup and those below it, but for
// agentd's own and those that something else was decided on. The caller holds
// c.mu.
func (c *Capture) cgroupsOf(workload uint64, dir string) (map[uint64]bool, error) {
	own, err := cgroup.Own(c.hierarchy)
	if err != nil {
		return nil, err
	}
	ids := map[uint64]bool{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil || !d.IsDir() {
			return err
		}
		id, err := cgroup.ID(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case path == own, id != workload && c.isDecided(id):
			return fs.SkipDir
		}
		ids[id] = true
		return nil
	})
	return ids, err
}

// isDecided reports whether a cgroup has an entry of its own. The caller holds
// c.mu.
func (c *Capture) isDecided(id uint64) bool {
	_, other := c.decided[id]
	return other || c.workloads[id] != nil
}

// earlier picks the workload's connections out of the sockets of a namespace.
func (p *places) earlier(n namespace, sockets []listed) (all []Earlier) {
	var listeners []netip.AddrPort
	for _, s := range sockets {
		if s.state == listening {
			listeners = append(listeners, s.local)
		}
	}
	for _, s := range sockets {
		pid, held := p.holders[s.inode]
		made := p.cgroups[s.cgroup]
		// An orphan, which no process holds, has no more to say.
		orphan := s.inode == 0
		if s.state == listening || orphan || !made && !held || slices.Contains(n.ours, s.remote) ||
			s.protocol == unix.IPPROTO_UDP && p.allowed[s.remote.Port()] {
			continue
		}
		all = append(all, Earlier{
			Workload: p.workload,
			Protocol: s.name(),
			Local:    s.local,
			Remote:   s.remote,
			State:    states[s.state],
			PID:      pid,
			Accepted: s.acceptedBy(listeners),
			Foreign:  !made,
			socket:   s,
		})
	}
	return all
}

func (s *listed) name() string {
	for _, k := range kinds {
		if k.protocol == s.protocol {
			return k.name
		}
	}
	return ""
}

// holders returns which process holds which socket, by inode. Of several that
// hold one, it is the first. A process that ends meanwhile holds none.
func holders(pids []int) map[uint32]int {
	by := map[uint32]int{}
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid) + "/fd"
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			to, err := os.Readlink(filepath.Join(dir, e.Name()))
			if err != nil {
				continue
			}
			digits, ok := strings.CutPrefix(to, "socket:[")
			inode, err := strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 32)
			if !ok || err != nil {
				continue
			}
			if by[uint32(inode)] == 0 {
				by[uint32(inode)] = pid
			}
		}
	}
	return by
}
