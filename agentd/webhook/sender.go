package webhook

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"
)

// maxWaiting is how many notices wait for one hook.
const maxWaiting = 1000

// A Sender brings notices to hooks. Its methods may be called by any number of
// goroutines; none waits for a hook but Close.
type Sender struct {
	node string
	log  *slog.Logger
	// first is how long it waits after the first attempt that failed, most after
	// any.
	first, most time.Duration

	ctx    context.Context // of all attempts, ended by Close
	cancel context.CancelFunc
	live   sync.WaitGroup

	mu     sync.Mutex // guards hooks; never taken while a queue's lock is held
	hooks  map[string]*queue
	closed bool
}

// New returns a Sender for a node, without hooks. Close it.
func New(node string, log *slog.Logger) *Sender {
	s := &Sender{node: node, log: log, first: 500 * time.Millisecond, most: 30 * time.Second, hooks: map[string]*queue{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Use has notices go to these hooks from now on. What waits for one that is
// among them still goes there; what waits for others is dropped.
func (s *Sender) Use(hooks []Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	gone := s.hooks
	s.hooks = map[string]*queue{}
	for _, h := range hooks {
		q := gone[h.Name]
		if q == nil {
			q = newQueue(s, h)
			s.live.Go(q.run)
		} else {
			q.use(h)
		}
		delete(gone, h.Name)
		s.hooks[h.Name] = q
	}
	for _, q := range gone {
		q.end(0)
	}
}

// Send brings a notice to all hooks that want it. It never blocks.
func (s *Sender) Send(n *Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var id string
	for _, q := range s.hooks {
		if id == "" {
			id = rand.Text()
		}
		q.add(n, id)
	}
}

// Wanted reports whether a hook wants notices of a kind: they need not be made
// for nobody.
func (s *Sender) Wanted(k Kinds) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.hooks {
		if q.wants(k) {
			return true
		}
	}
	return false
}

// States tells how the hooks are, by name.
func (s *Sender) States() map[string]State {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]State, len(s.hooks))
	for name, q := range s.hooks {
		all[name] = q.state()
	}
	return all
}

// Close gives what waits a last time to go, and ends.
func (s *Sender) Close(within time.Duration) {
	s.mu.Lock()
	s.closed = true
	for _, q := range s.hooks {
		q.end(within)
	}
	s.mu.Unlock()
	timer := time.AfterFunc(within, s.cancel)
	s.live.Wait()
	timer.Stop()
	s.cancel()
}
