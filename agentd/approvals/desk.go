package approvals

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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

// Consult says how q stands. If nobody was asked for it yet, somebody is now.
// Granted says that it is to be done, now: a grant for one use is used up.
//
// It fails closed: what cannot be recorded is Refused.
func (d *Desk) Consult(q *Question) Standing {
	k := keyOf(q)
	from := origin{q.Session.ID, q.Seq}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over != "" {
		return Standing{Reason: d.over}
	}
	if r := d.find(k, from); r != nil {
		return d.standing(r, q)
	}
	r, refusal := d.open(q, k, from)
	if r == nil {
		d.counts.Refused++
		return Standing{Reason: refusal}
	}
	return r.standing()
}

// find returns the request that a question belongs to, nil if there is none.
func (d *Desk) find(k key, from origin) *request {
	now := d.options.Clock.Now()
	own := d.origins[from]
	if own != nil && own.key == k && (own.State == Pending || own.State == Granted) {
		return own
	}
	var found *request
	for _, r := range d.keys[k] {
		if better := r.serves(now); better && (found == nil || r.State == Granted) {
			found = r
		}
	}
	if found == nil && own != nil && own.key == k && own.Reason != covered {
		return own
	}
	return found
}

// serves reports whether r is there for questions that are the same as the one
// that it was made for.
func (r *request) serves(now time.Time) bool {
	switch r.State {
	case Granted:
		return now.Before(r.Until) && (r.For > 0 || !r.Held)
	case Pending:
		return !r.Held
	case Denied: // asking again does not wear people down
		return now.Before(r.Expires)
	default:
		return false
	}
}

// standing says how r stands for q, and uses it if it is granted.
func (d *Desk) standing(r *request, q *Question) Standing {
	if r.State == Pending && !r.Held && q.waits() {
		// Asked for before by one who did not wait, as in a transaction: now
		// one waits.
		delete(d.origins, r.origin)
		r.origin, r.Held = origin{q.Session.ID, q.Seq}, true
		d.origins[r.origin] = r
		d.changed()
	}
	if r.State != Granted {
		return r.standing()
	}
	if !d.options.Clock.Now().Before(r.Until) {
		d.lapse(r)
		return r.standing()
	}
	return d.use(r, q)
}

// use lets q through by r.
func (d *Desk) use(r *request, q *Question) Standing {
	if err := d.note(r, "used", "session", q.Session.ID, "seq", q.Seq, "use", r.Uses+1); err != nil {
		return Standing{ID: r.ID, Reason: unrecorded}
	}
	r.Uses++
	s := r.standing()
	if r.For == 0 {
		d.end(r, Used, "") // nothing waits for what is granted
		return s
	}
	d.happened(Used.String(), r)
	return s
}

const (
	covered    = "the same was granted for a while meanwhile"
	unrecorded = "The use of the approval could not be recorded."
)

// open asks people about q.
func (d *Desk) open(q *Question, k key, from origin) (r *request, refusal string) {
	who := strings.Join(identityOf(&q.Session.Identity), "\x00")
	size := len(q.Statement)
	for _, p := range q.Parameters {
		size += len(p)
	}
	switch {
	case size > maxStatement:
		return nil, fmt.Sprintf("Nobody can be asked about a statement of %d bytes: %d is the most that a person is shown.", size, maxStatement)
	case d.pending[who] >= d.options.PerWorkload:
		return nil, fmt.Sprintf("%d requests of this workload wait for approval already.", d.pending[who])
	case d.waiting >= d.options.Pending:
		return nil, fmt.Sprintf("%d requests wait for approval on this node already.", d.waiting)
	}
	now := d.options.Clock.Now()
	expires := cmp.Or(q.Terms.Expires, defaultExpires)
	r = &request{Request: ask(q, now, expires), key: k, who: who, origin: from}
	if err := d.note(r, "asked", "expires", stamp(r.Expires)); err != nil {
		return nil, "The request for approval could not be recorded."
	}
	d.all[r.ID] = r
	d.origins[from] = r
	d.keys[k] = append(d.keys[k], r)
	d.pending[who]++
	d.waiting++
	r.stop = d.options.Clock.AfterFunc(expires, func() { d.expire(r) })
	d.happened("asked", r)
	return r, ""
}

// ask returns the request that q makes.
func ask(q *Question, now time.Time, expires time.Duration) Request {
	id, t := &q.Session.Identity, &q.Session.Target
	r := Request{
		ID: newID(now), State: Pending, Asked: now, Expires: now.Add(expires), Held: q.waits(),
		Rule: q.Terms.Rule, Message: q.Terms.Message, Need: max(1, q.Terms.Need), By: slices.Clone(q.Terms.By), For: q.Terms.For,
		Session: q.Session.ID, Seq: q.Seq,
		Workload: Workload{
			Name: id.Workload, Source: id.Source, Cgroup: id.Cgroup, Unit: id.Unit,
			Namespace: id.Namespace, Pod: id.Pod, ServiceAccount: id.ServiceAccount, Owner: id.Owner,
			Container: id.Container, Image: id.Image,
			PID: id.Process.PID, Started: id.Process.Start, UID: id.Process.UID, Comm: id.Process.Comm, Exe: id.Process.Exe,
			Contained: id.ContainerID != "" || id.PodUID != "",
		},
		Target: t.Name, Address: t.Address.String(), Protocol: t.Protocol, User: q.User, Database: q.Database,
		Statement: q.Statement, Parameters: slices.Clone(q.Parameters), Verbs: slices.Clone(q.Verbs), Tables: slices.Clone(q.Tables),
	}
	r.Shown = Shown(&r)
	return r
}

// standing says how r stands.
func (r *request) standing() Standing {
	s := Standing{State: r.State, ID: r.ID, Reason: r.Reason, Expires: r.Expires}
	if r.State == Granted {
		s.Expires = r.Until
	}
	for i, v := range r.Votes {
		if i > 0 {
			s.By += ", "
		}
		s.By += v.By
	}
	return s
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
