package postgres

import (
	"crypto/sha256"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

const (
	// maxNames bounds the named statements and portals a session may have,
	// maxKept the bytes of the texts kept for them. What comes on top is not
	// kept, and running it is unclassified.
	maxNames = 32 << 10
	maxKept  = 64 << 20
	// maxSpare bounds the memory of a statement kept for the next one.
	maxSpare = 16 << 10
)

// A statement is a prepared one.
type statement struct {
	refs int
	// seq is that of the event that brought it, 0 if it is not known what
	// it says.
	seq            uint64
	text, redacted []byte
	record         []byte // text or redacted
	kept           int    // bytes counted against maxKept
	claims         []decoders.Claim
	// types are those of its parameters as the client has said them, and
	// described as the server has: OIDs, 0 if not said. Kept with Want.Bindings.
	types, described []byte
	set              change // what the session had set when it was prepared
	reading          reading

	// shape is what its results look like as the server last described
	// them, nil if it never did; shapeEpoch when that was.
	shape      *shape
	shapeEpoch uint64
	// asked is the slot of the newest Describe, and askedEpoch when it was
	// sent.
	asked, askedEpoch uint64
	// storage is where the first shape is kept. Whoever uses a shape holds
	// a reference to its statement.
	storage shape

	// header is what its results were last described as, for the record; nil if
	// they were not, or nobody wants to know.
	header    *header
	ownHeader header
	width     int // columns of its results, 0 if not known
}

// A portal is a statement bound to parameters.
type portal struct {
	refs      int
	statement *statement
	shape     *shape
	described bool // shape is or will be known before rows come
	// resolved is what its names meant when it was bound, which is when the
	// server planned it; unclear why that, or its statement, is unclassified.
	resolved *sql.Resolved
	unclear  string
	formats  formats // that its results come in
	// values are what Bind says behind its names, if bound; a part of the
	// session's kept.
	values []byte
	bound  bool

	header    *header // as of a statement
	ownHeader header

	of     string            // the statement's name
	set    change            // what the session had set then: the server plans it then
	stands [sha256.Size]byte // what was in force then
}

// Names maps names to things of one kind: as the server has them, and as it
// will have them when it has answered.
type names[T any] struct {
	unnamed entry[T]
	named   map[string]*entry[T]
}

// An entry is one name.
type entry[T any] struct {
	key  string
	now  *T     // what the server has, nil if nothing
	next *T     // what it will have if slot succeeds
	slot uint64 // the newest slot that changes it, 0 if answered
}

// find returns the entry of a name, nil if there is none.
func (n *names[T]) find(name []byte) *entry[T] {
	if len(name) == 0 {
		return &n.unnamed
	}
	return n.named[string(name[:min(len(name), maxName)])]
}

// reserve returns the entry of a name, made if need be, nil if it cannot be
// followed: names that are not ASCII change meaning with the client encoding.
func (n *names[T]) reserve(name []byte) *entry[T] {
	if e := n.find(name); e != nil {
		return e
	}
	if !ascii(name) || len(n.named) >= maxNames {
		return nil
	}
	if n.named == nil {
		n.named = make(map[string]*entry[T])
	}
	e := &entry[T]{key: string(name[:min(len(name), maxName)])}
	n.named[e.key] = e
	return e
}

// settle forgets that slot is pending, and a name that means nothing.
func (n *names[T]) settle(e *entry[T], slot uint64) {
	if e.slot != slot {
		return
	}
	e.slot, e.next = 0, nil
	if e.now == nil && e.key != "" {
		delete(n.named, e.key)
	}
}

// resolve says what a name will mean to the server when it comes to a message
// sent now. With wait, only the server can tell: an unanswered message, from
// before the last Sync, may fail without taking the one sent now with it.
func resolve[T any](d *decoder, e *entry[T], changed uint64) (thing *T, wait bool) {
	if d.queue.pending(changed) {
		if s := d.queue.at(changed); changed < d.lastSync || s.kind == query {
			return nil, true
		}
		return nil, false
	}
	switch {
	case e == nil:
		return nil, false
	case e.slot == 0:
		return e.now, false
	case e.slot < d.lastSync:
		return nil, true
	}
	return e.next, false
}

// newStatement returns an empty statement with one reference.
func (d *decoder) newStatement() *statement {
	s := d.spareStatement
	if s == nil {
		return &statement{refs: 1}
	}
	d.spareStatement = nil
	*s = statement{refs: 1, text: s.text[:0], redacted: s.redacted[:0], storage: s.storage, ownHeader: s.ownHeader, types: s.types[:0], described: s.described[:0]}
	return s
}

func (d *decoder) newPortal(s *statement) *portal {
	p := d.sparePortal
	if p == nil {
		p = new(portal)
	}
	d.sparePortal = nil
	s.refs++
	*p = portal{refs: 1, statement: s, formats: formats{each: p.formats.each[:0]}, ownHeader: p.ownHeader, values: p.values[:0]}
	return p
}

func (d *decoder) release(s *statement) {
	if s == nil {
		return
	}
	s.refs--
	if s.refs > 0 {
		return
	}
	d.kept -= s.kept
	if cap(s.text)+cap(s.redacted) <= maxSpare {
		d.spareStatement = s
	}
}

func (d *decoder) releasePortal(p *portal) {
	if p == nil {
		return
	}
	p.refs--
	if p.refs == 0 {
		d.release(p.statement)
		d.kept -= len(p.values)
		if cap(p.values) > maxSpare {
			p.values = nil
		}
		d.sparePortal = p
	}
}

// setStatement makes e mean s.
func (d *decoder) setStatement(e *entry[statement], s *statement) {
	if s != nil {
		s.refs++
	}
	d.release(e.now)
	e.now = s
}

// setPortal makes e mean p.
func (d *decoder) setPortal(e *entry[portal], p *portal) {
	if p != nil {
		p.refs++
	}
	d.releasePortal(e.now)
	e.now = p
}

// forgetStatements drops a named statement, or all if name is "".
func (d *decoder) forgetStatements(name string) {
	if name != "" {
		if e := d.statements.named[name]; e != nil {
			d.setStatement(e, nil)
			d.statements.tidy(e)
		}
		return
	}
	for _, e := range d.statements.named {
		d.setStatement(e, nil)
		d.statements.tidy(e)
	}
	d.setStatement(&d.statements.unnamed, nil)
}

// forgetPortals drops every portal: their transaction is over, or one of
// their names may mean a cursor now.
func (d *decoder) forgetPortals() {
	for _, e := range d.portals.named {
		d.setPortal(e, nil)
		d.portals.tidy(e)
	}
	d.setPortal(&d.portals.unnamed, nil)
}

// tidy removes a name that means nothing and will mean nothing.
func (n *names[T]) tidy(e *entry[T]) {
	if e.now == nil && e.slot == 0 {
		delete(n.named, e.key)
	}
}
