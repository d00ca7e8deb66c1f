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
}

// A guarded column carries, or may carry, protected values.
type guarded struct {
	index  int
	oid    uint32 // its type
	column decoders.Column
}

// A mask replaces one column of a result.
type mask struct {
	index int
	text  string
	null  bool
}

// OIDs of built-in types (pg_type.dat).

// textual types hold any text, and write it alike in text and binary.
var textual = map[uint32]bool{25: true, 1042: true, 1043: true, 19: true}

// maxNameText is how much of a replacement a value of type name can hold.
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
		oid := binary.BigEndian.Uint32(rest[6:])
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
			s.guarded, s.masks = s.guarded[:0], s.masks[:0]
		}
		for _, c := range found {
			c.Index = i
			s.guarded = append(s.guarded, guarded{index: i, oid: oid, column: c})
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
	s := d.answering
	if s == nil {
		return
	}
	s.masks = s.masks[:0]
	for _, m := range masks {
		at := mask{index: m.Index, null: true}
		for _, g := range s.guarded {
			if g.index == m.Index && textual[g.oid] && m.Text != "" {
				at.null = false
				at.text = m.Text
				if g.oid == nameType {
					at.text = at.text[:min(len(at.text), maxName)]
				}
			}
		}
		s.masks = append(s.masks, at)
	}
	slices.SortStableFunc(s.masks, func(a, b mask) int { return a.index - b.index })
	s.masks = slices.CompactFunc(s.masks, func(a, b mask) bool { return a.index == b.index })
}

// rewrite appends the DataRow with the given body to dst, its masked columns
// replaced, and returns how many values that were.
func rewrite(dst, body []byte, masks []mask) ([]byte, int64, error) {
	if len(body) < 2 {
		return dst, 0, errors.New("row without a count")
	}
	count := int(binary.BigEndian.Uint16(body))
	if last := masks[len(masks)-1].index; last >= count {
		return dst, 0, fmt.Errorf("row of %d columns, of which number %d is to be masked", count, last)
	}
	from := len(dst)
	dst = append(begin(dst, 'D'), body[:2]...)
	body = body[2:]
	masked := int64(0)
	for i := range count {
		if len(body) < 4 {
			return dst, 0, fmt.Errorf("row ends before column %d of %d", i, count)
		}
		n := int(int32(binary.BigEndian.Uint32(body)))
		if n < -1 || n > len(body)-4 {
			return dst, 0, fmt.Errorf("value of %d bytes in a row with %d left", n, len(body)-4)
		}
		end := 4 + max(n, 0)
		if len(masks) > 0 && masks[0].index == i {
			if n >= 0 {
				dst = masks[0].append(dst)
				masked++
			} else {
				dst = append(dst, body[:4]...)
			}
			masks = masks[1:]
		} else {
			dst = append(dst, body[:end]...)
		}
		body = body[end:]
	}
	if len(body) > 0 {
		return dst, 0, errors.New("row goes on behind its last column")
	}
	return finish(dst, from), masked, nil
}

// append writes the replacement as a value with its length.
func (m *mask) append(dst []byte) []byte {
	if m.null {
		return append(dst, 0xff, 0xff, 0xff, 0xff)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.text)))
	return append(dst, m.text...)
}
