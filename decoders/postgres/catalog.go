package postgres

import (
	"errors"
	"fmt"
	"strconv"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

const (
	maxCatalogueRow = 256 << 10 // the columns of a table with 1600
	maxCatalogue    = 64 << 10  // rows
	maxTries        = 3         // of a catalogue query that a late cancel hits
)

// A catalogue says what a session has to know of its database.
type catalogue struct {
	known

	stale bool // tables may have changed: it must be asked again
	half  bool // the first byte of the ReadyForQuery was dropped: the query goes out with the rest
	seq   uint64
	rows  int64
	tries int
	again bool // the query was cancelled
}

// loggedIn handles the first ReadyForQuery. If columns are protected, it waits
// until it is known which those are in this database.
func (d *decoder) loggedIn(m message, status byte) (turn, error) {
	if !d.masking() && !d.scoping.wanted {
		d.phase = running
		return walk, nil
	}
	if status != 'I' {
		return walk, fmt.Errorf("transaction status %q after login", status)
	}
	if !m.first {
		return flush, nil
	}
	d.phase = learning
	if !d.masking() {
		d.phase = scopingNames
	}
	d.server.step = d.askOwn(m.size)
	return alone, nil
}

// half drops the first byte of a ReadyForQuery of which the end is still to be
// replaced by the catalogue query: two events need two steps.
func (d *decoder) half(t turn) turn {
	d.catalogue.half = true
	d.server.step = decoders.Step{Op: decoders.Drop, N: 1}
	if t == tell {
		d.server.step.Event = &d.server.event
	}
	return alone
}

// askCatalogue drops n bytes and asks the server where the protected columns
// are.
func (d *decoder) askCatalogue(n int) decoders.Step {
	text := catalogueQuery(d.want.Columns)
	d.server.out = append(append(begin(d.server.out[:0], query), text...), 0)
	d.server.out = finish(d.server.out, 0)
	d.seq++
	d.catalogue = catalogue{known: newKnown(d.want.Columns), seq: d.seq, tries: d.catalogue.tries + 1}
	d.server.event = decoders.Event{Kind: decoders.Own, Seq: d.seq, Text: []byte(text), Record: []byte(text)}
	return decoders.Step{Op: decoders.Drop, N: n, Back: d.server.out, Event: &d.server.event}
}

// learn handles the answer to the catalogue query.
func (d *decoder) learn(m message) (turn, error) {
	switch m.typ {
	case 'T', 'C':
	case 'D':
		if m.size > maxCatalogueRow {
			return walk, fmt.Errorf("catalogue row of %d bytes", m.size)
		}
		if !m.whole() {
			return d.need(m.size), nil
		}
		if !m.first {
			return flush, nil
		}
		if d.catalogue.rows++; d.catalogue.rows > maxCatalogue {
			return walk, fmt.Errorf("more than %d columns and functions are to be known of this database", maxCatalogue)
		}
		if err := d.catalogue.add(m.body(), d.analyzer); err != nil {
			return walk, fmt.Errorf("catalogue: %w", err)
		}
	case 'E':
		if len(m.buf) < min(m.size, maxError) {
			return d.need(min(m.size, maxError)), nil
		}
		f := parseFailure(m.body())
		if string(f.code) != "57014" || d.catalogue.tries >= maxTries {
			return walk, fmt.Errorf("the server did not say where the protected columns are: %s (%s)", f.message, f.code)
		}
		d.catalogue.again = true
	case 'Z':
		return d.learnt(m)
	default:
		return walk, fmt.Errorf("%w: message %q for the catalogue", errStep, m.typ)
	}
	if !m.first {
		return flush, nil
	}
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size}
	return alone, nil
}

// learnt lets the client go on: the ReadyForQuery of the catalogue query
// stands for the one that was withheld.
func (d *decoder) learnt(m message) (turn, error) {
	if m.size != headerLen+1 {
		return walk, fmt.Errorf("ReadyForQuery of %d bytes", m.size)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	if !m.first {
		return flush, nil
	}
	if d.catalogue.again {
		if m.buf[headerLen] != 'I' {
			return walk, errors.New("the question where the protected columns are was cancelled within a transaction")
		}
		d.server.step = d.askCatalogue(m.size)
		return alone, nil
	}
	if study := d.studyViews(); study != nil {
		d.server.step = decoders.Step{Op: decoders.Study, Study: study}
		return alone, nil
	}
	d.catalogue.narrow()
	d.phase = running
	d.catalogue.tries = 0
	d.epoch++
	d.watch = d.catalogue.watch
	d.analyzer = sql.NewAnalyzer(d.watch)
	d.readings[0].facts, d.readings[1].facts = nil, nil
	d.server.event = decoders.Event{Kind: decoders.Outcome, Seq: d.catalogue.seq, Result: decoders.Result{
		Rows: d.catalogue.rows, Tag: "SELECT " + strconv.FormatInt(d.catalogue.rows, 10),
	}}
	if d.scoping.stale {
		d.phase = scopingNames
		return d.half(tell), nil
	}
	return tell, nil
}
