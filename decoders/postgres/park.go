package postgres

import (
	"fmt"

	"agentd.dev/decoders"
	"github.com/jackc/pgproto3/v2"
)

// A statement that comes in Parse, Bind and Execute is parsed and bound by the
// time that its Execute has to wait for people. The server has a transaction open
// for that, with locks that keep others from altering its tables, and behind these
// everybody else. So agentd ends that transaction: once the server has answered
// what came before (after a Flush), it gets a Sync. The prepared statement outlives
// that, and the portal is bound again, by the Bind that the client has sent, when
// the Execute goes on. The client sees none of it.

// A parking is how far that has come.
type parking uint8

const (
	unparked parking = iota
	flushed          // the server is to answer what came before
	parked           // the portal is no more, or about to be
)

// A segment is what the client has sent since the server was last told to be
// ready for the next query.
type segment struct {
	binds         int
	bound, parsed uint64 // the newest slots of Bind and Parse
	closes        bool
}

// note notes that a slot was pushed.
func (g *segment) note(kind byte, slot uint64) {
	switch kind {
	case bind:
		g.binds++
		g.bound = slot
	case parse:
		g.parsed = slot
	case closing:
		g.closes = true
	case query, function, syncing:
		*g = segment{}
	}
}

// Park implements decoders.Parker.
func (d *decoder) Park() []byte {
	if !d.queue.pending(d.asked) || d.queue.at(d.asked).kind != execute {
		return nil
	}
	switch e := &d.client.exact; {
	case d.parking == unparked && d.parkable(e):
		d.parking = flushed
		return encode(nil, &pgproto3.Flush{})
	case d.parking == flushed && d.queue.head == d.asked && !d.skipping:
		d.parking = parked
		s := d.insert(syncing)
		s.hidden = true
		d.lastSync, d.lastReady = d.asked-1, d.asked-1
		return encode(nil, &pgproto3.Sync{})
	}
	return nil
}

// parkable reports whether nothing but the portal that is to be executed depends
// on the transaction, and the portal on nothing that is not known. Where values
// are masked, what the server said of its result must stay true.
func (d *decoder) parkable(e *exact) bool {
	g := &d.segment
	return e.portal != nil && !e.open && !d.looking() && g.binds == 1 && !g.closes && g.parsed < g.bound
}

// Unpark implements decoders.Parker.
func (d *decoder) Unpark() []byte {
	if d.parking != parked || !d.queue.pending(d.asked) {
		return nil
	}
	p := d.client.exact.portal
	s := d.insert(bind)
	s.hidden = true
	p.refs++
	s.portal = p
	if e := d.portals.reserve([]byte(d.running.portal)); e != nil {
		s.portals, e.next, e.slot = e, p, d.asked-1
	}
	from := 0
	out := append(append(begin(nil, bind), d.running.portal...), 0)
	out = append(append(append(out, p.of...), 0), p.values...)
	return finish(out, from)
}

// insert makes a slot in front of the one that is asked about, which is the
// newest.
func (d *decoder) insert(kind byte) *slot {
	was := d.asked
	asked := *d.queue.at(was)
	again := d.queue.push() // may move the others
	by := again.result.By
	*again = asked
	for _, slot := range []*uint64{&d.asked, &d.ran, &d.limited, &d.renamed, &d.recursor} {
		if *slot == was {
			*slot++
		}
	}
	s := d.queue.at(was)
	*s = slot{kind: kind, result: decoders.Result{By: by[:0]}}
	return s
}

// vacated handles the ReadyForQuery of the Sync that parks a request.
func (d *decoder) vacated(m message, status byte) (turn, error) {
	if status != 'I' {
		return walk, fmt.Errorf("%w: a transaction is open that nobody has begun", errStep)
	}
	if !m.first {
		return flush, nil
	}
	d.pop()
	d.forgetPortals()
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size}
	return alone, nil
}
