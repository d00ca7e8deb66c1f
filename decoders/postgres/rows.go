package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"

	"agentd.dev/decoders"
)

// maskRows handles the row m, of which values may be replaced, and those behind
// it. Rows in which nothing is found pass as they are, and m becomes all of
// them; from the first in which something is, a batch is rewritten.
func (d *decoder) maskRows(s *slot, m *message, sh *shape, f *formats) (turn, error) {
	if m.size > maxRow {
		return walk, fmt.Errorf("a row of %d bytes has values that may be replaced, which is more than the %d that are looked at", m.size, maxRow)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	if clean, rows, err := d.cleanRows(m.buf, sh, f); err != nil {
		return walk, err
	} else if clean > 0 {
		s.result.Rows += rows
		s.result.Bytes += int64(clean)
		m.size = clean
		return walk, nil
	}
	if !m.first {
		return flush, nil
	}
	out, n := d.server.out[:0], 0
	for buf := m.buf; len(buf) >= headerLen && buf[0] == 'D' && len(out) < maxBatch; buf = m.buf[n:] {
		_, size, err := frame(buf)
		if err != nil {
			return walk, err
		}
		if len(buf) < size {
			break
		}
		if out, err = d.rewrite(out, s, buf[headerLen:size], sh, f); err != nil {
			return walk, err
		}
		s.result.Rows++
		s.result.Bytes += int64(size)
		n += size
	}
	d.server.out = out
	d.server.step = decoders.Step{Op: decoders.Drop, N: n, Out: out}
	return alone, nil
}

// cleanRows returns how many bytes and rows at the front of buf hold nothing to
// be replaced.
func (d *decoder) cleanRows(buf []byte, sh *shape, f *formats) (n int, rows int64, err error) {
	for _, m := range sh.masks {
		if m.search == nil {
			return 0, 0, nil // whole columns are replaced, whatever they hold
		}
	}
	for len(buf)-n >= headerLen && buf[n] == 'D' {
		_, size, err := frame(buf[n:])
		if err != nil {
			return 0, 0, err
		}
		if size > len(buf)-n {
			break
		}
		clean, err := d.clean(buf[n+headerLen:n+size], sh, f)
		if err != nil {
			return 0, 0, err
		}
		if !clean {
			break
		}
		n += size
		rows++
	}
	return n, rows, nil
}

// clean reports whether nothing is found in a row.
func (d *decoder) clean(body []byte, sh *shape, f *formats) (bool, error) {
	count, rest, err := columnCount(body, sh)
	if err != nil {
		return false, err
	}
	masks := sh.masks
	for i := range count {
		value, after, err := nextValue(rest, i, count)
		if err != nil {
			return false, err
		}
		rest = after
		search := d.search
		if len(masks) > 0 && masks[0].index == i {
			search, masks = masks[0].search, masks[1:]
		}
		if value == nil || search == nil {
			continue
		}
		if d.room0.find(sh.columns[i].kind, f.at(i), value, search); len(d.room0.spans) > 0 {
			return false, nil
		}
	}
	return true, rowEnds(rest)
}

// rewrite appends the DataRow with the given body to dst, with what is to be
// replaced replaced and counted.
func (d *decoder) rewrite(dst []byte, s *slot, body []byte, sh *shape, f *formats) ([]byte, error) {
	count, rest, err := columnCount(body, sh)
	if err != nil {
		return dst, err
	}
	from := len(dst)
	dst = append(begin(dst, 'D'), body[:2]...)
	masks := sh.masks
	for i := range count {
		value, after, err := nextValue(rest, i, count)
		if err != nil {
			return dst, err
		}
		m := mask{search: d.search}
		guarded := len(masks) > 0 && masks[0].index == i
		if guarded {
			m, masks = masks[0], masks[1:]
		}
		switch {
		case value == nil || !guarded && m.search == nil:
			dst = append(dst, rest[:len(rest)-len(after)]...)
		case m.search != nil:
			dst = d.searched(dst, s, &sh.columns[i], f.at(i), value, m.search)
		default:
			dst = d.masked(dst, s, &sh.columns[i], f.at(i), value, &m)
		}
		rest = after
	}
	if err := rowEnds(rest); err != nil {
		return dst, err
	}
	return finish(dst, from), nil
}

// masked appends what replaces a value, with its length.
func (d *decoder) masked(dst []byte, s *slot, t *typed, f format, value []byte, m *mask) []byte {
	s.count(m.name, 1)
	return sized(dst, func(dst []byte) ([]byte, bool) { return d.room0.whole(dst, t, f, value, m.way) })
}

// searched appends a value, with its length, and with what is found in it
// replaced.
func (d *decoder) searched(dst []byte, s *slot, t *typed, f format, value []byte, search *decoders.Search) []byte {
	text, known := d.room0.find(t.kind, f, value, search)
	if len(d.room0.spans) == 0 {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
		return append(dst, value...)
	}
	if t.kind.element != nil && known {
		return sized(dst, func(dst []byte) ([]byte, bool) {
			return d.room0.elements(dst, t, f, value, search, func(spans []decoders.Span) { s.countSpans(spans, search) })
		})
	}
	s.countSpans(d.room0.spans, search)
	return sized(dst, func(dst []byte) ([]byte, bool) {
		if !known {
			return dst, false
		}
		return d.room0.part(dst, t, f, text, search)
	})
}

// count counts values that were replaced.
func (s *slot) count(name string, n int64) {
	s.result.Masked += n
	if name == "" {
		return
	}
	for i := range s.result.By {
		if s.result.By[i].Name == name {
			s.result.By[i].N += n
			return
		}
	}
	s.result.By = append(s.result.By, decoders.Count{Name: name, N: n})
}

func (s *slot) countSpans(spans []decoders.Span, search *decoders.Search) {
	for _, span := range spans {
		s.count(search.Kinds[span.Kind].Name, 1)
	}
}

// columnCount reads how many columns a row has, which are those of its result.
func columnCount(body []byte, sh *shape) (count int, rest []byte, err error) {
	if len(body) < 2 {
		return 0, nil, errors.New("row without a count")
	}
	if count = int(binary.BigEndian.Uint16(body)); count != len(sh.columns) {
		return 0, nil, fmt.Errorf("row of %d columns in a result that was described with %d", count, len(sh.columns))
	}
	return count, body[2:], nil
}

// nextValue cuts the value of a column off the front of a row, nil for NULL.
func nextValue(row []byte, column, count int) (value, rest []byte, err error) {
	if len(row) < 4 {
		return nil, nil, fmt.Errorf("row ends before column %d of %d", column, count)
	}
	n := int(int32(binary.BigEndian.Uint32(row)))
	if n < -1 || n > len(row)-4 {
		return nil, nil, fmt.Errorf("value of %d bytes in a row with %d left", n, len(row)-4)
	}
	if n == -1 {
		return nil, row[4:], nil
	}
	return row[4 : 4+n : 4+n], row[4+n:], nil
}

func rowEnds(rest []byte) error {
	if len(rest) > 0 {
		return errors.New("row goes on behind its last column")
	}
	return nil
}
