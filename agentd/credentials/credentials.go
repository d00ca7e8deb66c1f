// Package credentials fetches what agentd logs in to targets with: users and
// passwords that the captured workloads never see.
//
// A secret leaves this package in a Login alone, as a Secret, which prints as
// "[secret]" wherever it may end up by mistake. Errors and states name
// credentials, files, variables and exit codes, and never hold anything that
// was read.
package credentials

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"agentd.dev/decoders"
)

// A Credential says where a user and a password come from. Of File, Env and
// Exec one is set, or none: then there is no password.
type Credential struct {
	Name     string
	User     string // "" if UserFile or the helper says it
	UserFile string // that holds it
	File     string // that holds the password
	Env      string // the variable of agentd's environment that holds it
	Exec     *Helper

	// Methods are the ways to log in beyond SCRAM that a server may ask for.
	Methods decoders.Methods
	// Passwords: statements that give users of the database a password are
	// let through.
	Passwords bool
}

// A Login is what a credential came to.
type Login struct {
	User     string
	Password Secret
	Prepared Secret    // the password as SCRAM wants it, "" if that is the same
	Expires  time.Time // zero if nobody said

	store *Store
	name  string
}

// ErrUnknown says that no credential has the name.
var ErrUnknown = errors.New("no credential has this name in agentd's configuration")

// A Store fetches credentials. It may be used by any number of goroutines. The
// zero value has none.
type Store struct {
	keys keys

	mu  sync.Mutex // guards what follows
	all map[string]*keeper
	env environment
	now func() time.Time // nil: time.Now
}

// Use makes list the credentials. Those that are as they were keep what was
// fetched.
func (s *Store) Use(list []Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]*keeper{}
	for _, c := range list {
		s.env.take(c.Env)
		if k := s.all[c.Name]; k != nil && reflect.DeepEqual(k.Credential, c) {
			all[c.Name] = k
			continue
		}
		all[c.Name] = &keeper{Credential: c, store: s, turn: make(chan struct{}, 1)}
	}
	s.all = all
}

// Fetch returns what to log in with now: what a file holds at this moment, and
// what a helper said not too long ago. It fails closed: an error, which may be
// shown to anybody, means that nobody can be logged in.
func (s *Store) Fetch(ctx context.Context, name string) (Login, error) {
	s.mu.Lock()
	k := s.all[name]
	s.mu.Unlock()
	if k == nil {
		return Login{}, fmt.Errorf("credential %q: %w", name, ErrUnknown)
	}
	l, err := k.fetch(ctx)
	if err != nil {
		return Login{}, fmt.Errorf("credential %q: %w", name, err)
	}
	return l, nil
}

// Keys returns what remembers the keys made from the login's password.
func (l *Login) Keys() decoders.Keys {
	return &passwordKeys{keys: &l.store.keys, name: l.name, password: l.Password}
}

// Rejected notes that a server did not take the login: a helper is asked again
// for the next one. It does not block.
func (l *Login) Rejected() {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	if k := l.store.all[l.name]; k != nil {
		k.rejected.Store(true)
	}
}

func (s *Store) clock() time.Time {
	if s.now != nil {
		return s.now()
	}
	return time.Now()
}

// A State is how a credential is. It holds no secret.
type State struct {
	Name    string
	Source  string // file PATH, environment NAME, helper PROGRAM, or no password
	User    string // "" if it is not known before something was fetched
	Fetched time.Time
	Expires time.Time
	Problem string // why the last attempt failed
	Warning string // what is unwise
}

// States are those of all credentials, by name. Files and the environment are
// looked at for it; helpers are not asked.
func (s *Store) States(ctx context.Context) []State {
	s.mu.Lock()
	keepers := make([]*keeper, 0, len(s.all))
	for _, k := range s.all {
		keepers = append(keepers, k)
	}
	s.mu.Unlock()
	states := make([]State, len(keepers))
	for i, k := range keepers {
		if k.Exec == nil {
			_, _ = k.fetch(ctx) // the state tells
		}
		states[i] = k.state()
	}
	sortStates(states)
	return states
}

// source says where the password comes from.
func (c *Credential) source() string {
	switch {
	case c.File != "":
		return "file " + c.File
	case c.Env != "":
		return "environment " + c.Env
	case c.Exec != nil:
		return "helper " + c.Exec.Command[0]
	}
	return "no password"
}

// check returns an error if a user or a password cannot be one.
func check(what, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("the %s is empty", what)
	case len(value) > maxSecret:
		return fmt.Errorf("the %s is longer than %d bytes", what, maxSecret)
	case strings.ContainsRune(value, 0):
		return fmt.Errorf("the %s has a zero byte in it", what)
	}
	return nil
}

// maxSecret is how long a password or token may be, in bytes.
const maxSecret = 16 << 10
