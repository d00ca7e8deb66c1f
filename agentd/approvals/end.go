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
	r.trim()
	d.past = append(d.past, r)
	d.prune()
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
		if d.pending[r.who]--; d.pending[r.who] <= 0 {
			delete(d.pending, r.who)
		}
		d.counts.add(state, now.Sub(r.Asked))
	}
	r.State, r.Reason, r.Ended = state, reason, now
	resume, r.resume = r.resume, nil
	d.happened(state.String(), r)
	return resume
}

// prune forgets what has been over for long, and what is over of too many.
func (d *Desk) prune() {
	oldest := d.options.Clock.Now().Add(-d.options.KeepFor)
	n := max(0, len(d.past)-d.options.Keep)
	for n < len(d.past) && d.past[n].Ended.Before(oldest) {
		n++
	}
	for _, r := range d.past[:n] {
		delete(d.all, r.ID)
		d.forgetKey(r)
		if d.origins[r.origin] == r {
			delete(d.origins, r.origin)
		}
	}
	d.past = slices.Delete(d.past, 0, n)
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
	now := d.options.Clock.Now()
	var resume []func()
	switch r.State { // since the timer went off it may have been granted
	case Pending:
		if now.Before(r.Expires) {
			break
		}
		const why = "nobody decided in time"
		d.noteEnd(r, Expired, why)
		resume = d.end(r, Expired, why)
	case Granted:
		if !now.Before(r.Until) {
			d.lapse(r)
		}
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

// Leave writes down what there is for the last time: the next agentd is about to
// read it. It goes on here until Left, or Stay if there is no next one.
func (d *Desk) Leave() error {
	err := d.keeper.now()
	d.keeper.pause(true)
	return err
}

// Stay takes Leave back.
func (d *Desk) Stay() { d.keeper.pause(false) }

// Left is End for a Desk whose file another agentd has now.
func (d *Desk) Left(why string) {
	d.keeper.close()
	d.End(why)
}

// Close is End, and writes down what has become of everything.
func (d *Desk) Close(why string) error {
	d.End(why)
	err := d.keeper.now()
	d.keeper.close()
	return err
}

// End ends everything that is pending or granted: why, as "agentd was
// stopped". Nothing is approved afterwards.
func (d *Desk) End(why string) {
	d.mu.Lock()
	d.over = "Nothing is approved here any more: " + why + "."
	var resume []func()
	for _, r := range d.sorted() {
		if r.State == Pending || r.State == Granted {
			d.noteEnd(r, Expired, why)
			resume = append(resume, d.end(r, Expired, why)...)
		}
	}
	d.mu.Unlock()
	call(resume)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
