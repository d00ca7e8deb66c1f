package agentd

import (
	"maps"
	"net/netip"
	"sync"
)

// maxDests is how many destinations of a run are told apart. More are not
// counted: a run that scans the network costs no more than this.
const maxDests = 4096

// taken counts the connections that came to agentd from each run, by where
// they were going, whatever then became of them.
type taken struct {
	mu sync.Mutex // guards by; nothing else is locked under it
	by map[uint64]map[netip.AddrPort]int
}

// begin counts for the run with the given cgroup id from now on.
func (t *taken) begin(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = map[uint64]map[netip.AddrPort]int{}
	}
	t.by[id] = map[netip.AddrPort]int{}
}

func (t *taken) end(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.by, id)
}

// note counts a connection, unless it is no run's.
func (t *taken) note(id uint64, dest netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := t.by[id]
	if counts == nil || counts[dest] == 0 && len(counts) >= maxDests {
		return
	}
	counts[dest]++
}

func (t *taken) of(id uint64) map[netip.AddrPort]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.by[id])
}
