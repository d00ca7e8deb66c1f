package callback

import (
	"net/netip"
	"sync"
	"time"
)

// A pace bounds what comes from each address in a time.
type pace struct {
	most int
	now  func() time.Time

	mu   sync.Mutex // guards what follows
	of   map[netip.Addr]*recent
	next time.Time // when those whose time is over are forgotten
}

// A recent is what has come from one address since.
type recent struct {
	since time.Time
	n     int
}

func newPace(most int) *pace {
	return &pace{most: most, now: time.Now, of: map[netip.Addr]*recent{}}
}

// over reports whether there was too much from an address.
func (p *pace) over(from netip.Addr) bool { return p.add(from, 0) }

// add counts n more, and reports whether that is too much. Where too many
// addresses are known to tell them apart, those that are new count as one.
func (p *pace) add(from netip.Addr, n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if len(p.of) >= maxRemembered && !now.Before(p.next) {
		for addr, r := range p.of {
			if now.Sub(r.since) >= failurePeriod {
				delete(p.of, addr)
			}
		}
		p.next = now.Add(time.Second)
	}
	r := p.of[from]
	if r == nil && len(p.of) >= maxRemembered {
		from = netip.Addr{}
		r = p.of[from]
	}
	if r == nil {
		if n == 0 {
			return false
		}
		r = &recent{since: now}
		p.of[from] = r
	}
	if now.Sub(r.since) >= failurePeriod {
		*r = recent{since: now}
	}
	r.n += n
	return r.n > p.most || n == 0 && r.n >= p.most
}
