// Package hosts knows the addresses of hosts that the configuration names. It
// asks DNS itself, from agentd's own network namespace: what a workload was
// told is no evidence.
//
// Hosts are looked up again all the time. While DNS does not answer, what it
// said last stays true; an address that it no longer names stays for a few
// minutes, since servers with many addresses give some of them at a time.
package hosts

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	every   = 15 * time.Second // how often hosts are looked up
	keep    = 5 * time.Minute  // how long an address stays that is not named any more
	unused  = 24 * time.Hour   // how long a learned host stays that nobody connects to
	timeout = 5 * time.Second  // of one lookup
	// How long after a lookup another one, out of turn, has no point.
	soon, soonAfterFailure = time.Second, 5 * time.Second

	maxLearned   = 1024 // hosts that match patterns
	maxLookups   = 16   // at once
	maxAddresses = 256  // of one answer
)

// A Resolver looks up the addresses of a host. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Hosts are the addresses of hosts. Its methods may be called by several
// goroutines at once.
type Hosts struct {
	resolver Resolver
	lookups  chan struct{}   // a place for each that goes on
	ctx      context.Context // of lookups: several callers wait for each. Ended by Close
	end      context.CancelFunc
	working  sync.WaitGroup // lookups

	mu    sync.Mutex // guards what is below
	hosts map[string]*host
}

// A host is what DNS says of one.
type host struct {
	learned   bool // not configured itself: it matches a pattern
	addresses map[netip.Addr]time.Time
	good      time.Time // of the last answer
	began     time.Time // of the last lookup
	used      time.Time
	problem   error         // of the last lookup
	looking   chan struct{} // closed when the lookup that goes on is over; nil if none does
}

// New returns the hosts with the names and patterns given. It looks none up.
func New(resolver Resolver, names []string) *Hosts {
	h := &Hosts{resolver: resolver, lookups: make(chan struct{}, maxLookups), hosts: map[string]*host{}}
	h.ctx, h.end = context.WithCancel(context.Background())
	h.Set(names)
	return h
}

// Set takes the names and patterns given in place of those given before. What
// is known of a name that stays is kept; a new one is looked up with the others
// or when somebody connects to it.
func (h *Hosts) Set(names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, host := range h.hosts {
		if !slices.ContainsFunc(names, func(n string) bool { return n == name || host.learned && matches(n, name) }) {
			delete(h.hosts, name)
		}
	}
	for _, name := range names {
		if IsPattern(name) {
			continue
		}
		if known := h.hosts[name]; known != nil {
			known.learned = false
		} else {
			h.hosts[name] = &host{}
		}
	}
}

// ResolverAt returns a resolver that asks the DNS server at an address, "" for
// those of /etc/resolv.conf.
func ResolverAt(server string) *net.Resolver {
	r := &net.Resolver{PreferGo: true}
	if server != "" {
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, server)
		}
	}
	return r
}

// IsPattern reports whether a host stands for all whose first label is any.
func IsPattern(name string) bool { return strings.HasPrefix(name, "*.") }

// matches reports whether name is host, or one that host as a pattern stands
// for. The star is one label, as in certificates.
func matches(host, name string) bool {
	if !IsPattern(host) {
		return host == name
	}
	_, zone, ok := strings.Cut(name, ".")
	return ok && zone == host[len("*."):]
}

// Run looks the hosts up again and again until ctx ends.
func (h *Hosts) Run(ctx context.Context) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		h.forget(time.Now())
		h.all(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Close ends the lookups that go on. Nothing is looked up afterwards.
func (h *Hosts) Close() {
	h.mu.Lock()
	h.end()
	h.mu.Unlock()
	h.working.Wait()
}

// Await returns once each configured host was looked up, or ctx has ended.
func (h *Hosts) Await(ctx context.Context) { h.all(ctx) }

// all looks every host up.
func (h *Hosts) all(ctx context.Context) {
	h.mu.Lock()
	names := make([]string, 0, len(h.hosts))
	for name := range h.hosts {
		names = append(names, name)
	}
	h.mu.Unlock()
	var waiting sync.WaitGroup
	for _, name := range names {
		select {
		case h.lookups <- struct{}{}:
		case <-ctx.Done():
			return
		}
		waiting.Go(func() { h.wait(ctx, h.look(name)) })
	}
	waiting.Wait()
}

// Has reports whether name, a host or a pattern, has an address now. It does
// not wait.
func (h *Hosts) Has(name string, address netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !IsPattern(name) {
		return h.hosts[name].has(address)
	}
	for learned, host := range h.hosts {
		if host.learned && matches(name, learned) && host.has(address) {
			return true
		}
	}
	return false
}

func (h *host) has(address netip.Addr) bool {
	if h == nil {
		return false
	}
	// Counted from the last answer: while there are none, time stands still.
	seen, ok := h.addresses[address]
	if !ok || h.good.Sub(seen) > keep {
		return false
	}
	h.used = time.Now()
	return true
}

// Again looks up name, one of those given to New or Set, because somebody connects
// to an address that is not known: DNS may have changed. If name is a pattern,
// asked is looked up if it matches. Again waits for the answer, until ctx ends.
//
// Where that was tried a moment ago it does nothing, unless it is asked that
// was: then DNS may well have said something else since, and the next turn is
// waited for.
//
// asked may be anything. All that comes of it is a question to DNS for a name
// that was configured, or below one that was, and not too many of those at a
// time.
func (h *Hosts) Again(ctx context.Context, name, asked string) {
	if IsPattern(name) {
		if !matches(name, asked) {
			return
		}
		name = asked
	}
	over, later := h.lookSoon(name)
	if over == nil && later > 0 && name == asked {
		select {
		case <-time.After(later):
			over, _ = h.lookSoon(name)
		case <-ctx.Done():
		}
	}
	h.wait(ctx, over)
}

// lookSoon looks name up unless that was done a moment ago or too many lookups
// go on. It returns what look does, and when to come again.
func (h *Hosts) lookSoon(name string) (over <-chan struct{}, later time.Duration) {
	h.mu.Lock()
	if host := h.hosts[name]; host != nil {
		pause := soon
		if host.problem != nil {
			pause = soonAfterFailure
		}
		if later = pause - time.Since(host.began); host.looking != nil || later > 0 {
			defer h.mu.Unlock()
			return host.looking, later
		}
	}
	h.mu.Unlock()
	select {
	case h.lookups <- struct{}{}:
		return h.look(name), 0
	default:
		return nil, 0
	}
}

// look starts to look name up, in a place of h.lookups that the caller has
// taken. It returns what is closed when that is over, nil if it is.
func (h *Hosts) look(name string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		<-h.lookups
		return nil
	}
	found := h.hosts[name]
	if found == nil {
		found = &host{learned: true, used: time.Now()}
		h.learn(name, found)
	}
	if found.looking != nil {
		<-h.lookups
		return found.looking
	}
	over := make(chan struct{})
	found.looking, found.began = over, time.Now()
	h.working.Go(func() {
		ctx, cancel := context.WithTimeout(h.ctx, timeout)
		defer cancel()
		addresses, err := h.resolver.LookupNetIP(ctx, "ip", name+".") // the dot: no search list
		<-h.lookups
		h.mu.Lock()
		defer h.mu.Unlock()
		found.answered(addresses, err, time.Now())
		found.looking = nil
		close(over)
	})
	return over
}

// answered takes in what came of a lookup.
func (h *host) answered(addresses []netip.Addr, err error, now time.Time) {
	h.problem = err
	var e *net.DNSError
	if err != nil && (!errors.As(err, &e) || !e.IsNotFound) {
		return // what was true before still is
	}
	h.good = now
	if h.addresses == nil {
		h.addresses = map[netip.Addr]time.Time{}
	}
	for _, a := range addresses[:min(len(addresses), maxAddresses)] {
		h.addresses[a.Unmap().WithZone("")] = now
	}
	for a, seen := range h.addresses {
		if now.Sub(seen) > keep {
			delete(h.addresses, a)
		}
	}
}

func (h *Hosts) wait(ctx context.Context, over <-chan struct{}) {
	if over == nil {
		return
	}
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// learn keeps a host that matches a pattern, in place of the one that was used
// longest ago if there are too many. The caller holds h.mu.
func (h *Hosts) learn(name string, new *host) {
	oldest, n := "", 0
	for other, host := range h.hosts {
		if !host.learned {
			continue
		}
		if n++; oldest == "" || host.used.Before(h.hosts[oldest].used) {
			oldest = other
		}
	}
	if n >= maxLearned {
		delete(h.hosts, oldest)
	}
	h.hosts[name] = new
}

// forget forgets the learned hosts that nobody connects to, and those that are
// none.
func (h *Hosts) forget(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, host := range h.hosts {
		if host.learned && (now.Sub(host.used) > unused || len(host.addresses) == 0 && host.looking == nil) {
			delete(h.hosts, name)
		}
	}
}

// Addresses returns the addresses of a host, or of all that match a pattern,
// in order, and why the last lookup failed, nil if it did not.
func (h *Hosts) Addresses(name string) (all []netip.Addr, problem error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for other, host := range h.hosts {
		if !matches(name, other) || IsPattern(name) && !host.learned {
			continue
		}
		for a, seen := range host.addresses {
			if host.good.Sub(seen) <= keep && !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
		problem = errors.Join(problem, host.problem)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all, problem
}
