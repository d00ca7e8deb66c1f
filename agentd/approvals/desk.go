package approvals

import (
	"cmp"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxStatement is how long a statement may be, its parameters included, for
	// a person to be asked about it, in bytes.
	maxStatement = 64 << 10
	// defaultExpires is how long a request waits if the rule does not say.
	defaultExpires = 15 * time.Minute
)

// A Recorder is where what happens is recorded; see recorder.Note.
type Recorder interface {
	Note(kind, text string, attrs ...any) error
}

// Options are what a Desk is made of.
type Options struct {
	Recorder Recorder
	Log      *slog.Logger
	Clock    Clock // nil: the clock on the wall
	// File is where requests are kept for the next agentd, "" for nowhere;
	// Ended is what becomes of those that were pending in the last one, as
	// "agentd was restarted". Silent: it has recorded that itself.
	File   string
	Ended  string
	Silent bool

	PerWorkload int           // how many requests of one workload may be pending; 0: 200
	Pending     int           // how many of all; 0: 1000
	Keep        int           // how many that are over are kept; 0: 1000
	KeepFor     time.Duration // for how long; 0: a week

	// Starter returns the user who started the run that a cgroup belongs to.
	// An error: that is not known. Nil: nobody started any.
	Starter func(cgroup string) (uid uint32, err error)
	// Heard is told what happens, after it is recorded and in order: asked,
	// agreed, granted, denied, used, expired or withdrawn. It must not block,
	// nor call the Desk. Nil: nobody listens.
	Heard func(what string, r Request)
}

// A Desk keeps requests for approval. Its methods may be called by any number
// of goroutines and do not wait for people, nor for anything but the record.
type Desk struct {
	options Options

	mu      sync.Mutex // guards what is below; held while something is recorded
	over    string     // why nothing is approved any more, "" while it is
	all     map[string]*request
	past    []*request          // those that are over, in the order of their ends
	origins map[origin]*request // the last that a session asked for at a seq
	keys    map[key][]*request  // those that are pending, granted or denied
	pending map[string]int      // how many, by who asks
	waiting int                 // how many are pending
	counts  Counts
	changes changes
	keeper  *keeper // nil if nothing is kept
}

// An origin is where a question comes from.
type origin struct {
	session string
	seq     uint64
}

// A request is a Request with what is not shown of it. The Desk's mutex guards
// it.
type request struct {
	Request
	key    key
	who    string // the workload, as it is told from others
	origin origin
	resume []func()    // called when it is no longer pending
	stop   func() bool // its timer; nil if there is none
}

// Open returns a Desk with what the last one has left in the file. The caller
// closes it.
//
// A file that cannot be understood is moved aside and logged: what it said is in
// the record.
func Open(options Options) *Desk {
	if options.Clock == nil {
		options.Clock = wallClock{}
	}
	options.PerWorkload = cmp.Or(options.PerWorkload, 200)
	options.Pending = cmp.Or(options.Pending, 1000)
	options.Keep = cmp.Or(options.Keep, 1000)
	options.KeepFor = cmp.Or(options.KeepFor, 7*24*time.Hour)
	d := &Desk{
		options: options,
		all:     map[string]*request{},
		origins: map[origin]*request{},
		keys:    map[key][]*request{},
		pending: map[string]int{},
		changes: newChanges(options.Clock.Now()),
	}
	if options.File == "" {
		return d
	}
	d.load()
	d.keeper = keep(options.File, options.Log, d.state)
	return d
}

// Wait has resume called once, when the request with this id is not pending any
// more: now, if it is not. Resume is called from any goroutine, perhaps before
// Wait returns, and must not block.
func (d *Desk) Wait(id string, resume func()) {
	d.mu.Lock()
	r := d.all[id]
	if r != nil && r.State == Pending {
		r.resume = append(r.resume, resume)
		d.mu.Unlock()
		return
	}
	d.mu.Unlock()
	resume()
}

// Withdraw ends a request, or its unused grant, because who asked is not there
// any more: why, as "the client has disconnected". It is never granted
// afterwards, whether that can be recorded or not.
func (d *Desk) Withdraw(id, why string) {
	d.mu.Lock()
	r := d.all[id]
	if r == nil || r.State != Pending && (r.State != Granted || r.For > 0) {
		d.mu.Unlock()
		return
	}
	d.noteEnd(r, Withdrawn, why)
	resume := d.end(r, Withdrawn, why)
	d.mu.Unlock()
	call(resume)
}

// call calls what waits for a request. The caller holds no lock.
func call(resume []func()) {
	for _, f := range resume {
		f()
	}
}
