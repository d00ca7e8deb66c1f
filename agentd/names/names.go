// Package names knows by which name a workload asked for an address: it reads
// the DNS answers that came to it.
//
// What it says is what the workload was told, by a server of its own choice or
// by itself. It is to be shown, never to be believed: it says nothing about
// whose address it is. Names that came over TCP or HTTPS, from a hosts file or
// from a resolver's cache outside of the workload are not known.
//
// Its memory is bounded, for each workload and over all, and what one workload
// asks for never displaces another's names.
package names

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// How long a name is kept. Clients go on using an address when its time
	// is over, and it costs little to know what it was.
	minKept = 10 * time.Minute
	maxKept = 24 * time.Hour

	maxEach  = 1024    // names of one workload's addresses
	maxAll   = 1 << 18 // of those over all, shared by the workloads there are
	minShare = 64      // of a workload, however many there are
	maxNames = 8       // of one address
)

// A Place is where a name is asked and an address used.
type Place struct {
	NetNS    uint64 // cookie of the network namespace
	Cgroup   uint64 // id
	Workload uint64 // id of the captured cgroup: whose memory it is
}

// Names are the names asked for. Its zero value is ready to use, by several
// goroutines at once.
type Names struct {
	mu    sync.Mutex // guards books
	books map[uint64]*book
}

// A book holds the names that one workload asked for.
type book struct {
	names map[key][]asking // of each address the latest last
	order []mark           // of all, the oldest first
	count int              // of the names in names
}

type key struct {
	netns, cgroup uint64
	address       netip.Addr
}

// An asking is one name that an address was asked for by.
type asking struct {
	name      string
	at, until time.Duration
	n         uint64 // its number in the book
}

// A mark is an asking's place in the order of all.
type mark struct {
	key key
	n   uint64
}

// Hear takes note of a DNS message that came to p at a time, by any clock that
// the other methods are given too. One that is none, or answers nothing, is
// passed over.
func (n *Names) Hear(p Place, message []byte, at time.Duration) {
	a, err := parse(message)
	if err != nil {
		return
	}
	kept := min(max(a.ttl, minKept), maxKept)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.books == nil {
		n.books = map[uint64]*book{}
	}
	b := n.books[p.Workload]
	if b == nil {
		b = &book{names: map[key][]asking{}}
		n.books[p.Workload] = b
	}
	for _, address := range a.addresses {
		b.put(key{p.NetNS, p.Cgroup, address}, asking{name: a.name, at: at, until: at + kept})
	}
	b.shrink(min(maxEach, max(minShare, maxAll/len(n.books))))
}

// Asked returns the name by which p last asked for an address before a time,
// "" if it is not known to have.
func (n *Names) Asked(p Place, address netip.Addr, at time.Duration) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.books[p.Workload]
	if b == nil {
		return ""
	}
	all := b.names[key{p.NetNS, p.Cgroup, address.Unmap().WithZone("")}]
	for _, a := range slices.Backward(all) {
		if a.at <= at && at <= a.until {
			return a.name
		}
	}
	return ""
}

// Tidy forgets what is over at a time, and the workloads that are not alive.
func (n *Names) Tidy(at time.Duration, alive func(workload uint64) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, b := range n.books {
		for k := range b.names {
			b.drop(k, func(a *asking) bool { return at > a.until })
		}
		if b.count == 0 || !alive(id) {
			delete(n.books, id)
		}
	}
}

// put adds a name to those of an address.
func (b *book) put(k key, a asking) {
	all := b.names[k]
	if len(all) > 0 && all[len(all)-1].name == a.name {
		b.drop(k, func(old *asking) bool { return old.n == all[len(all)-1].n })
	} else if len(all) >= maxNames {
		b.drop(k, func(old *asking) bool { return old.n == all[0].n })
	}
	if len(b.order) > 0 {
		a.n = b.order[len(b.order)-1].n + 1
	}
	b.names[k] = append(b.names[k], a)
	b.order = append(b.order, mark{k, a.n})
	b.count++
}

// drop forgets the names of an address that match.
func (b *book) drop(k key, match func(*asking) bool) {
	var left []asking
	for _, a := range b.names[k] {
		if !match(&a) {
			left = append(left, a)
		}
	}
	b.count -= len(b.names[k]) - len(left)
	if b.names[k] = left; left == nil {
		delete(b.names, k)
	}
}

// shrink forgets the names that were asked for longest ago, until at most size
// are left.
func (b *book) shrink(size int) {
	for b.count > size {
		m := b.order[0]
		b.order = b.order[1:]
		b.drop(m.key, func(a *asking) bool { return a.n == m.n })
	}
	if len(b.order) <= 2*maxEach {
		return
	}
	// Marks of names that are gone.
	b.order = slices.DeleteFunc(b.order, func(m mark) bool {
		return !slices.ContainsFunc(b.names[m.key], func(a asking) bool { return a.n == m.n })
	})
}
