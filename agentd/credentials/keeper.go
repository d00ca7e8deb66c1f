package credentials

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// failedFor is how long what came to nothing is not tried again, so that a crowd
// of connections asks once.
const failedFor = time.Second

// A keeper fetches one credential, and keeps what a helper said.
type keeper struct {
	Credential
	store    *Store
	turn     chan struct{} // holds one while a helper runs, so that one does for all who wait
	rejected atomic.Bool   // a server did not take what is kept

	mu      sync.Mutex // guards what follows
	login   Login
	fetched time.Time
	until   time.Time // how long login or err hold
	err     error     // of the last attempt
	warning string
}

// fetch returns what to log in with.
func (k *keeper) fetch(ctx context.Context) (Login, error) {
	if k.Exec == nil {
		return k.keep(k.read())
	}
	if l, err, ok := k.kept(); ok {
		return l, err
	}
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return Login{}, context.Cause(ctx)
	}
	if l, err, ok := k.kept(); ok { // whoever had the turn before asked for all
		return l, err
	}
	k.rejected.Store(false)
	l, err := k.Exec.run(ctx, k.store.clock())
	if err == nil && k.User != "" {
		l.User = k.User
	}
	if err == nil {
		err = check("user", l.User)
	}
	return k.keep(l, err)
}

// read reads what is not a helper's.
func (k *keeper) read() (l Login, err error) {
	var warning string
	if l.User = k.User; k.UserFile != "" {
		if l.User, _, err = readSecret("user", k.UserFile); err != nil {
			return l, err
		}
	}
	switch {
	case k.File != "":
		var text string
		text, warning, err = readSecret("password", k.File)
		l.Password = Secret{text}
	case k.Env != "":
		l.Password, err = k.store.taken(k.Env)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.warning = warning
	return l, err
}

// kept returns what holds still.
func (k *keeper) kept() (l Login, err error, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.store.clock()
	if !now.Before(k.until) || k.err == nil && k.rejected.Load() && now.Sub(k.fetched) >= failedFor {
		return Login{}, nil, false
	}
	return k.login, k.err, true
}

// keep notes what an attempt came to.
func (k *keeper) keep(l Login, err error) (Login, error) {
	now := k.store.clock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
	if err != nil {
		k.login, k.until = Login{}, now.Add(failedFor)
		return Login{}, err
	}
	l.store, l.name = k.store, k.Name
	l.Prepared = prepare(l.Password)
	k.fetched = now
	if k.Exec != nil {
		k.login, k.until = l, k.Exec.holds(now, l.Expires)
	} else {
		k.login = Login{User: l.User} // for its state: files are read each time
	}
	return l, nil
}

// state tells how the credential is.
func (k *keeper) state() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := State{Name: k.Name, Source: k.source(), User: k.User, Fetched: k.fetched, Expires: k.login.Expires, Warning: k.warning}
	if s.User == "" {
		s.User = k.login.User
	}
	if k.err != nil {
		s.Problem = k.err.Error()
	}
	return s
}

func sortStates(states []State) {
	slices.SortFunc(states, func(a, b State) int { return strings.Compare(a.Name, b.Name) })
}
