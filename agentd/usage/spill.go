package usage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"agentd.dev/decoders"
)

// A spill is what is used by the sessions that an agentd keeps after another one
// has taken over: it writes that in small files, which the other adds to what it
// counts. What the other's sessions use is not known here.
type spill struct {
	on atomic.Bool

	mu   sync.RWMutex // guards what follows; written to under RLock
	more *Store       // since the last flush
	n    int          // files so far
}

func (p *spill) has() bool { return p.on.Load() }

// folder is where the files are.
func (s *Store) folder() string { return s.file + ".d" }

// Leave writes the file for the last time: the next agentd is about to read it.
// What is counted from here on is told to that one by Save, until Stay.
func (s *Store) Leave() error {
	s.dirty.Store(true)
	s.spill.mu.Lock()
	s.spill.more = newStore("", s.log, s.now)
	s.spill.mu.Unlock()
	s.spill.on.Store(true) // first: what is counted twice is not too little
	return s.write(s.file)
}

// Stay takes Leave back.
func (s *Store) Stay() {
	s.spill.on.Store(false)
	s.spill.mu.Lock()
	s.spill.more = nil
	s.spill.mu.Unlock()
}

func (p *spill) through(a *account, program string, facts decoders.Facts) {
	p.with(a, program, func(v *View) { v.Through(facts) })
}

func (p *spill) add(a *account, c *counts) {
	p.with(a, "", func(v *View) { v.add(c) })
}

func (p *spill) with(a *account, program string, do func(*View)) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.more != nil {
		do(p.more.View(a.profile.who, a.target, program))
	}
}

// flush writes what there is since the last time.
func (p *spill) flush(s *Store) error {
	p.mu.Lock()
	more := p.more
	if more == nil || !more.dirty.Load() {
		p.mu.Unlock()
		return nil
	}
	p.more = newStore("", s.log, s.now)
	p.n++
	n := p.n
	p.mu.Unlock()
	err := os.Mkdir(s.folder(), 0o700)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return more.write(filepath.Join(s.folder(), fmt.Sprintf("%d-%d.json", os.Getpid(), n)))
}

// absorb adds what agentds before this one have written.
func (s *Store) absorb() {
	if s.spill.has() || s.file == "" {
		return
	}
	files, _ := filepath.Glob(filepath.Join(s.folder(), "*.json")) // its pattern is right
	for _, file := range files {
		k, err := read(file)
		if err != nil {
			s.log.Error("what the sessions of an earlier agentd have used is not known", "error", err)
		} else {
			s.merge(k)
			s.touched()
		}
		if err := os.Remove(file); err != nil { // else it would be added again
			s.log.Error("forget what was added", "error", err)
			return
		}
	}
}
