package postgres

import (
	"fmt"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

const (
	maxCatalogueRow = 256 << 10 // the columns of a table with 1600
	maxCatalogue    = 64 << 10  // rows
)

// A catalogue says what a session has to know of its database.
type catalogue struct {
	known

	question

	// before is what was known when the server was asked within a transaction,
	// and kept that it was added to the answer.
	before *known
	kept   bool

	stale bool // tables may have changed: it must be asked again
	half  bool // the first byte of the ReadyForQuery was dropped: the query goes out with the rest
}

// loggedIn handles the first ReadyForQuery. If columns are protected, it waits
// until it is known which those are in this database.
func (d *decoder) loggedIn(m message, status byte) (turn, error) {
	if err := d.assured(); err != nil {
		return walk, err
	}
	if !d.masking() && !d.scoping.wanted && !d.footing.wanted {
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
	switch {
	case d.masking():
	case d.scoping.wanted:
		d.phase = scopingNames
	default:
		d.phase = footed
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
	before := d.catalogue.before // it was asked before, and cancelled
	if before == nil && d.status == 'T' {
		was := d.catalogue.known
		before = &was
	}
	d.catalogue = catalogue{known: newKnown(d.want.Columns), question: d.catalogue.question, before: before}
	return d.pose(&d.catalogue.question, "where the protected columns are", catalogueQuery(d.want.Columns), n)
}

// learn handles the answer, and lets the client go on.
func (d *decoder) learn(m message) (turn, error) {
	c := &d.catalogue
	t, done, err := d.hear(&c.question, m, maxCatalogueRow, func(body []byte) error {
		if c.question.rows > maxCatalogue {
			return fmt.Errorf("more than %d columns and functions are to be known of this database", maxCatalogue)
		}
		return c.add(body, d.analyzer)
	})
	if !done || err != nil {
		return t, err
	}
	if study := d.studyViews(); study != nil {
		d.server.step = decoders.Step{Op: decoders.Study, Study: study}
		return alone, nil
	}
	c.narrow()
	if c.before != nil {
		c.keep(c.before)
		c.before, c.kept = nil, true
	}
	d.phase = running
	d.remade = false
	d.epoch++
	d.watch = c.watch
	d.analyzer = sql.NewAnalyzer(d.watch)
	d.readings[0].facts, d.readings[1].facts = nil, nil
	d.tellAnswer(&c.question)
	if d.scoping.stale {
		d.phase = scopingNames
		return d.half(tell), nil
	}
	if d.recall.since != 0 {
		d.phase = recalling
		return d.half(tell), nil
	}
	return d.settled(m), nil
}
