package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"agentd.dev/decoders"
)

const (
	// maxRowDescription holds 1664 columns, the most a result may have,
	// with the longest names.
	maxRowDescription = 256 << 10
	// maxRow bounds a DataRow that has to be rewritten.
	maxRow = 64 << 20
	// maxBatch bounds how many bytes of rows are rewritten in one step.
	maxBatch = 128 << 10
)

// A shape is what is known of the columns of a result.
type shape struct {
	guarded []guarded // what was asked about, by index
	masks   []mask    // what is replaced, by index
	columns []typed   // all, if values may be replaced
}

// A guarded column carries, or may carry, protected values.
type guarded struct {
	index  int
	column decoders.Column
}

// A mask replaces one column of a result, or what is found in it.
type mask struct {
	index  int
	name   string
	way    decoders.Way
	search *decoders.Search
}

// textual types hold any text (pg_type.dat).
var textual = map[uint32]bool{25: true, 1042: true, 1043: true, 19: true}

// nameType is the type of names.
const nameType = 19

// look reads the body of a RowDescription and returns what is protected of
// the result of a statement of r, the one with that number: in spare, if there is
// anything. Where a column comes from, the server says; of computed ones, the
// grammar does.
func (d *decoder) look(spare *shape, body []byte, r *reading, statement int) (*shape, error) {
	if len(body) < 2 {
		return nil, errors.New("row description without a count")
	}
	s := &unguarded
	count := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	for i := range count {
		_, rest, ok := cstring(body)
		if !ok || len(rest) < 18 {
			return nil, fmt.Errorf("row description ends within column %d of %d", i, count)
		}
		relation := binary.BigEndian.Uint32(rest)
		number := binary.BigEndian.Uint16(rest[4:])
		body = rest[18:]
		found := d.catalogue.at(relation, number)
		if found == nil && relation == 0 {
			found = d.computed(r, statement, i, count)
		}
		if len(found) == 0 {
			continue
		}
		if s == &unguarded {
			s = spare
			s.guarded, s.masks, s.columns = s.guarded[:0], s.masks[:0], s.columns[:0]
		}
		for _, c := range found {
			c.Index = i
			s.guarded = append(s.guarded, guarded{index: i, column: c})
		}
		if len(s.guarded) > maxGuarded {
			return nil, errors.New("too many columns of a result may show protected values")
		}
	}
	if len(body) > 0 {
		return nil, errors.New("row description goes on behind its last column")
	}
	return s, nil
}

// unguarded is the shape of every result without protected columns.
var unguarded shape

// maxGuarded bounds what is asked about one result.
const maxGuarded = 16 << 10

// computed returns what column i of count may show, which no table has. Without
// lineage, whatever a statement computes that mentions protected columns may
// show them.
func (d *decoder) computed(r *reading, statement, i, count int) []decoders.Column {
	switch l := r.lineage; {
	case l == nil && (r.table || r.column):
		return d.catalogue.wanted
	case l == nil:
		return nil
	case statement < len(l.results):
		return l.results[statement].derived(i, count)
	}
	return d.catalogue.wanted
}

// columns is the event that asks about a result of the event seq.
func (d *decoder) columns(seq uint64, s *shape) *decoders.Event {
	d.server.columns = d.server.columns[:0]
	for _, g := range s.guarded {
		d.server.columns = append(d.server.columns, g.column)
	}
	d.answering = s
	d.server.event = decoders.Event{Kind: decoders.Columns, Seq: seq, Columns: d.server.columns}
	return &d.server.event
}

// Mask implements decoders.Masker.
func (d *decoder) Mask(masks []decoders.Mask) {
	for _, m := range masks {
		if m.Index == decoders.EveryColumn {
			d.search = m.Search
		}
	}
	s := d.answering
	if s == nil {
		return
	}
	s.masks = s.masks[:0]
	for _, m := range masks {
		if m.Index != decoders.EveryColumn {
			s.masks = append(s.masks, mask{index: m.Index, name: m.Name, way: m.Way, search: m.Search})
		}
	}
	slices.SortStableFunc(s.masks, func(a, b mask) int { return a.index - b.index })
	s.masks = slices.CompactFunc(s.masks, func(a, b mask) bool { return a.index == b.index })
}

// looking reports whether values of results may have to be replaced.
func (d *decoder) looking() bool { return d.masking() || d.search != nil }

// learnColumns reads from a RowDescription, which look has found to be right,
// what the columns are and, into formats, how they are written.
func (s *shape) learnColumns(body []byte, f *formats) {
	s.columns = s.columns[:0]
	f.all, f.each = asText, f.each[:0]
	for body = body[2:]; len(body) > 0; {
		_, rest, _ := cstring(body)
		oid := binary.BigEndian.Uint32(rest[6:])
		s.columns = append(s.columns, typed{kind: kindOf(oid), oid: oid, modifier: int32(binary.BigEndian.Uint32(rest[12:]))})
		f.each = append(f.each, byte(code(rest[16:18])))
		body = rest[18:]
	}
}
