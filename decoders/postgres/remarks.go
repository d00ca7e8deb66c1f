package postgres

import "agentd.dev/decoders"

// freeError is how long an error may be without counting: as long as ones that
// say what was wrong with a statement.
const freeError = 1 << 10

// remarked counts a NoticeResponse or ErrorResponse to a request whose bytes are
// limited: RAISE says whatever a function has read. If it is not done, the
// message is as any other.
func (d *decoder) remarked(m message) (t turn, done bool) {
	s := d.head()
	if d.phase != running || s == nil || s.budget == nil || !s.budget.limits.Bytes.Set() || m.typ == 'E' && m.size <= freeError {
		return walk, false
	}
	b := s.budget
	if b.phase != bare && b.phase != wrapped {
		return walk, false
	}
	switch want := min(m.size, maxError); {
	case !m.first:
		return flush, true
	case len(m.buf) < want: // what comes of the message must not ask for it again
		return d.need(want), true
	}
	if s.result.Bytes += int64(m.size); b.over == nil && s.result.Bytes > b.limits.Bytes.Max {
		b.over = &b.limits.Bytes.Refusal
	}
	switch {
	case b.over == nil:
		return walk, false
	case m.typ == 'N':
		d.server.step = decoders.Step{Op: decoders.Drop, N: m.size}
		return alone, true
	}
	f := parseFailure(m.body())
	if f.fatal() {
		return walk, false
	}
	d.copying, d.hidden = false, nil
	t = d.overdrawn(s, m)
	b.over = nil // it has been told
	return t, true
}
