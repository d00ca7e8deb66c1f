package approvals

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Consult says how q stands. If nobody was asked for it yet, somebody is now.
// Granted says that it is to be done, now: a grant for one use is used up.
//
// It fails closed: what cannot be recorded is Refused.
func (d *Desk) Consult(q *Question) Standing {
	k := keyOf(q)
	d.mu.Lock()
	s, resume := d.consult(q, k)
	d.mu.Unlock()
	call(resume)
	return s
}

func (d *Desk) consult(q *Question, k key) (s Standing, resume []func()) {
	if d.over != "" {
		return Standing{Reason: d.over}, nil
	}
	from := origin{q.Session.ID, q.Seq}
	if own := d.origins[from]; own != nil && own.key != k && (own.State == Pending || own.State == Granted && own.For == 0) {
		// It waited under other terms, for which nobody waits any more.
		const why = "the rules have changed"
		d.noteEnd(own, Withdrawn, why)
		resume = d.end(own, Withdrawn, why)
	}
	if r := d.find(k, from); r != nil {
		return d.standing(r, q), resume
	}
	r, refusal := d.open(q, k, from)
	if r == nil {
		d.counts.Refused++
		return Standing{Reason: refusal}, resume
	}
	return r.standing(), resume
}

// find returns the request that a question belongs to, nil if there is none.
func (d *Desk) find(k key, from origin) *request {
	now := d.options.Clock.Now()
	own := d.origins[from]
	if own != nil && own.key == k && own.Reason != covered {
		return own
	}
	var found *request
	for _, r := range d.keys[k] {
		if r.serves(now) && (found == nil || r.State == Granted) {
			found = r
		}
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
		Statement: q.Statement, Parameters: slices.Clone(q.Parameters), Verbs: slices.Clone(q.Verbs), Tables: slices.Clone(q.Tables), Claims: maps.Clone(q.Claims),
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
