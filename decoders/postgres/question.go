package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"agentd.dev/decoders"
)

// maxTries is how often something is asked when late cancels hit it.
const maxTries = 3

// A question is what agentd itself asks the server, at a ReadyForQuery that the
// client does not see before the answer is there: that of the answer stands for
// it. It fails closed: without an answer the session ends.
type question struct {
	about string // what is asked, for errors: "what names mean"
	seq   uint64
	rows  int64
	tries int
	again bool // it was cancelled
}

// askOwn drops n bytes and asks the server what is to be asked next.
func (d *decoder) askOwn(n int) decoders.Step {
	switch d.phase {
	case scopingNames:
		return d.askScope(n)
	case recalling:
		return d.askRecall(n)
	case footed:
		return d.askFooting(n)
	}
	return d.askCatalogue(n)
}

// withoutJIT is what stands before a question: the planner takes what the
// catalogue holds for much more than it is, and the server would spend seconds on
// compiling what then runs for milliseconds.
const withoutJIT = "SET LOCAL jit = off; "

// pose drops n bytes and sends text in their place, as the next try of q.
func (d *decoder) pose(q *question, about, text string, n int) decoders.Step {
	text = withoutJIT + text
	d.server.out = append(append(begin(d.server.out[:0], query), text...), 0)
	d.server.out = finish(d.server.out, 0)
	d.seq++
	*q = question{about: about, seq: d.seq, tries: q.tries + 1}
	d.server.event = decoders.Event{Kind: decoders.Own, Seq: d.seq, Text: []byte(text), Record: []byte(text)}
	return decoders.Step{Op: decoders.Drop, N: n, Back: d.server.out, Event: &d.server.event}
}

// hear handles a message of the answer to q, of which add keeps each row. The
// answer is complete, and m its ReadyForQuery, if done.
func (d *decoder) hear(q *question, m message, maxRow int, add func(body []byte) error) (t turn, done bool, err error) {
	switch m.typ {
	case 'T', 'C':
	case 'D':
		if m.size > maxRow {
			return walk, false, fmt.Errorf("row of %d bytes about %s", m.size, q.about)
		}
		if !m.whole() {
			return d.need(m.size), false, nil
		}
		if !m.first {
			return flush, false, nil
		}
		q.rows++
		if err := add(m.body()); err != nil {
			return walk, false, fmt.Errorf("%s: %w", q.about, err)
		}
	case 'E':
		if len(m.buf) < min(m.size, maxError) {
			return d.need(min(m.size, maxError)), false, nil
		}
		f := parseFailure(m.body())
		if string(f.code) != "57014" || q.tries >= maxTries {
			return walk, false, fmt.Errorf("the server did not say %s: %s (%s)", q.about, f.message, f.code)
		}
		q.again = true
	case 'Z':
		return d.heard(q, m)
	default:
		return walk, false, fmt.Errorf("%w: message %q about %s", errStep, m.typ, q.about)
	}
	if !m.first {
		return flush, false, nil
	}
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size}
	return alone, false, nil
}

// heard handles the ReadyForQuery behind an answer.
func (d *decoder) heard(q *question, m message) (t turn, done bool, err error) {
	switch {
	case m.size != headerLen+1:
		return walk, false, fmt.Errorf("ReadyForQuery of %d bytes", m.size)
	case !m.whole():
		return d.need(m.size), false, nil
	case !m.first:
		return flush, false, nil
	case !q.again:
		return walk, true, nil
	case m.buf[headerLen] != 'I':
		return walk, false, errors.New("the question " + q.about + " was cancelled within a transaction")
	}
	d.server.step = d.askOwn(m.size)
	return alone, false, nil
}

// tellAnswer makes the event that tells of the answer.
func (d *decoder) tellAnswer(q *question) {
	q.tries = 0
	d.server.event = decoders.Event{Kind: decoders.Outcome, Seq: q.seq, Result: decoders.Result{
		Rows: q.rows, Tag: "SELECT " + strconv.FormatInt(q.rows, 10),
	}}
}

// values cuts a row into its columns, none of which may be NULL.
func values(v []string, body []byte) error {
	if len(body) < 2 || int(binary.BigEndian.Uint16(body)) != len(v) {
		return errors.New("row has the wrong number of columns")
	}
	body = body[2:]
	for i := range v {
		if len(body) < 4 {
			return errors.New("row is short")
		}
		n := int(int32(binary.BigEndian.Uint32(body)))
		if n < 0 || n > len(body)-4 {
			return errors.New("row has a value that is missing")
		}
		v[i] = string(body[4 : 4+n])
		body = body[4+n:]
	}
	return nil
}
