package usage

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A Store holds what is counted of all workloads. Its methods may be called by
// any number of goroutines.
type Store struct {
	now   func() time.Time
	log   *slog.Logger
	file  string
	blind int64        // since when anything is known, in seconds since 1970; 0: since ever
	learn atomic.Int64 // how long a workload is learned, in seconds
	dirty atomic.Bool  // something is to be written
	spill spill

	mu       sync.Mutex // guards what follows; taken before that of an account
	profiles map[string]*profile
	accounts map[place]*account
	turned   int64 // sessions for which there was no room
}

// A place is what an account is for.
type place struct{ who, target string }

// Learn says how long a workload is watched before what it does can be new.
func (s *Store) Learn(for_ time.Duration) { s.learn.Store(int64(for_ / time.Second)) }

// View returns a session's view: of a workload, called as it is called whenever
// it runs again, at a target, by a program.
func (s *Store) View(who, target, program string) *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(place{who, target})
	if a == nil {
		s.turned++
	}
	return &View{store: s, account: a, program: program}
}

// account returns the account of a place, nil if there is no room for it. The
// caller holds the lock.
func (s *Store) account(at place) *account {
	if a := s.accounts[at]; a != nil {
		return a
	}
	now := s.now().Unix()
	if len(s.accounts) >= maxAccounts {
		s.forget(now)
	}
	if len(s.accounts) >= maxAccounts || len(at.who) > 4*maxName || len(at.target) > maxName {
		return nil
	}
	p := s.profiles[at.who]
	if p == nil {
		p = newProfile(at.who, now)
		s.profiles[at.who] = p
	}
	a := newAccount(p, at.target)
	s.accounts[at] = a
	s.touched()
	return a
}

// forget forgets the workloads that have done nothing for long. Sessions that
// there are of one go on with what is not kept any more.
func (s *Store) forget(now int64) {
	for at, a := range s.accounts {
		a.profile.mu.Lock()
		idle := now-a.profile.last > idleFor
		a.profile.mu.Unlock()
		if idle {
			delete(s.accounts, at)
			delete(s.profiles, at.who)
		}
	}
}

func (s *Store) touched() {
	if !s.dirty.Load() {
		s.dirty.Store(true)
	}
}

// A State is how a Store is.
type State struct {
	Workloads, Accounts int
	Full                []string // workloads of which more is used than is kept
	Turned              int64    // sessions of workloads that are not counted at all
}

// State tells how s is.
func (s *Store) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := State{Workloads: len(s.profiles), Accounts: len(s.accounts), Turned: s.turned}
	for who, p := range s.profiles {
		if p.isFull() {
			state.Full = append(state.Full, who)
		}
	}
	return state
}
