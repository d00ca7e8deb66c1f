// Package grammar asks PostgreSQL's own grammar what statements mean, in
// processes that have nothing to lose: agentd starts itself again as an
// unprivileged child, which parses what it is sent and can do nothing else.
//
// A text that crashes a child, hangs it, or is larger than it may be comes to
// a meaning that says so, and costs no other text more than a moment. It is
// sent skeletons (sql.Facts.Skeleton), so no literal of any statement.
//
// The package has no C code: what reads texts is given to Main by the program.
package grammar

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

const (
	workers    = 2
	maxWaiting = 256             // studies that wait for a worker at once
	queueTime  = 3 * time.Second // for a worker: three that hang, one behind another
	answerTime = time.Second     // for its answer
	largeText  = 8 << 10         // bytes of a text that is large
	largeTime  = 3 * time.Second // for the answer to one
	attempts   = 3               // as many workers may be killed over a text before it is to blame
)

// A Pool is the workers, and what they have said so far. It implements
// decoders.Grammar, whose meanings are *sql.Meaning here.
type Pool struct {
	Counts Counts

	log     *slog.Logger
	known   cache
	spawner *spawner
	idle    chan *worker  // nil for one that will not be replaced
	waiting chan struct{} // who is waiting for a worker
	large   chan struct{} // who has one, or waits for it, with a large text: one worker fewer than there are
	closed  chan struct{}
	shares  shares

	mu      sync.Mutex // guards studies
	studies map[string]*study
}

var _ decoders.Grammar = (*Pool)(nil)

// A study is one that goes on; whoever asks for the same waits for it.
type study struct {
	done    chan struct{}
	meaning *sql.Meaning
}

// Open starts the workers, and returns once the first is ready. It is an error
// if it cannot be started: whoever needs the grammar must not go on without.
func Open(log *slog.Logger) (*Pool, error) { return OpenWith("/proc/self/exe", log) }

// OpenWith is Open for a program that cannot itself become a worker: program is
// an agentd.
func OpenWith(program string, log *slog.Logger) (*Pool, error) {
	p := &Pool{
		log: log, spawner: newSpawner(program), idle: make(chan *worker, workers), waiting: make(chan struct{}, maxWaiting), large: make(chan struct{}, workers-1),
		closed: make(chan struct{}), studies: map[string]*study{},
	}
	w, err := p.spawner.start()
	if err != nil {
		p.spawner.close()
		return nil, fmt.Errorf("start a grammar worker: %w", err)
	}
	if len(w.missing) > 0 {
		log.Warn("grammar workers are less confined than they should be", "missing", w.missing)
	}
	p.Counts.Started.Add(1)
	p.give(w)
	for range workers - 1 {
		go p.employ()
	}
	return p, nil
}

// Close ends the workers, once they have done what they are at. Studies that
// still wait for one come to nothing.
func (p *Pool) Close() {
	close(p.closed)
	for range workers {
		if w := <-p.idle; w != nil {
			w.kill()
		}
	}
	p.spawner.close()
}

// Known implements decoders.Grammar.
func (p *Pool) Known(key []byte) (any, bool) {
	if len(key) > maxText {
		return unclear[tooLong], true
	}
	if m := p.known.get(key); m != nil {
		return m, true
	}
	return nil, false
}

// Study implements decoders.Grammar. It takes six seconds, or a few more if
// somebody kills workers.
func (p *Pool) Study(key []byte, text string) any {
	if m, ok := p.Known(key); ok {
		return m
	}
	if why := admit(text); why != admitted {
		p.known.put(key, unclear[why], 0, 0)
		return unclear[why]
	}
	p.mu.Lock()
	s := p.studies[string(key)]
	if s != nil {
		p.mu.Unlock()
		<-s.done
		return s.meaning
	}
	s = &study{done: make(chan struct{})}
	p.studies[string(key)] = s
	p.mu.Unlock()
	s.meaning = p.study(key, text)
	p.mu.Lock()
	delete(p.studies, string(key))
	p.mu.Unlock()
	close(s.done)
	return s.meaning
}

// study asks a worker, and remembers what is worth it.
func (p *Pool) study(key []byte, text string) *sql.Meaning {
	select {
	case p.waiting <- struct{}{}:
		defer func() { <-p.waiting }()
	default:
		p.Counts.Busy.Add(1)
		return unclear[tooBusy]
	}
	p.Counts.Studies.Add(1)
	var (
		m      *sql.Meaning
		size   int
		err    error
		killed *killedError
	)
	for range attempts {
		m, size, err = p.ask(text)
		if !errors.As(err, &killed) {
			break
		}
	}
	switch {
	case err == nil:
		p.known.put(key, m, size, 0)
		return m
	case errors.Is(err, errBusy):
		p.Counts.Busy.Add(1)
		return unclear[tooBusy]
	case errors.Is(err, errSlow):
		// Perhaps the machine was slow, and not the text.
		p.known.put(key, unclear[tooSlow], 0, time.Minute)
		return unclear[tooSlow]
	}
	p.known.put(key, unclear[tooMuch], 0, 0)
	return unclear[tooMuch]
}

// ask has a worker read text. The error is errBusy if there is none, errSlow if
// it took too long, a killedError if somebody killed it, and anything else if
// the text did.
func (p *Pool) ask(text string) (m *sql.Meaning, size int, err error) {
	timer := time.NewTimer(queueTime)
	defer timer.Stop()
	if len(text) > largeText {
		select {
		case p.large <- struct{}{}:
			defer func() { <-p.large }()
		case <-timer.C:
			return nil, 0, errBusy
		}
	}
	w := p.take(timer.C)
	if w == nil {
		return nil, 0, errBusy
	}
	m, size, err = w.study(text)
	if err == nil && !w.grown(len(text)) {
		p.give(w)
		return m, size, nil
	}
	go p.replace(w)
	switch {
	case err == nil:
		p.Counts.Retired.Add(1)
	case errors.Is(err, errSlow):
		p.Counts.Timeouts.Add(1)
		p.log.Warn("a grammar worker took too long over a statement and was ended", "bytes", len(text))
	default:
		p.Counts.Deaths.Add(1)
		p.log.Warn("a grammar worker ended over a statement", "error", err, "bytes", len(text))
	}
	return m, size, err
}

// take waits for a worker that lives, nil if none comes before late.
func (p *Pool) take(late <-chan time.Time) *worker {
	for {
		select {
		case w := <-p.idle:
			if w == nil {
				p.give(nil)
				return nil
			}
			if !w.lives() {
				p.Counts.Deaths.Add(1)
				go p.replace(w)
				continue
			}
			return w
		case <-late:
			return nil
		case <-p.closed:
			return nil
		}
	}
}

func (p *Pool) give(w *worker) { p.idle <- w } // there is a place for each

// replace ends a worker and starts another in its place.
func (p *Pool) replace(w *worker) {
	w.kill()
	p.employ()
}

// employ starts a worker, however often it takes. Close waits for it.
func (p *Pool) employ() {
	for wait := minBackoff; ; wait = min(2*wait, maxBackoff) {
		select {
		case <-p.closed:
			p.give(nil)
			return
		default:
		}
		w, err := p.spawner.start()
		if err == nil {
			p.Counts.Started.Add(1)
			p.give(w)
			return
		}
		p.log.Error("start a grammar worker", "error", err)
		select {
		case <-p.closed:
		case <-time.After(wait):
		}
	}
}

// How long to wait after a worker could not be started.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)
