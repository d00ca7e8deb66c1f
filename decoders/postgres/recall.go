package postgres

import (
	"slices"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// maxRecalled is how long a row about a prepared statement may be.
const maxRecalled = 1 << 10

// A recall is what agentd asks after DO, CALL and whatever may run statements
// of which nothing is seen: which prepared statements SQL has made. They may
// have taken the names of those that the client has prepared, and what runs by
// such a name is not what the client's message said.
type recall struct {
	question
	since uint64 // the newest slot that may have done so, 0 if the server was asked since
}

const recallText = `/* agentd: which names SQL has given */
SELECT name FROM pg_catalog.pg_prepared_statement() WHERE from_sql`

// doubts notes a statement that is sent now, in slot.
func (d *decoder) doubts(r *reading, slot uint64) {
	if r.effect&renames != 0 && len(d.statements.named) > 0 && !d.replication && !named(r.facts) {
		d.recall.since = slot
	}
}

// named reports whether the words of a text name each prepared statement that
// it makes or drops.
func named(facts *sql.Facts) bool {
	return facts != nil && facts.Unclassified == "" && !slices.ContainsFunc(facts.Verbs, func(verb string) bool {
		e, known := effects[verb]
		return !known || e&renames != 0 && verb != "prepare" && verb != "deallocate" && verb != "discard"
	})
}

// inDoubt reports whether a named statement may be another by now: it is from
// before what may have taken its name. In a failed transaction nothing runs but
// what ends it.
func (d *decoder) inDoubt(e *entry[statement]) bool {
	return d.recall.since != 0 && e != nil && e.key != "" && e.slot <= d.recall.since && (d.status != 'E' || d.queue.len() > 0)
}

// prepared says what the name of a prepared statement will mean to the server
// when it comes to a message sent now, as resolve does.
func (d *decoder) prepared(name []byte) (st *statement, wait bool) {
	e := d.statements.find(name)
	if d.inDoubt(e) {
		return nil, d.readyIsDue()
	}
	return resolve(d, e, d.renamed)
}

// askRecall drops n bytes and asks which names SQL has given.
func (d *decoder) askRecall(n int) decoders.Step {
	d.catalogue.half = false
	return d.pose(&d.recall.question, "which names SQL has given", recallText, n)
}

// learnRecall handles the answer, and lets the client go on.
func (d *decoder) learnRecall(m message) (turn, error) {
	t, done, err := d.hear(&d.recall.question, m, maxRecalled, func(body []byte) error {
		var name [1]string
		if err := values(name[:], body); err != nil {
			return err
		}
		d.forgetStatements(name[0])
		return nil
	})
	if !done || err != nil {
		return t, err
	}
	d.phase = running
	d.recall.since = 0
	d.tellAnswer(&d.recall.question)
	return d.settled(m), nil
}
