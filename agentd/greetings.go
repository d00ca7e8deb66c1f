package agentd

import (
	"errors"
	"sync"
)

const (
	maxGreeting    = 8192 // clients that come to TLS, at once
	maxGreetingOne = 512  // of one workload
)

var errGreetings = errors.New("too many of its connections have not said anything yet, or are in the middle of a TLS handshake")

// greetings are the clients that agentd waits for to come to TLS. Each workload
// has a bounded share, so that one that opens connections and says nothing
// keeps no other from connecting.
type greetings struct {
	mu  sync.Mutex // guards what follows
	all int
	of  map[uint64]int // by workload
}

// enter reports whether there is room. Leave is to be called once it is not
// needed any more.
func (g *greetings) enter(workload uint64) (leave func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= maxGreeting || g.of[workload] >= maxGreetingOne {
		return nil, false
	}
	if g.of == nil {
		g.of = map[uint64]int{}
	}
	g.all++
	g.of[workload]++
	return func() { g.leave(workload) }, true
}

func (g *greetings) leave(workload uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.of[workload]--; g.of[workload] == 0 {
		delete(g.of, workload)
	}
}

// A place is one of those between accept and relay.
type place struct{ all chan struct{} }

func (p place) take()  { p.all <- struct{}{} }
func (p place) leave() { <-p.all }
