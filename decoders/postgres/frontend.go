package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
	"github.com/jackc/pgproto3/v2"
)

const (
	// maxPeek is how long a Bind may be for the decoder to wait for the
	// message behind it.
	maxPeek = 8 << 10
	// maxNames2 is how far into a Bind its two names may reach.
	maxNames2 = 2 * maxSmall
)

// frontend handles the client's messages once the session runs. It passes over
// as many as it can in one step.
func (d *decoder) frontend(buf []byte) (decoders.Step, error) {
	d.asked, d.parking = 0, unparked
	n := 0
	for n < len(buf) {
		if len(buf)-n < headerLen {
			return end(alone, n, 0, decoders.Step{Op: decoders.More, N: headerLen}, nil), nil
		}
		m := message{buf: buf[n:], first: n == 0}
		var err error
		if m.typ, m.size, err = frame(m.buf); err != nil {
			return decoders.Step{}, err
		}
		t, err := d.fromClient(m)
		if err != nil {
			return decoders.Step{}, err
		}
		if t != walk {
			return end(t, n, m.size, d.client.step, nil), nil
		}
		n += m.size
	}
	return decoders.Step{Op: decoders.Pass, N: n}, nil
}

// fromClient handles one message.
func (d *decoder) fromClient(m message) (turn, error) {
	if d.copying && !inCopy[m.typ] {
		return walk, fmt.Errorf("the client sent message %q while data is copied in", m.typ)
	}
	switch m.typ {
	case 'd':
		d.copied(m.size)
		return walk, nil
	case 'H':
		return walk, nil
	case syncing:
		if m.size != headerLen {
			return walk, fmt.Errorf("message Sync of %d bytes", m.size)
		}
		if d.copying {
			// The server ignores it, unless what it was sent before made the
			// COPY fail, which nobody knows yet: it must not get it.
			return d.clientStep(decoders.Step{Op: decoders.Drop, N: m.size}, m), nil
		}
	case 'X':
		if d.queue.pending(d.limited) {
			return d.wait(), nil
		}
		d.phase = over
		return d.clientStep(decoders.Step{Op: decoders.Pass, N: m.size}, m), nil
	}
	if d.queue.len() >= maxSlots-1 || m.typ != 'c' && m.typ != 'f' && (d.queue.pending(d.limited) || d.orderly()) { // a Bind may take two
		return d.wait(), nil
	}
	switch m.typ {
	case 'c', 'f':
		return d.endCopy(m), nil
	case syncing:
		d.sync()
		return walk, nil
	case bind:
		return d.bind(m)
	case describe, closing:
		return d.named(m)
	case query, parse, execute, function:
		if !m.first {
			return flush, nil
		}
		return d.request(m)
	}
	return walk, fmt.Errorf("the client sent message %q, which is not known", m.typ)
}

// inCopy are the messages a client may send while the server copies in: the
// server takes any other for an error and swallows it.
var inCopy = [256]bool{'d': true, 'c': true, 'f': true, 'H': true, 'S': true, 'X': true}

// clientStep makes step the direction's, if it can be taken at once.
func (d *decoder) clientStep(step decoders.Step, m message) turn {
	if !m.first {
		if m.typ == 'X' {
			d.phase = running
		}
		return flush
	}
	d.client.step = step
	return alone
}

// wait waits for the server's next message.
func (d *decoder) wait() turn {
	d.client.step = decoders.Step{Op: decoders.Wait}
	return alone
}

// more wants the first n bytes of the message.
func (d *decoder) more(n int) turn {
	d.client.step = decoders.Step{Op: decoders.More, N: n}
	return alone
}

// push adds a slot for a message that is sent now. While the server discards
// everything until Sync the slot is one that nobody will look at.
func (d *decoder) push(kind byte) *slot {
	if d.skipping {
		d.scratch = slot{kind: kind}
		return &d.scratch
	}
	s := d.queue.push()
	s.kind = kind
	d.segment.note(kind, d.queue.tail-1)
	if kind == query || kind == function || kind == syncing {
		d.lastReady = d.queue.tail - 1
	}
	return s
}

// copied counts a CopyData of the client, which may come before it is known
// that a COPY is running.
func (d *decoder) copied(size int) {
	switch s := d.head(); {
	case d.copying && s != nil:
		s.result.Bytes += int64(size)
	case s != nil:
		d.fed = d.queue.tail - 1
	}
}

// endCopy handles CopyDone and CopyFail. If no COPY is known to run, one may
// have been asked for; otherwise the server ignores them. What a client sends
// behind a limited COPY waits for its answer, which the server keeps to itself
// until it is asked by a Flush; that the COPY failed it says at once.
func (d *decoder) endCopy(m message) turn {
	t := walk
	if m.typ == 'c' && d.queue.pending(d.limited) {
		d.client.out = encode(d.client.out[:0], &pgproto3.CopyDone{})
		d.client.out = encode(d.client.out, &pgproto3.Flush{})
		if t = d.clientStep(decoders.Step{Op: decoders.Drop, N: m.size, Out: d.client.out}, m); t == flush {
			return t
		}
	}
	switch {
	case d.copying:
		d.copying = false
	case d.queue.len() > 0:
		d.push(copyEnd)
		d.fed = 0
	}
	return t
}

func (d *decoder) sync() {
	d.skipping = false
	d.lastSync = d.queue.tail
	d.push(syncing).fed = d.queue.pending(d.fed)
	d.unsettle()
}

// unsettle renews what is known of results where a transaction may end that
// changed what names mean.
func (d *decoder) unsettle() {
	if d.unsettled {
		d.epoch++
	}
}

// request handles the messages that are asked about. The step stands alone.
func (d *decoder) request(m message) (turn, error) {
	var t turn
	var err error
	switch m.typ {
	case query:
		t, err = d.query(m)
	case parse:
		t, err = d.parse(m)
	case execute:
		t, err = d.execute(m)
	case function:
		unseen := reading{effect: anything}
		d.moves(&unseen)
		d.doubts(&unseen, d.queue.tail)
		d.sets(&unseen, nil)
		t = d.askAbout(m, decoders.Event{
			Kind:         decoders.Request,
			Unclassified: "a function is called by its OID, which says nothing of what it does",
			Loosens:      d.loosening(&reading{}),
		}, d.push(function))
	}
	return t, err
}

// askAbout asks about the message for which s was pushed.
func (d *decoder) askAbout(m message, ev decoders.Event, s *slot) turn {
	d.client.step = d.ask(m.size, ev)
	s.seq = d.seq
	switch {
	case s != &d.scratch:
		d.asked = d.queue.tail - 1
	default:
		d.skipped.add(d.seq)
	}
	return alone
}

func (d *decoder) query(m message) (turn, error) {
	if d.want.Limits && d.queue.len() > 0 && d.queue.at(d.queue.tail-1).flushes() || d.unsure() { // what becomes of the transaction has to be known
		return d.wait(), nil
	}
	open := d.opened()
	ev := decoders.Event{Kind: decoders.Request}
	var r reading
	if m.size > headerLen+d.maxText+1 {
		r = d.tooLong(m.size - headerLen - 1)
		ev.Unclassified = r.unclassified
	} else {
		if !m.whole() {
			return d.more(m.size), nil
		}
		text, rest, ok := cstring(m.body())
		if !ok || len(rest) > 0 {
			return walk, errors.New("query text does not end where its message does")
		}
		var study func()
		if r, study = d.read(text); study != nil {
			return d.study(study), nil
		}
		if d.resolve(&r) {
			return d.wait(), nil
		}
		ev.Text, ev.Record, ev.Unclassified = text, d.record(text, &r), r.unclassified
		ev.Facts, ev.Exposures = r.asFacts(), d.guessing(&r)
		ev.Claims = sql.Claims(text)
	}
	ev.Loosens = d.loosening(&r)
	d.unsettle()
	ev.Binding = d.exactly(ev.Text, nil, &r, open)
	s := d.push(query)
	s.reading = r
	if s != &d.scratch {
		d.sets(&r, ev.Text)
		d.affect(&r, d.queue.tail-1)
	}
	return d.askAbout(m, ev, s), nil
}

// record returns what of a text that is asked about now may be recorded:
// what the session's searches find in it may not.
func (d *decoder) record(text []byte, r *reading) []byte {
	if r.private {
		d.client.record = d.recordable(d.client.record, text, r)
		text = d.client.record
	}
	return d.censorText(text)
}

// tooLong is the reading of a statement of n bytes.
func (d *decoder) tooLong(n int) reading {
	return reading{
		unclassified: fmt.Sprintf("statement of %d bytes is longer than the %d that are looked at", n, d.maxText),
		private:      true,
		table:        d.masking(), column: d.masking(),
		effect: anything,
	}
}

// parse handles Parse: a name, a text, and the types of its parameters.
func (d *decoder) parse(m message) (turn, error) {
	const maxTypes = 2 + 4*65535
	name, rest, ok := cstring(m.body())
	if !ok || len(name) > maxSmall {
		return d.names(m, maxSmall)
	}
	ev := decoders.Event{Kind: decoders.Prepare}
	var r reading
	var text, types []byte
	if n := m.size - headerLen - len(name) - 2; n > d.maxText+maxTypes {
		r = d.tooLong(n)
	} else {
		if !m.whole() {
			return d.more(m.size), nil
		}
		if text, types, ok = cstring(rest); !ok {
			return walk, errors.New("prepared text has no end")
		}
		if len(types) < 2 || len(types) != 2+4*int(binary.BigEndian.Uint16(types)) {
			return walk, errors.New("message Parse does not end with its parameter types")
		}
		if len(text) > d.maxText {
			r = d.tooLong(len(text))
			text = nil
		} else {
			var study func()
			if r, study = d.read(text); study != nil {
				return d.study(study), nil
			}
			if d.resolve(&r) {
				return d.wait(), nil
			}
			ev.Text, ev.Record, ev.Facts = text, d.record(text, &r), r.asFacts()
			ev.Exposures = d.guessing(&r)
			ev.Claims = sql.Claims(text)
		}
	}
	ev.Unclassified = r.unclassified
	ev.Loosens = d.loosening(&r)
	d.parsing = d.own(name)
	s := d.push(parse)
	t := d.askAbout(m, ev, s)
	if s != &d.scratch {
		d.prepare(s, name, text, types, ev.Record, r)
	}
	return t, nil
}

// names is the turn of a message of which the names have not ended.
func (d *decoder) names(m message, most int) (turn, error) {
	if have := len(m.buf); have < m.size && have < headerLen+most {
		return d.more(have + 1), nil
	}
	return walk, fmt.Errorf("message %q has no name that ends", m.typ)
}

// prepare keeps what a Parse brings, for when the server accepts it.
func (d *decoder) prepare(s *slot, name, text, types, record []byte, r reading) {
	d.tainted = d.tainted || len(name) > 0 && r.touches() // EXECUTE runs it, too
	d.discreet = d.discreet || len(name) > 0 && r.secret
	e := d.statements.reserve(name)
	if e == nil || d.kept+len(text) > maxKept {
		return // running it will be unclassified
	}
	st := d.newStatement()
	st.seq, st.reading, st.claims = s.seq, r, sql.Claims(text)
	st.text = append(st.text, text...)
	if d.want.Bindings && len(types) > 2 {
		st.types = append(st.types, types[2:]...)
	}
	st.set = d.settings.changed
	st.record = st.text
	if r.private || d.search != nil {
		st.redacted = append(st.redacted, record...)
		st.record = st.redacted
	}
	st.kept = len(st.text)
	d.kept += st.kept
	s.statement, s.statements = st, e
	e.next, e.slot = st, d.queue.tail-1
	if len(name) > 0 {
		d.scoping.prepares()
	}
}

// execute handles Execute: a portal and a limit of rows.
func (d *decoder) execute(m message) (turn, error) {
	if m.size > headerLen+maxSmall {
		return walk, fmt.Errorf("message Execute of %d bytes", m.size)
	}
	if !m.whole() {
		return d.more(m.size), nil
	}
	name, rest, ok := cstring(m.body())
	if !ok || len(rest) != 4 {
		return walk, errors.New("message Execute is not a name and a number")
	}
	p, wait := resolve(d, d.portals.find(name), d.recursor)
	if wait || d.unsure() {
		return d.wait(), nil
	}
	open := d.opened()
	d.running.portal, d.running.rows = d.own(name), binary.BigEndian.Uint32(rest)
	ev := decoders.Event{Kind: decoders.Request}
	s := d.push(execute)
	if p == nil {
		s.reading = unknown("portal", name)
		ev.Unclassified = s.reading.unclassified
	} else {
		st := p.statement
		d.renewed(&st.reading)
		s.reading = st.reading
		s.reading.resolved = p.resolved
		if s.reading.unclassified == "" {
			s.reading.unclassified = p.unclear
		}
		if d.tainted && st.reading.effect&indirect != 0 {
			s.reading.blur()
		}
		ev.Ref, ev.Text, ev.Record, ev.Unclassified = st.seq, st.text, st.record, s.reading.unclassified
		ev.Facts, ev.Exposures = s.reading.asFacts(), d.guessing(&s.reading)
		ev.Claims = st.claims
		ev.Binding = d.exactly(st.text, p, &s.reading, open)
	}
	ev.Loosens = d.loosening(&s.reading)
	if s != &d.scratch {
		d.ran = d.queue.tail - 1
		d.sets(&s.reading, ev.Text)
		if p != nil {
			p.refs++
			s.portal = p
		}
		d.affect(&s.reading, d.queue.tail-1)
	}
	return d.askAbout(m, ev, s), nil
}

// unknown is the reading of a statement or portal that did not come from a
// Parse or Bind of this session.
func unknown(what string, name []byte) reading {
	return reading{
		unclassified: fmt.Sprintf("%s %q was not made by a message that agentd followed", what, name[:min(len(name), maxName)]),
		private:      true, table: true, column: true,
		effect: anything,
	}
}

// named handles Describe and Close.
func (d *decoder) named(m message) (turn, error) {
	if m.size > headerLen+maxSmall {
		return walk, fmt.Errorf("message %q of %d bytes", m.typ, m.size)
	}
	if !m.whole() {
		return d.more(m.size), nil
	}
	body := m.body()
	if len(body) < 2 || body[0] != 'S' && body[0] != 'P' || bytes.IndexByte(body, 0) != len(body)-1 {
		return walk, fmt.Errorf("message %q names neither a statement nor a portal", m.typ)
	}
	what, name := body[0], body[1:len(body)-1]
	var st *statement
	var p *portal
	if m.typ == describe {
		var wait bool
		if what == 'S' {
			st, wait = d.prepared(name)
		} else {
			p, wait = resolve(d, d.portals.find(name), d.recursor)
		}
		if wait && d.looking() {
			return d.wait(), nil
		}
	}
	s := d.push(m.typ)
	switch {
	case s == &d.scratch:
	case m.typ == describe:
		d.describe(s, what, st, p)
	case what == 'S':
		if e := d.statements.find(name); e != nil {
			s.statements, e.next, e.slot = e, nil, d.queue.tail-1
		}
	default:
		if e := d.portals.find(name); e != nil {
			s.portals, e.next, e.slot = e, nil, d.queue.tail-1
		}
	}
	return walk, nil
}

// describe notes what a Describe in slot s will tell the shape of.
func (d *decoder) describe(s *slot, what byte, st *statement, p *portal) {
	s.both = what == 'S'
	if !d.looking() {
		if st != nil {
			st.refs++
			s.statement = st
		}
		if p != nil {
			p.refs++
			s.portal = p
		}
		return
	}
	s.epoch = d.epoch
	if p != nil {
		p.refs++
		s.portal = p
		p.described = true
		st = p.statement
	}
	if st == nil {
		s.reading = unknown("statement", nil)
		return
	}
	st.refs++
	s.statement = st
	s.reading = st.reading
	if d.tainted && s.reading.effect&indirect != 0 { // it may have been prepared before
		s.reading.blur()
	}
	st.asked, st.askedEpoch = d.queue.tail-1, d.epoch
}

// bind handles Bind, of which only the two names are read, and, where values
// may be replaced, the formats of its results.
func (d *decoder) bind(m message) (turn, error) {
	portalName, rest, ok := cstring(m.body())
	if !ok {
		return d.names(m, maxNames2)
	}
	name, rest, ok := cstring(rest)
	if !ok {
		return d.names(m, maxNames2)
	}
	if (d.looking() || d.want.Bindings || d.shows()) && m.size <= maxBind && !m.whole() {
		return d.more(m.size), nil
	}
	st, wait := d.prepared(name)
	if wait {
		return d.wait(), nil
	}
	meant := reading{}
	if st != nil {
		if meant = st.reading; d.resolve(&meant) {
			return d.wait(), nil
		}
	}
	hide := false
	if d.looking() && !d.skipping && !d.known(st) {
		described, need := d.describedNext(m, portalName)
		if need > 0 {
			return d.more(need), nil
		}
		if hide = !described; hide && !m.first {
			return flush, nil
		}
	}
	if st == nil {
		st = d.newStatement()
		st.reading = unknown("statement", name)
	} else {
		st.refs++
	}
	defer d.release(st)
	if hide {
		s := d.push(describe)
		s.hidden = true
		d.describe(s, 'S', st, nil)
	}
	s := d.push(bind)
	if s != &d.scratch {
		d.open(s, portalName, st)
		s.portal.resolved, s.portal.unclear = meant.resolved, meant.unclassified
		d.learnFormats(&s.portal.formats, m, rest)
		d.keepValues(s.portal, name, m, rest)
	}
	if !hide {
		return walk, nil
	}
	d.client.out = appendDescribe(d.client.out[:0], name)
	d.client.step = decoders.Step{Op: decoders.Pass, N: m.size, Out: d.client.out}
	return alone, nil
}

// learnFormats reads from a Bind how its results are written. A Bind that
// cannot be read is for the server to refuse; if it did not, nothing of the
// results would be shown.
func (d *decoder) learnFormats(f *formats, m message, rest []byte) {
	if (d.looking() || d.shows()) && (!m.whole() || f.bound(rest) != nil) {
		*f = formats{all: unknownFormat}
	}
}

// open keeps the portal that a Bind makes, for when the server accepts it.
func (d *decoder) open(s *slot, name []byte, st *statement) {
	s.portals = d.portals.reserve(name)
	p := d.newPortal(st)
	s.portal = p
	d.tainted = d.tainted || len(name) > 0 && st.reading.touches() // FETCH reads it, too
	d.discreet = d.discreet || len(name) > 0 && st.reading.secret
	if s.portals != nil {
		s.portals.next, s.portals.slot = p, d.queue.tail-1
	}
}

// known reports whether the shape of the results of st is known, or will be
// before rows come.
func (d *decoder) known(st *statement) bool {
	if st == nil {
		return false
	}
	return st.shape != nil && st.shapeEpoch == d.epoch ||
		d.queue.pending(st.asked) && st.asked > d.lastSync && st.askedEpoch == d.epoch
}

// describedNext reports whether the message behind the Bind m is a Describe of
// its portal. If that cannot be told yet, need is how many bytes it takes.
// Nobody waits for the answer to a Bind alone, so to wait for what follows
// holds up nothing.
func (d *decoder) describedNext(m message, portal []byte) (described bool, need int) {
	if m.size > maxPeek {
		return false, 0
	}
	if len(m.buf) < m.size+1 {
		return false, m.size + 1
	}
	next := m.buf[m.size:]
	if next[0] != describe {
		return false, 0
	}
	size := headerLen + 1 + len(portal) + 1
	if len(next) < size {
		return false, m.size + size
	}
	want := appendNamed(d.client.out[:0], describe, 'P', portal)
	d.client.out = want
	return bytes.Equal(next[:size], want), 0
}

// appendDescribe appends a Describe of a prepared statement.
func appendDescribe(dst, name []byte) []byte { return appendNamed(dst, describe, 'S', name) }

// appendNamed appends a Describe or Close.
func appendNamed(dst []byte, typ, what byte, name []byte) []byte {
	from := len(dst)
	dst = append(begin(dst, typ), what)
	return finish(append(append(dst, name...), 0), from)
}
