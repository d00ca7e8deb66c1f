package postgres

import (
	"bytes"
	"fmt"
	"slices"

	"agentd.dev/decoders"
)

// failed handles ErrorResponse. In a session with searches, what they find in
// its texts is replaced.
func (d *decoder) failed(m message) (turn, error) {
	if want := min(m.size, maxError); len(m.buf) < want {
		return d.need(want), nil
	}
	body := m.body()
	changed := d.search != nil && d.censorFields(d.head(), m)
	if changed {
		if !m.first {
			return flush, nil
		}
		body = d.server.censored[headerLen:]
	}
	f := parseFailure(body)
	if s := d.head(); s != nil && s.refusal == nil && d.bounds.names(f) != "" && m.size <= maxError {
		if !m.first {
			return flush, nil
		}
		rule := d.bounds.names(f)
		body, changed = bytes.Clone(body), true
		d.server.censored = credited(d.server.censored[:0], body, rule)
		f = parseFailure(d.server.censored[headerLen:])
	}
	t, err := d.failure(m, f)
	if err != nil || !changed || t != walk && t != tell {
		return t, err
	}
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size, Out: d.server.censored}
	if t == tell {
		d.server.step.Event = &d.server.event
	}
	return alone, nil
}

// failure takes note of an error that says f.
func (d *decoder) failure(m message, f failure) (turn, error) {
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
	if d.withholds(s, f) {
		return d.withheld(s, m, f)
	}
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

// withholds reports whether the error of a statement that can reach protected
// values may show one. Errors of parse analysis, which point into the text,
// cannot: there are no values yet. Nor can those of the listed classes.
func (d *decoder) withholds(s *slot, f failure) bool {
	if !d.masking() || f.position || len(f.code) != 5 || harmless[string(f.code[:2])] || harmlessCodes[string(f.code)] {
		return false
	}
	r := &s.reading
	switch class := string(f.code[:2]); {
	case s.kind == function, s.kind == syncing, r.table, r.column, r.unclassified != "":
		return true
	case r.effect&settles != 0: // constraints and triggers of other statements come due
		return class != "42"
	case r.effect&remodels != 0: // as ALTER DOMAIN, which reads the tables that use it
		return class == "22" || class == "23" || class == "P0"
	}
	return false
}

// harmless classes of SQLSTATEs speak of transactions, resources and names of
// statements; harmlessCodes are those of other classes that do. Errors of the
// rest of their classes show values: a cursor's name may be one, and so may a
// word that is too long to search for.
var (
	harmless = map[string]bool{"25": true, "26": true, "40": true, "53": true, "57": true}

	harmlessCodes = map[string]bool{"08P01": true, "54001": true, "55006": true, "55P03": true}
)

// withheld replaces such an error by one of the same code without its texts.
func (d *decoder) withheld(s *slot, m message, f failure) (turn, error) {
	if !m.first {
		return flush, nil
	}
	d.server.out = complaint(d.server.out[:0], "ERROR", d.own(f.code), "(agentd does not show the text of this error: it may contain values of protected columns)", "")
	step := decoders.Step{Op: decoders.Drop, N: m.size, Out: d.server.out}
	switch {
	case s.extended():
		if d.told(s, f) == tell {
			step.Event = &d.server.event
		}
		d.skip()
	case s.kind != syncing:
		s.done = true
		d.fail(s, f)
	}
	d.server.step = step
	return alone, nil
}

// notice handles NoticeResponse, of which the texts may carry values, too.
func (d *decoder) notice(m message) (turn, error) {
	s := d.head()
	if d.search == nil && (!d.masking() || s == nil) {
		return walk, nil
	}
	if want := min(m.size, maxError); len(m.buf) < want {
		return d.need(want), nil
	}
	f := parseFailure(m.body())
	if s == nil || !d.withholds(s, f) {
		if d.search == nil || !d.censorFields(s, m) {
			return walk, nil
		}
		return d.replaced(m)
	}
	if !m.first {
		return flush, nil
	}
	d.server.out = complaint(d.server.out[:0], "NOTICE", d.own(f.code), "(agentd does not show the text of this notice: it may contain values of protected columns)", "")
	d.server.out[0] = 'N'
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size, Out: d.server.out}
	return alone, nil
}

// fail keeps in s what the error says.
func (d *decoder) fail(s *slot, f failure) {
	d.settings.failed = true
	s.result.Code = d.own(f.code)
	switch {
	case s.reading.private:
	case s.given() && bytes.HasPrefix(f.code, dataException):
		s.result.Message = unquoted(f.message)
	default:
		s.result.Message = string(f.message)
	}
}

// dataException is the class of errors that repeat the values that they are
// about.
var dataException = []byte("22")

// given reports whether the request's values came beside its text, as those of a
// Bind and of COPY: they are not recorded.
func (s *slot) given() bool {
	return s.kind != query || s.reading.facts != nil && slices.Contains(s.reading.facts.Commands, "copy from")
}

// unquoted is an error's message up to where it may repeat a value: the first
// quote, of whichever language, or colon.
func unquoted(message []byte) string {
	if i := bytes.IndexAny(message, "\":'`«»„“‘"); i >= 0 {
		return string(message[:i]) + "?"
	}
	return string(message)
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
	d.server.event = decoders.Event{Kind: decoders.Outcome, Seq: s.seq, Result: d.resultOf(s)}
	return tell
}

// refused replaces the error of a substitute by the refusal that it stands for.
func (d *decoder) refused(s *slot, m message) (turn, error) {
	if !m.first {
		return flush, nil
	}
	d.settings.failed = true
	code, text := insufficientPrivilege, s.refusal.Message()
	if s.refusal.Cancelled {
		code, text = queryCanceled, "canceling statement due to user request"
	}
	d.server.out = complaint(d.server.out[:0], "ERROR", code, text, s.refusal.Hint)
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size, Out: d.server.out}
	if s.extended() {
		d.skip()
	} else {
		s.done = true
	}
	return alone, nil
}
