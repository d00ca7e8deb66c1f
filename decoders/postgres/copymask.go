package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// copied says what the columns of a COPY TO STDOUT are: of a whole table, which
// the catalogue knows.
func (w *weighing) copied(s *sql.Statement, r *result) {
	form, ok := formOf(w.facts)
	if !ok {
		w.expose(decoders.Carries, "COPY with options other than FORMAT and HEADER, in words, writes them in a form that is not masked", r.any)
		return
	}
	r.form = form
	list := s.Outputs
	if s.Open && len(s.Tables) == 1 && len(s.All.Refs) == 1 && len(s.First)+len(s.Last) == 0 {
		if rel := w.only(s.All.Refs[0]); rel != nil {
			r.open, r.first = false, nil
			for _, a := range rel.columns {
				if a.number > 0 && a.oid != 0 {
					r.first, r.types = append(r.first, a.protected), append(r.types, a.oid)
				}
			}
		}
		return
	}
	for i := range list {
		var oid uint32
		if o := &list[i]; o.Plain && len(o.Refs) == 1 {
			if rel := w.only(o.Refs[0]); rel != nil {
				if a := rel.find(o.Refs[0].Column); a != nil {
					oid = a.oid
				}
			}
		}
		r.types = append(r.types, oid)
	}
}

// only returns the relation that ref is of, nil if that cannot be told.
func (k *known) only(ref sql.Ref) *relation {
	var found *relation
	for _, r := range k.relations[ref.Table] {
		if ref.Schema == "" || ref.Schema == r.schema {
			if found != nil {
				return nil
			}
			found = r
		}
	}
	return found
}

// find returns the column of that name, nil if there is none.
func (r *relation) find(name string) *attribute {
	for i := range r.columns {
		if r.columns[i].name == name {
			return &r.columns[i]
		}
	}
	return nil
}

// lookCopied returns what is protected of the columns that a COPY writes, count
// of them.
func (d *decoder) lookCopied(s *slot, count int, binary bool) (*shape, error) {
	d.renewed(&s.reading)
	l := s.reading.lineage
	statement := 0
	if s.kind == query {
		statement = s.completed
	}
	sh := &d.copyRoom.shape // one COPY at a time
	sh.guarded, sh.masks, sh.columns = sh.guarded[:0], sh.masks[:0], sh.columns[:0]
	for i := range count {
		t := typed{kind: kindOf(0)}
		if l != nil && statement < len(l.results) {
			if types := l.results[statement].types; len(types) == count {
				t = typed{kind: kindOf(types[i]), oid: types[i], modifier: -1}
			}
		}
		sh.columns = append(sh.columns, t)
		for _, c := range d.computed(&s.reading, statement, i, count) {
			c.Index = i
			sh.guarded = append(sh.guarded, guarded{index: i, column: c})
		}
	}
	if len(sh.guarded) == 0 {
		return nil, nil
	}
	if d.encoding.foreign && !binary {
		return nil, fmt.Errorf("protected columns cannot be copied out in client_encoding %s: use UTF8, or the binary format", d.encoding.name)
	}
	if l != nil && statement < len(l.results) {
		d.copyingOut.form = l.results[statement].form
	}
	d.copyingOut.header = !binary && d.copyingOut.form.header
	return sh, nil
}

// maskCopied appends a row of text or CSV with its masked columns replaced.
func (d *decoder) maskCopied(dst []byte, s *slot, row []byte) ([]byte, error) {
	c := &d.copyingOut
	if c.header { // names of columns
		c.header = false
		return append(dst, row...), nil
	}
	masks := c.shape.masks
	n := 0
	for rest, more := row, true; more; n++ {
		value, after, last, err := c.form.next(rest)
		if err != nil {
			return dst, err
		}
		raw := rest[:len(rest)-len(after)]
		if len(masks) > 0 && masks[0].index == n {
			dst = d.copiedValue(dst, s, value, n, &masks[0])
			dst = append(dst, raw[len(raw)-1]) // what ends it
			masks = masks[1:]
		} else {
			dst = append(dst, raw...)
		}
		rest, more = after, !last
	}
	if n != len(c.shape.columns) {
		return dst, fmt.Errorf("a row of %d columns is copied out where there are %d", n, len(c.shape.columns))
	}
	return dst, nil
}

// copiedValue appends what replaces a value, as COPY would write it.
func (d *decoder) copiedValue(dst []byte, s *slot, value []byte, column int, m *mask) []byte {
	c := &d.copyingOut
	text, isNull := c.form.read(d.copyRoom.read[:0], value)
	d.copyRoom.read = text[:0]
	if isNull {
		return append(dst, value...)
	}
	var out []byte
	var ok bool
	t := &c.shape.columns[column]
	if m.search == nil {
		s.count(m.name, 1)
		out, ok = d.room0.whole(d.copyRoom.write[:0], t, asText, text, m.way)
	} else {
		found, known := d.room0.find(t.kind, asText, text, m.search)
		if len(d.room0.spans) == 0 {
			return append(dst, value...)
		}
		s.countSpans(d.room0.spans, m.search)
		if known && t.kind.element == nil {
			out, ok = d.room0.part(d.copyRoom.write[:0], t, asText, found, m.search)
		}
	}
	d.copyRoom.write = out[:0]
	if !ok {
		return append(dst, c.form.null()...)
	}
	return c.form.write(dst, out)
}

// maskedField appends what replaces a field of the binary form, if its
// column is masked.
func (d *decoder) maskedField(dst []byte, s *slot, value []byte, column int) (out []byte, masked bool) {
	c := &d.copyingOut
	if !c.masksCopied() {
		return dst, false
	}
	for i := range c.shape.masks {
		m := &c.shape.masks[i]
		switch {
		case m.index != column:
		case m.search != nil:
			return d.searched(dst, s, &c.shape.columns[column], asBinary, value, m.search), true
		default:
			return d.masked(dst, s, &c.shape.columns[column], asBinary, value, m), true
		}
	}
	return dst, false
}

// columnsOf reads how many columns a CopyOutResponse announces.
func columnsOf(body []byte) (count int, err error) {
	if len(body) < 3 {
		return 0, errors.New("CopyOutResponse is short")
	}
	count = int(binary.BigEndian.Uint16(body[1:]))
	if len(body) != 3+2*count {
		return 0, errors.New("CopyOutResponse does not end with its formats")
	}
	return count, nil
}

// masksCopied reports whether columns of what is copied out are replaced.
func (c *copying) masksCopied() bool { return c.shape != nil && len(c.shape.masks) > 0 }
