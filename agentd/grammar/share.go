package grammar

import (
	"sync"
	"time"

	"agentd.dev/decoders"
)

// maxShare is how many studies of one workload are under way at once: enough to
// keep the workers busy, and all that another workload's has to wait for.
const maxShare = 2 * workers

// shares are who has studies under way. The zero value is nobody.
type shares struct {
	mu sync.Mutex // guards of
	of map[uint64]*turns
}

// turns are those that one workload has.
type turns struct {
	taken chan struct{}
	users int // who has one or waits for one
}

// A share is a workload's use of a Pool.
type share struct {
	*Pool
	workload uint64
}

// For returns what a workload's sessions ask, so that statements which are new
// keep nobody waiting but those who have sent them.
func (p *Pool) For(workload uint64) decoders.Grammar { return share{p, workload} }

// Study implements decoders.Grammar. Whoever has too many studies under way
// waits for them, and for as long as for a worker.
func (s share) Study(key []byte, text string) any {
	if m, ok := s.Known(key); ok {
		return m
	}
	leave, ok := s.shares.enter(s.workload)
	if !ok {
		s.Counts.Busy.Add(1)
		return unclear[tooBusy]
	}
	defer leave()
	return s.Pool.Study(key, text)
}

// enter waits for a turn of the workload's. Leave ends it.
func (s *shares) enter(workload uint64) (leave func(), ok bool) {
	s.mu.Lock()
	t := s.of[workload]
	if t == nil {
		t = &turns{taken: make(chan struct{}, maxShare)}
		if s.of == nil {
			s.of = map[uint64]*turns{}
		}
		s.of[workload] = t
	}
	t.users++
	s.mu.Unlock()
	timer := time.NewTimer(queueTime)
	defer timer.Stop()
	select {
	case t.taken <- struct{}{}:
		return func() {
			<-t.taken
			s.forget(workload, t)
		}, true
	case <-timer.C:
		s.forget(workload, t)
		return nil, false
	}
}

// forget drops what nobody uses any more.
func (s *shares) forget(workload uint64, t *turns) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(s.of, workload)
	}
}
