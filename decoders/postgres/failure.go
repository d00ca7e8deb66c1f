package postgres

import (
	"fmt"

	"agentd.dev/decoders"
)

// failed handles ErrorResponse.
func (d *decoder) failed(m message) (turn, error) {
	if want := min(m.size, maxError); len(m.buf) < want {
		return d.need(want), nil
	}
	f := parseFailure(m.body())
	s := d.head()
	switch {
	case s == nil:
		return walk, nil // the session is ending, or the client's COPY went on after its error
	case f.fatal():
		return d.told(s, f), nil
	case s.refusal != nil:
		return d.refused(s, m)
	}
	d.copying = false
	d.hidden = nil
	switch s.kind {
	case query, function:
		s.done = true
		d.fail(s, f)
		return walk, nil
	case syncing: // the transaction could not be committed
		return walk, nil
	}
	if !s.extended() {
		return walk, fmt.Errorf("%w: an error where an answer to %q was due", errStep, s.kind)
	}
	t := d.told(s, f)
	d.skip()
	return t, nil
}

// fail keeps in s what the error says.
func (d *decoder) fail(s *slot, f failure) {
	s.result.Code = d.own(f.code)
	if !s.reading.private {
		s.result.Message = string(f.message)
	}
}

// told makes the event of an error: of the request that failed, or of the
// first behind it in the pipeline if what failed was not asked about.
func (d *decoder) told(s *slot, f failure) turn {
	if s.seq == 0 {
		for n := d.queue.head + 1; n < d.queue.tail; n++ {
			next := d.queue.at(n)
			if next.kind == syncing && !next.void {
				return walk
			}
			if next.seq != 0 && !next.void && next.refusal == nil && !next.told {
				next.result.Skipped = true
				s = next
				break
			}
		}
	}
	if s.seq == 0 || s.told {
		return walk
	}
	d.fail(s, f)
	s.told = true
	d.server.event = decoders.Event{Kind: decoders.Outcome, Seq: s.seq, Result: s.result}
	return tell
}

// refused replaces the error of a substitute by the refusal that it stands for.
func (d *decoder) refused(s *slot, m message) (turn, error) {
	if !m.first {
		return flush, nil
	}
	d.server.out = complaint(d.server.out[:0], "ERROR", insufficientPrivilege, *s.refusal)
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size, Out: d.server.out}
	if s.extended() {
		d.skip()
	} else {
		s.done = true
	}
	return alone, nil
}
