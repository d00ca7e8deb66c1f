// Package sinks hands the record on: as OTLP logs, to a syslog server, to a
// webhook, and as objects in a bucket.
//
// The log is the queue. Each sink reads it behind the recorder, up to what is
// signed and on the disk, and keeps in a file how far it is: what it has not
// brought yet waits in the log and nowhere else, whether that is a second's worth
// or a week's. A sink has one goroutine, one batch in memory, and nothing in
// common with the data path but the disk: one that hangs delays nobody.
//
// It brings everything at least once, in order. After a crash the last seconds
// come again: receivers that mind go by the index of a record. It fails open: what
// a receiver will not take by itself is counted, said and passed over.
package sinks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"agentd.dev/recorder"
)

// A Config is one sink. Of OTLP, Syslog, Webhook and Objects one is set.
type Config struct {
	Name string
	// Types are the records it gets, nil for all but rows; Verdicts the verdicts
	// it gets of those that have one, nil for all.
	Types, Verdicts []string
	FromStart       bool // of the log, when it is new; else from then on
	NoText          bool // statements, and what could repeat of them, stay here

	OTLP    *OTLP
	Syslog  *Syslog
	Webhook *Webhook
	Objects *Objects
}

// A Secret fetches a secret when it is needed. Its errors hold none.
type Secret func(context.Context) (string, error)

// A TLS is how sinks are sure of whom they talk to. The zero value trusts what
// the system trusts.
type TLS struct {
	CA, Cert, Key string // the files' names, by which two are compared
	Roots         interface {
		Pool() (*x509.CertPool, error)
	}
	Pair interface {
		Certificate() (*tls.Certificate, error)
	}
}

// config returns the configuration for a connection that is made now.
func (t *TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.Roots != nil {
		var err error
		if c.RootCAs, err = t.Roots.Pool(); err != nil {
			return nil, err
		}
	}
	if t.Pair != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.Pair.Certificate() }
	}
	return c, nil
}

// Options are what all sinks have in common. All must be set.
type Options struct {
	Node, Version string
	Log           string // folder of the log
	State         string // folder that positions are kept in
	// Signed returns how many records are signed, and on the disk: a sink brings no
	// others, so that nothing that it has brought is undone by a loss of power.
	Signed func() int64
	// Latest returns the last checkpoint, nil before there is one.
	Latest func() []byte
	// Whole reports whether a file of a segment that has ended may leave as it is:
	// false while it is to be compressed or encrypted still.
	Whole  func(segment int64) bool
	Logger *slog.Logger
}

// A State is how a sink is.
type State struct {
	Kind      string
	Delivered int64 // records, or objects
	Refused   int64 // that the receiver would not have
	Missed    int64 // that could not be read from the log any more
	Failures  int64 // attempts that came to nothing
	Behind    int64 // records of the log that it has not come to
	Lag       time.Duration
	Problem   string // of the last attempt, "" if there is none
}

// A Set is the sinks in use. Its methods may be called by any number of
// goroutines.
type Set struct {
	opts Options

	mu      sync.Mutex // guards what follows
	list    []Config
	running bool
	all     map[string]*sink
}

// New returns a Set without sinks, that does nothing before Begin.
func New(opts Options) *Set { return &Set{opts: opts, all: map[string]*sink{}} }

// Use makes list the sinks. Those that are as they were go on; one that was changed
// goes on where it was. It waits for those that end, which they do at once.
func (s *Set) Use(list []Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list = list; s.running {
		s.follow()
	}
}

// Begin has the sinks work until Rest. One process at a time may do that with a
// log.
func (s *Set) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = true
	s.follow()
}

// Rest ends all sinks, until Begin is called again. What they have not brought they
// bring then. To bring what there is they have some time, unless it is 0.
func (s *Set) Rest(within time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for end := time.Now().Add(within); s.busy() && time.Now().Before(end); {
		time.Sleep(poll / 10)
	}
	s.running = false
	end(s.all)
	s.all = map[string]*sink{}
}

// busy reports whether some sink has records to bring, and does so.
func (s *Set) busy() bool {
	for _, k := range s.all {
		if now := k.state(); now.Behind > 0 && now.Problem == "" && k.config.Objects == nil {
			return true
		}
	}
	return false
}

// follow starts and ends sinks, so that they are those of list.
func (s *Set) follow() {
	list := s.list
	old := s.all
	s.all = map[string]*sink{}
	for _, c := range list {
		if k := old[c.Name]; k != nil && same(k.config, c) {
			s.all[c.Name] = k
			delete(old, c.Name)
		}
	}
	end(old)
	for _, c := range list {
		if s.all[c.Name] == nil {
			s.all[c.Name] = start(c, &s.opts)
		}
	}
}

// States are those of all sinks, by name.
func (s *Set) States() map[string]State {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := map[string]State{}
	for name, k := range s.all {
		states[name] = k.state()
	}
	return states
}

func end(all map[string]*sink) {
	for _, k := range all {
		k.cancel()
	}
	for _, k := range all {
		<-k.done
	}
}

// same reports whether two configurations of a sink are the same. What fetches
// secrets is made anew at each reading, and stands under the same name.
func same(a, b Config) bool { return reflect.DeepEqual(a.bare(), b.bare()) }

// bare is c without what cannot be compared.
func (c Config) bare() Config {
	if c.OTLP != nil {
		o := *c.OTLP
		o.Header.Value, o.TLS = nil, o.TLS.bare()
		c.OTLP = &o
	}
	if c.Syslog != nil {
		o := *c.Syslog
		o.TLS = o.TLS.bare()
		c.Syslog = &o
	}
	if c.Webhook != nil {
		o := *c.Webhook
		o.Secret, o.URL, o.TLS = nil, nil, o.TLS.bare()
		c.Webhook = &o
	}
	if c.Objects != nil {
		o := *c.Objects
		o.Access, o.Secret, o.TLS = nil, nil, o.TLS.bare()
		c.Objects = &o
	}
	return c
}

func (t TLS) bare() TLS { return TLS{CA: t.CA, Cert: t.Cert, Key: t.Key} }

// A sender is the way that records take. Send brings all of a batch, or returns an
// error, after which the batch is sent again. Errors hold no secret.
type sender interface {
	send(ctx context.Context, batch []Record) error
	close()
}

// A refusedError is of a receiver that will not have what it was sent, however
// often.
type refusedError struct{ why error }

func (e refusedError) Error() string { return e.why.Error() }

// kind is what a sink is called by its kind.
func (c *Config) kind() string {
	switch {
	case c.OTLP != nil:
		return "otlp"
	case c.Syslog != nil:
		return "syslog"
	case c.Webhook != nil:
		return "webhook"
	}
	return "objects"
}

// file is where a sink's position is kept.
func (o *Options) file(name string) string { return filepath.Join(o.State, name+".json") }

// passer returns what does a sink's work.
func (k *sink) passer() (passer, error) {
	c, o := &k.config, k.opts
	if c.Objects != nil {
		return newShipper(k)
	}
	folder, err := recorder.OpenFolder(o.Log)
	if err != nil {
		return nil, err
	}
	var to sender
	switch {
	case c.OTLP != nil:
		to, err = newOTLP(c.OTLP, o)
	case c.Syslog != nil:
		to = newSyslog(c.Syslog, o)
	case c.Webhook != nil:
		to = newHook(c, o)
	default:
		err = fmt.Errorf("sink %q goes nowhere", c.Name)
	}
	if err != nil {
		return nil, err
	}
	return newFollower(k, folder, to)
}
