package webhook

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// A State is how a hook is.
type State struct {
	Delivered, Dropped, Failures int64         // notices that came and that never will; attempts that came to nothing
	Waiting                      int           // notices
	Lag                          time.Duration // how old the oldest of them is
	Problem                      string        // of the last attempt, "" if there is none
}

// A queue is what waits for one hook, and what brings it there: one at a time,
// in order.
type queue struct {
	sender *Sender
	wake   chan struct{} // has one when something is to be looked at

	mu      sync.Mutex // guards what follows
	hook    Hook
	poster  *poster
	waiting []waiting
	counts  State
	ending  bool
	endBy   time.Time // with ending: what waits then is dropped
}

// A waiting notice is one that has not come yet.
type waiting struct {
	*Notice
	id       string
	answered int // how often it was refused by who received it
}

func newQueue(s *Sender, h Hook) *queue {
	return &queue{sender: s, hook: h, poster: newPoster(&h), wake: make(chan struct{}, 1)}
}

func (q *queue) use(h Hook) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.hook, q.poster = h, newPoster(&h)
	q.look()
}

func (q *queue) wants(k Kinds) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.hook.On&k != 0
}

// add puts a notice last. Where there is no room it drops the first: what is
// newest matters most.
func (q *queue) add(n *Notice, id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.hook.On&n.Kind == 0 || q.ending {
		return
	}
	if len(q.waiting) >= maxWaiting {
		q.waiting = q.waiting[1:]
		q.counts.Dropped++
	}
	q.waiting = append(q.waiting, waiting{Notice: n, id: id})
	q.look()
}

// end has run return once nothing waits any more, but no later than within.
func (q *queue) end(within time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ending, q.endBy = true, time.Now().Add(within)
	q.look()
}

func (q *queue) look() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) state() State {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.counts
	if s.Waiting = len(q.waiting); s.Waiting > 0 {
		s.Lag = time.Since(q.waiting[0].At)
	}
	return s
}

// run brings notices until the queue ends.
func (q *queue) run() {
	pause := q.sender.first
	for {
		w, hook, poster, ok := q.head()
		if !ok {
			return
		}
		if w.Notice == nil {
			<-q.wake
			continue
		}
		ctx, cancel := context.WithDeadline(q.sender.ctx, earlier(w.until(), time.Now().Add(attempt)))
		after, err := poster.post(ctx, &w, &hook, q.sender.node)
		cancel()
		if q.tried(&w, after, err) {
			pause = q.sender.first
			continue
		}
		q.rest(max(pause/2+rand.N(pause), min(after.wait, q.sender.most)))
		pause = min(2*pause, q.sender.most)
	}
}

// head returns the first notice that is worth bringing, none if nothing waits.
// It is false if the queue is to end.
func (q *queue) head() (w waiting, h Hook, p *poster, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for len(q.waiting) > 0 && !now.Before(q.waiting[0].until()) {
		q.waiting = q.waiting[1:]
		q.counts.Dropped++
	}
	if q.ending && (len(q.waiting) == 0 || !now.Before(q.endBy)) {
		q.counts.Dropped += int64(len(q.waiting))
		q.waiting = nil
		q.poster.client.Close()
		return w, h, p, false
	}
	if len(q.waiting) > 0 {
		w = q.waiting[0]
	}
	return w, q.hook, q.poster, true
}

// tried takes note of an attempt. It reports whether there is nothing more to do
// about the notice.
func (q *queue) tried(w *waiting, after outcome, err error) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := len(q.waiting) > 0 && q.waiting[0].id == w.id // else it was dropped meanwhile
	if err == nil {
		if w.Came != nil {
			w.Came(q.hook.Name)
		}
		q.counts.Delivered++
		q.counts.Problem = ""
		if first {
			q.waiting = q.waiting[1:]
		} else {
			q.counts.Dropped--
		}
		return true
	}
	if q.counts.Problem == "" {
		q.sender.log.Warn("webhook", "hook", q.hook.Name, "notice", w.Kind.String(), "error", err)
	}
	q.counts.Failures++
	q.counts.Problem = err.Error()
	if !first {
		return true
	}
	if after.answered {
		q.waiting[0].answered++
	}
	if after.final || q.waiting[0].answered >= maxAnswered { // one that it cannot take must not keep it from the others
		q.waiting = q.waiting[1:]
		q.counts.Dropped++
		return after.final
	}
	return false
}

// rest waits between two attempts, not beyond the moment when the queue is told
// to end.
func (q *queue) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-q.sender.ctx.Done():
			return
		case <-q.wake:
		}
		q.mu.Lock()
		ending := q.ending
		q.mu.Unlock()
		if ending {
			return
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
