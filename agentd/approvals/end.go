package approvals

import (
	"slices"
	"time"
)

// end ends r: nothing is granted by it from now on. It returns what waits for
// r, to be called without the lock.
func (d *Desk) end(r *request, state State, reason string) (resume []func()) {
	resume = d.decided(r, state, reason)
	if state != Denied { // which holds for the same for a while
		d.forgetKey(r)
	}
	return resume
}

// decided moves r on from pending, or from granted.
func (d *Desk) decided(r *request, state State, reason string) (resume []func()) {
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
	now := d.options.Clock.Now()
	if r.State == Pending {
		d.waiting--
		if d.pending[r.Workload.Name]--; d.pending[r.Workload.Name] == 0 {
			delete(d.pending, r.Workload.Name)
		}
		d.counts.add(state, now.Sub(r.Asked))
	}
	r.State, r.Reason, r.Ended = state, reason, now
	resume, r.resume = r.resume, nil
	d.changed()
	return resume
}

// forgetKey makes r no longer found by what it is for.
func (d *Desk) forgetKey(r *request) {
	rest := slices.DeleteFunc(d.keys[r.key], func(other *request) bool { return other == r })
	if len(rest) == 0 {
		delete(d.keys, r.key)
		return
	}
	d.keys[r.key] = rest
}

// expire ends r because its time is over, pending or granted. That it cannot be
// recorded does not keep it.
func (d *Desk) expire(r *request) {
	d.mu.Lock()
	var resume []func()
	switch r.State {
	case Pending:
		const why = "nobody decided in time"
		d.noteEnd(r, Expired, why)
		resume = d.end(r, Expired, why)
	case Granted:
		d.lapse(r)
	}
	d.mu.Unlock()
	call(resume)
}

// lapse ends a grant whose time is over.
func (d *Desk) lapse(r *request) {
	state, why := Expired, "granted, and not used in time"
	if r.Uses > 0 {
		state, why = Used, "the time that it was granted for is over"
	}
	d.noteEnd(r, state, why)
	d.end(r, state, why)
}

// End ends everything that is pending or granted: why, as "agentd was
// upgraded". Nothing is approved afterwards.
func (d *Desk) End(why string) {
	d.mu.Lock()
	d.over = why
	var resume []func()
	for _, r := range d.all {
		if r.State == Pending || r.State == Granted {
			d.noteEnd(r, Expired, why)
			resume = append(resume, d.end(r, Expired, why)...)
		}
	}
	d.mu.Unlock()
	call(resume)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
