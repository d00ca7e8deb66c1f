package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"agentd.dev/decoders"
)

// maxTag is longer than any CommandComplete.
const maxTag = 1 << 10

var errStep = errors.New("the server's answers are out of step with the client's messages")

// backend handles the server's messages. It passes over as many as it can in
// one step.
func (d *decoder) backend(buf []byte) (decoders.Step, error) {
	if d.phase == starting && buf[0] != 'E' || d.phase == cancelling || d.phase == replacing {
		return decoders.Step{}, fmt.Errorf("the server spoke before the client logged in, with %q", buf[0])
	}
	n := 0
	for n < len(buf) {
		if len(buf)-n < headerLen {
			if d.catalogue.half {
				return d.askOwn(len(buf)), nil
			}
			return end(alone, n, 0, decoders.Step{Op: decoders.More, N: headerLen}, nil), nil
		}
		if d.catalogue.half {
			return d.askOwn(headerLen), nil
		}
		m := message{buf: buf[n:], first: n == 0}
		var err error
		if m.typ, m.size, err = frame(m.buf); err != nil {
			return decoders.Step{}, err
		}
		t, err := d.fromServer(&m)
		if err != nil {
			return decoders.Step{}, err
		}
		if t != walk {
			return end(t, n, m.size, d.server.step, &d.server.event), nil
		}
		n += m.size
	}
	return decoders.Step{Op: decoders.Pass, N: n}, nil
}

// fromServer handles one message.
func (d *decoder) fromServer(at *message) (turn, error) {
	m := *at
	switch m.typ {
	case 'S':
		return d.parameter(m)
	case 'N':
		if t, done := d.remarked(m); done {
			return t, nil
		}
		return d.notice(m)
	case 'A':
		return d.notification(m)
	}
	switch d.phase {
	case starting, loggingIn:
		return d.admit(m)
	case learning:
		return d.learn(m)
	case scopingNames:
		return d.learnScope(m)
	case recalling:
		return d.learnRecall(m)
	case footed:
		return d.learnFooting(m)
	}
	if s := d.head(); s != nil && s.budget != nil {
		if t, done, err := d.spend(s, at); done || err != nil {
			return t, err
		}
		m = *at
	}
	switch m.typ {
	case 'E':
		return d.failed(m)
	case 'Z':
		return d.ready(m)
	}
	s := d.head()
	if s == nil {
		return walk, fmt.Errorf("%w: it sent %q, and nothing was asked", errStep, m.typ)
	}
	if s.refusal != nil {
		return walk, fmt.Errorf("%w: it sent %q for a statement that was refused", errStep, m.typ)
	}
	switch m.typ {
	case 'D':
		return d.row(s, at)
	case 'd':
		return d.copyRow(s, m)
	case 'T':
		return d.described(s, m)
	case 'C':
		return d.completed(s, m)
	}
	return d.answered(s, m)
}

// need wants the first n bytes of the message.
func (d *decoder) need(n int) turn {
	d.server.step = decoders.Step{Op: decoders.More, N: n}
	return alone
}

// expect returns an error if the message cannot be an answer to s.
func (d *decoder) expect(s *slot, m message, kinds ...byte) error {
	if bytes.IndexByte(kinds, s.kind) < 0 {
		return fmt.Errorf("%w: it sent %q where an answer to %q was due", errStep, m.typ, s.kind)
	}
	return nil
}

// answered handles the messages of which only the type matters.
func (d *decoder) answered(s *slot, m message) (turn, error) {
	switch m.typ {
	case '1':
		if s.statements != nil && s.kind == parse {
			d.setStatement(s.statements, s.statement)
		}
		return d.popped(s, m, parse)
	case '2':
		return d.bound(s, m)
	case '3':
		switch {
		case s.kind != closing:
		case s.statements != nil:
			d.setStatement(s.statements, nil)
		case s.portals != nil:
			d.setPortal(s.portals, nil)
		}
		return d.popped(s, m, closing)
	case 't':
		if s.done || !s.both {
			return walk, fmt.Errorf("%w: parameters of %q", errStep, s.kind)
		}
		if s.hidden && !m.first {
			return flush, nil
		}
		if d.parameterTypes(s, m) {
			return d.need(m.size), nil
		}
		s.done = true
		return d.shown(s, m), d.expect(s, m, describe)
	case 'n':
		return d.noData(s, m)
	case 's', 'I':
		if s.kind == query && m.typ == 'I' {
			s.done = true
			return walk, nil
		}
		if err := d.expect(s, m, execute); err != nil {
			return walk, err
		}
		return d.outcome(s), nil
	case 'G', 'W':
		columns, need := countAt(&m, 1)
		if need > 0 {
			return d.need(need), nil
		}
		s.result.Columns = columns
		return walk, d.copyIn(s, m)
	case 'H':
		return d.copyOut(s, m)
	case 'c':
		return walk, d.expect(s, m, query, execute)
	case 'V':
		return d.returned(s, m)
	}
	return walk, fmt.Errorf("the server sent message %q, which is not known", m.typ)
}

// popped removes the slot that the message completes.
func (d *decoder) popped(s *slot, m message, kind byte) (turn, error) {
	if err := d.expect(s, m, kind); err != nil {
		return walk, err
	}
	d.pop()
	return walk, nil
}

// shown is the turn of an answer to a Describe: it passes, or is dropped if
// agentd sent that itself.
func (d *decoder) shown(s *slot, m message) turn {
	if !s.hidden {
		return walk
	}
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size}
	return alone
}

// row handles a DataRow. If it passes, m becomes all the rows that follow.
func (d *decoder) row(s *slot, m *message) (turn, error) {
	if err := d.expect(s, *m, query, execute); err != nil {
		return walk, err
	}
	if s.result.Columns == 0 {
		n, need := countAt(m, 0)
		if need > 0 {
			return d.need(need), nil
		}
		s.result.Columns = n
	}
	if d.shows() {
		if t, need, done := d.show.row(s, *m); need > 0 {
			return d.need(need), nil
		} else if done {
			return t, nil
		}
	}
	if d.looking() {
		sh, f := s.shape, &d.formats
		if s.kind == execute && s.portal != nil {
			sh, f = s.portal.shape, &s.portal.formats
		}
		if sh == nil {
			return walk, errors.New("rows came of a result that the server never described, so that they cannot be masked")
		}
		if len(sh.masks) > 0 || d.search != nil {
			return d.maskRows(s, m, sh, f)
		}
	}
	rows, n := int64(1), m.size
	for len(m.buf)-n >= headerLen && m.buf[n] == 'D' {
		_, size, err := frame(m.buf[n:])
		if err != nil {
			return walk, err
		}
		if d.show.due && len(m.buf)-n < d.show.wants(message{size: size}) {
			break // it comes again, with more of it
		}
		rows++
		n += size
	}
	s.result.Rows += rows
	s.result.Bytes += int64(n)
	m.size = n
	return walk, nil
}

// described handles a RowDescription.
func (d *decoder) described(s *slot, m message) (turn, error) {
	if err := d.expect(s, m, query, describe); err != nil {
		return walk, err
	}
	if s.both && !s.done {
		return walk, fmt.Errorf("%w: a statement was described without its parameters", errStep)
	}
	columns, need := countAt(&m, 0)
	if need > 0 {
		return d.need(need), nil
	}
	if d.shows() {
		if t, done := d.announced(s, m); done {
			return t, nil
		}
	}
	switch {
	case s.kind == query:
		s.result.Columns = columns
	case s.portal != nil:
		s.portal.statement.width = columns
	case s.statement != nil:
		s.statement.width = columns
	}
	if !d.looking() {
		if s.kind == describe {
			d.pop()
		}
		return walk, nil
	}
	if m.size > maxRowDescription {
		return walk, fmt.Errorf("row description of %d bytes", m.size)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	d.renewed(&s.reading)
	room := d.room(s)
	sh, err := d.look(room, m.body(), &s.reading, s.completed)
	if err != nil {
		return walk, err
	}
	if sh == &unguarded && d.search != nil {
		sh = room
		sh.guarded, sh.masks = sh.guarded[:0], sh.masks[:0]
	}
	if sh != &unguarded {
		f := &d.formats
		if s.portal != nil {
			f = &s.portal.formats
		} else if s.kind == describe {
			f = &d.undecided
		}
		sh.learnColumns(m.body(), f)
	}
	switch {
	case s.kind == query:
		return d.begins(s, sh, m)
	case s.hidden:
		return d.peeked(s, sh, m)
	}
	return d.shape(s, sh, m)
}

// announced sees to it that what a RowDescription says is known when rows are
// shown. If not done, the message is as any other.
func (d *decoder) announced(s *slot, m message) (t turn, done bool) {
	if s.kind == query {
		t, need, done := d.show.described(s, m)
		if need > 0 {
			return d.need(need), true
		}
		return t, done
	}
	if m.size > maxRowDescription {
		return walk, false
	}
	if !m.whole() {
		return d.need(m.size), true
	}
	d.learnHeader(s, m.body())
	return walk, false
}

// shows reports whether rows are wanted for the record.
func (d *decoder) shows() bool { return d.show.limit > 0 }

// countAt reads the count of columns in a message, behind so many bytes of its
// body. If that has not come, need is how much of the message it takes.
func countAt(m *message, behind int) (count, need int) {
	need = headerLen + behind + 2
	switch {
	case m.size < need:
		return 0, 0
	case len(m.buf) < need:
		return 0, need
	}
	return int(binary.BigEndian.Uint16(m.buf[need-2:])), 0
}

// room returns where the shape that is an answer to s can be kept.
func (d *decoder) room(s *slot) *shape {
	switch {
	case s.kind == query: // only one of its results comes in at a time
		return &d.result
	case s.statement != nil && s.statement.shape == nil:
		return &s.statement.storage
	}
	return new(shape)
}

// begins begins a result of a Query.
func (d *decoder) begins(s *slot, sh *shape, m message) (turn, error) {
	if len(sh.guarded) > 0 && !m.first {
		return flush, nil
	}
	s.shape = sh
	if len(sh.guarded) == 0 {
		return walk, nil
	}
	d.server.step = decoders.Step{Op: decoders.Ask, N: m.size, Event: d.columns(s.seq, sh)}
	return alone, nil
}

// shape ends a Describe of the client's: what is known now serves every
// execution until something changes what names mean.
func (d *decoder) shape(s *slot, sh *shape, m message) (turn, error) {
	if len(sh.guarded) > 0 && !m.first {
		return flush, nil
	}
	seq := d.learnShape(s, sh)
	d.pop()
	if len(sh.guarded) == 0 {
		return walk, nil
	}
	d.server.step = decoders.Step{Op: decoders.Ask, N: m.size, Event: d.columns(seq, sh)}
	return alone, nil
}

// learnShape keeps what a Describe told, and returns the event it belongs to.
func (d *decoder) learnShape(s *slot, sh *shape) (seq uint64) {
	if s.portal != nil {
		s.portal.shape = sh
	}
	if s.statement != nil {
		s.statement.shape, s.statement.shapeEpoch = sh, s.epoch
		seq = s.statement.seq
	}
	return seq
}

// peeked ends a Describe of agentd's own. The client must not see its answer,
// so that what it says is asked about at the answer to the Bind behind it.
func (d *decoder) peeked(s *slot, sh *shape, m message) (turn, error) {
	if !m.first {
		return flush, nil
	}
	d.learnShape(s, sh)
	if len(sh.guarded) > 0 {
		d.hidden = sh
	}
	t := d.shown(s, m)
	d.pop()
	return t, nil
}

func (d *decoder) noData(s *slot, m message) (turn, error) {
	if err := d.expect(s, m, describe); err != nil {
		return walk, err
	}
	if s.both && !s.done {
		return walk, fmt.Errorf("%w: a statement was described without its parameters", errStep)
	}
	if s.hidden && !m.first {
		return flush, nil
	}
	d.learnShape(s, &unguarded)
	t := d.shown(s, m)
	d.pop()
	return t, nil
}

// bound handles BindComplete.
func (d *decoder) bound(s *slot, m message) (turn, error) {
	if err := d.expect(s, m, bind); err != nil {
		return walk, err
	}
	if (d.hidden != nil || s.hidden) && !m.first {
		return flush, nil
	}
	st := s.portal.statement
	if s.portals != nil {
		d.setPortal(s.portals, s.portal)
	}
	if s.hidden {
		t := d.shown(s, m)
		d.pop()
		return t, nil
	}
	s.portal.shape = st.shape
	seq, sh := st.seq, d.hidden
	d.hidden = nil
	d.pop()
	if sh == nil {
		return walk, nil
	}
	d.server.step = decoders.Step{Op: decoders.Ask, N: m.size, Event: d.columns(seq, sh)}
	return alone, nil
}

// copyIn handles CopyInResponse and CopyBothResponse. While it copies in, the
// server ignores Sync, also one that the client sent before it knew: what comes
// then is dropped, and what came before counts for nothing.
func (d *decoder) copyIn(s *slot, m message) error {
	if err := d.expect(s, m, query, execute); err != nil {
		return err
	}
	for n := d.queue.head + 1; n < d.queue.tail; n++ {
		switch s := d.queue.at(n); {
		case s.void:
		case s.kind == copyEnd:
			s.void = true
			return nil
		case s.kind != syncing || m.typ == 'W':
			return fmt.Errorf("the client sent message %q while data is copied in", s.kind)
		case s.fed: // had that data made the COPY fail, the server would not ignore it
			return errors.New("the client sent data and Sync before it could know that data is copied in")
		default:
			s.void = true
		}
	}
	d.copying = true
	return nil
}

// completed handles CommandComplete.
func (d *decoder) completed(s *slot, m message) (turn, error) {
	if err := d.expect(s, m, query, execute); err != nil {
		return walk, err
	}
	if m.size > maxTag {
		return walk, fmt.Errorf("command tag of %d bytes", m.size)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	tag, _, ok := cstring(m.body())
	if !ok {
		return walk, errors.New("command tag has no end")
	}
	if rows, ok := bytes.CutPrefix(tag, []byte("COPY ")); ok {
		if n, err := strconv.ParseInt(string(rows), 10, 64); err == nil {
			s.result.Rows += n
			s.copied = 0
		}
	}
	s.result.Affected += s.changed(tag)
	if s.result.Columns == 0 && s.portal != nil { // no rows
		s.result.Columns = s.portal.statement.width
	}
	s.done = true
	switch {
	case s.result.Tag == "":
		s.result.Tag = d.own(tag)
	case len(s.result.Tag) < maxTag:
		s.result.Tag += "; " + string(tag)
	}
	if s.kind == query {
		s.shape = nil
		s.completed++
		return walk, nil
	}
	d.took(&s.reading)
	return d.outcome(s), nil
}

// outcome tells what became of the request at the head and removes it.
func (d *decoder) outcome(s *slot) turn {
	d.server.event = decoders.Event{Kind: decoders.Outcome, Seq: s.seq, Result: d.resultOf(s)}
	told := s.told
	d.pop()
	if told {
		return walk
	}
	return tell
}

// Ended implements decoders.Ender.
func (d *decoder) Ended() *decoders.Event {
	if d.queue.len() == 0 {
		return nil
	}
	s := d.queue.at(d.queue.head)
	s.result.Rows += s.copied
	s.copied = 0
	runs := s.kind == query || s.kind == execute || s.kind == function
	if s.seq == 0 || s.told || s.void || s.refusal != nil || !runs {
		return nil
	}
	s.result.Unfinished = true
	return &decoders.Event{Kind: decoders.Outcome, Seq: s.seq, Result: d.resultOf(s)}
}

// A tally is what the client was sent of the result of a request.
type tally struct {
	seq                  uint64
	rows, copied, nbytes int64
}

// sent is the tally of the request at the head.
func (d *decoder) sent() tally {
	if d.queue.len() == 0 {
		return tally{}
	}
	s := d.queue.at(d.queue.head)
	return tally{s.seq, s.result.Rows, s.copied, s.result.Bytes}
}

// unsent takes back what was counted in a step that did not come to be: the
// client gets none of it.
func (d *decoder) unsent(before tally) {
	if d.queue.len() == 0 {
		return
	}
	s := d.queue.at(d.queue.head)
	if before.seq != s.seq {
		before = tally{}
	}
	s.result.Rows, s.copied, s.result.Bytes = before.rows, before.copied, before.nbytes
}

// resultOf returns what came of a request, to be told: it outlives the slot.
func (d *decoder) resultOf(s *slot) decoders.Result {
	d.server.by = append(d.server.by[:0], s.result.By...)
	r := s.result
	r.By = d.server.by
	return r
}

// ready handles ReadyForQuery.
func (d *decoder) ready(m message) (turn, error) {
	if m.size != headerLen+1 {
		return walk, fmt.Errorf("ReadyForQuery of %d bytes", m.size)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	status := m.buf[headerLen]
	if status != 'I' && status != 'T' && status != 'E' {
		return walk, fmt.Errorf("transaction status %q", status)
	}
	d.status = status
	if d.phase == loggingIn {
		return d.loggedIn(m, status)
	}
	s := d.head()
	if s != nil && s.hidden && s.kind == syncing {
		return d.vacated(m, status)
	}
	if d.outdates(s) && !m.first {
		return flush, nil
	}
	t := walk
	if s != nil {
		if s.kind != syncing && !(s.done && (s.kind == query || s.kind == function)) {
			return walk, fmt.Errorf("%w: it is ready for the next query where an answer to %q was due", errStep, s.kind)
		}
		t = d.ended(s)
	}
	d.settings.settle(status)
	if status == 'I' {
		d.catalogue.stale = d.catalogue.stale || d.catalogue.kept
		clear(d.footing.later)
		d.forgetPortals()
		if d.unsettled {
			d.epoch++
			d.unsettled = false
		}
	}
	if d.phase == over { // the server will answer nothing more
		return t, nil
	}
	if d.catalogue.stale && status != 'E' && d.queue.len() == 0 {
		d.phase = learning
		return d.half(t), nil
	}
	if !d.catalogue.stale && d.queue.len() == 0 {
		d.remade = false
	}
	if d.scoping.stale && status != 'E' && d.queue.len() == 0 {
		d.phase = scopingNames
		return d.half(t), nil
	}
	if d.recall.since != 0 && status != 'E' && d.queue.len() == 0 {
		d.phase = recalling
		return d.half(t), nil
	}
	if d.queue.len() == 0 && d.footing.due(status) {
		d.phase = footed
		return d.half(t), nil
	}
	return t, nil
}

// outdates reports whether the server may have to be asked something once s has
// ended.
func (d *decoder) outdates(s *slot) bool {
	return d.catalogue.stale || d.catalogue.kept || d.scoping.stale || d.recall.since != 0 || d.footing.outdated() || d.masking() && s != nil && s.kind == query && s.reading.effect&remodels != 0
}

// ended removes the slot that ReadyForQuery ends, and tells what came of it.
func (d *decoder) ended(s *slot) turn {
	if s.kind == syncing {
		d.pop()
		if d.skipped.first == 0 {
			return walk
		}
		d.server.event = decoders.Event{Kind: decoders.Outcome, Seq: d.skipped.first, Result: decoders.Result{Skipped: true}}
		if d.skipped.last > d.skipped.first {
			d.server.event.Result.Through = d.skipped.last
		}
		d.skipped = span{}
		return tell
	}
	if s.kind == query {
		d.took(&s.reading)
	}
	if s.refusal != nil {
		d.pop()
		return walk
	}
	return d.outcome(s)
}
