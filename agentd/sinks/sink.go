package sinks

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	attempt = 30 * time.Second // for one batch, or one object's first answer
	poll    = 250 * time.Millisecond
	first   = 500 * time.Millisecond // pause after an attempt that failed
	most    = time.Minute
)

// A passer does a sink's work until there is nothing to do, or something fails.
type passer interface {
	pass(ctx context.Context) error
	close()
}

// A sink is one that runs.
type sink struct {
	config Config
	opts   *Options
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex // guards what follows
	counts State
	next   int64     // index of the first record that it has not come to
	since  time.Time // when that was recorded, as far as is known
}

func start(c Config, opts *Options) *sink {
	ctx, cancel := context.WithCancel(context.Background())
	k := &sink{config: c, opts: opts, cancel: cancel, done: make(chan struct{})}
	k.counts.Kind = c.kind()
	go k.run(ctx)
	return k
}

// run works until ctx ends. It tries again whatever fails, later and later.
func (k *sink) run(ctx context.Context) {
	defer close(k.done)
	var p passer
	defer func() {
		if p != nil {
			p.close()
		}
	}()
	pause := first
	for {
		var err error
		if p == nil {
			p, err = k.passer()
		}
		if err == nil {
			err = p.pass(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		rest := poll
		if err != nil {
			rest = pause/2 + rand.N(pause)
			pause = min(2*pause, most)
		}
		k.tried(err)
		timer := time.NewTimer(rest)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err == nil {
			pause = first
		}
	}
}

// tried takes note of how a pass went. A problem is said when it comes, and when
// it goes.
func (k *sink) tried(err error) {
	k.mu.Lock()
	before := k.counts.Problem
	if err == nil {
		k.counts.Problem = ""
	} else {
		k.counts.Problem = err.Error()
		k.counts.Failures++
	}
	now := k.counts.Problem
	k.mu.Unlock()
	switch {
	case now != "" && before == "":
		k.opts.Logger.Warn("sink", "sink", k.config.Name, "error", now)
	case now == "" && before != "":
		k.opts.Logger.Info("sink is well again", "sink", k.config.Name)
	}
}

// count changes the counts.
func (k *sink) count(change func(*State)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(&k.counts)
}

// came notes how far the sink is: next is the first record that it has not
// brought, recorded at since if that is known.
func (k *sink) came(next int64, since time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.next, k.since = next, since
}

func (k *sink) state() State {
	signed := k.opts.Signed()
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.counts
	s.Behind = max(0, signed-k.next)
	if s.Behind > 0 && !k.since.IsZero() {
		s.Lag = max(0, time.Since(k.since))
	}
	return s
}
