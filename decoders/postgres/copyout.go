package postgres

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// A copying is what the server copies out.
type copying struct {
	binary bool
	headed bool // the header of the binary form is past

	shape  *shape // nil if no column of it is protected
	form   copyForm
	formed bool // form is known
	header bool // the names of columns are still to come

	value, replacement []byte          // room for one field
	spans              []decoders.Span // of one row
}

// copySignature opens the binary form; flags and the length of an extension
// follow.
const copySignature = "PGCOPY\n\xff\r\n\x00"

// rewritten says why what a COPY writes could not be searched: with other
// delimiters or quotes it writes values in other words.
func rewritten(facts *sql.Facts) string {
	if !slices.Contains(facts.Verbs, "copy") || !strings.Contains(facts.Normalized, "stdout") {
		return ""
	}
	for _, w := range words(facts.Normalized) {
		switch w {
		case "delimiter", "delimiters", "quote", "escape":
			return "COPY TO with " + strings.ToUpper(w) + " writes values in a form that agentd does not search: leave it out"
		}
	}
	return ""
}

// copyOut handles CopyOutResponse.
func (d *decoder) copyOut(s *slot, m message) (turn, error) {
	if err := d.expect(s, m, query, execute); err != nil {
		return walk, err
	}
	columns, need := countAt(&m, 1)
	if need > 0 {
		return d.need(need), nil
	}
	s.result.Columns = columns
	if d.shows() && !d.replication { // BASE_BACKUP sends files
		if t, need, done := d.show.described(s, m); need > 0 {
			return d.need(need), nil
		} else if done {
			return t, nil
		}
	}
	if !d.looking() {
		return walk, nil
	}
	if m.size > maxRowDescription {
		return walk, fmt.Errorf("CopyOutResponse of %d bytes", m.size)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	count, err := columnsOf(m.body())
	if err != nil {
		return walk, err
	}
	c := &d.copyingOut
	*c = copying{binary: m.buf[headerLen] != 0, value: c.value, replacement: c.replacement, spans: c.spans}
	if d.search != nil && s.reading.facts != nil {
		c.form, c.formed = formOf(s.reading.facts)
	}
	if !d.masking() {
		return walk, nil
	}
	sh, err := d.lookCopied(s, count, c.binary)
	if err != nil || sh == nil {
		return walk, err
	}
	if !m.first {
		return flush, nil
	}
	d.copyingOut.shape = sh
	d.server.step = decoders.Step{Op: decoders.Ask, N: m.size, Event: d.columns(s.seq, sh)}
	return alone, nil
}

// copyRow handles a CopyData of the server, which holds whole rows.
func (d *decoder) copyRow(s *slot, m message) (turn, error) {
	if err := d.expect(s, m, query, execute); err != nil {
		return walk, err
	}
	if d.shows() && d.show.copying(s) {
		if t, need, done := d.show.row(s, m); need > 0 {
			return d.need(need), nil
		} else if done {
			return t, nil
		}
	}
	s.copied++
	masks := d.copyingOut.masksCopied()
	if d.search == nil && !masks {
		s.result.Bytes += int64(m.size)
		return walk, nil
	}
	if m.size > maxRow {
		return walk, fmt.Errorf("a row of %d bytes is copied out, which is more than the %d that are searched", m.size, maxRow)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	if masks && !m.first {
		return flush, nil
	}
	counts := s
	if !m.first {
		counts = nil // the row comes again, and is counted then
	}
	out, found, err := d.replaceCopied(d.server.out[:0], counts, m.body())
	d.server.out = out
	switch {
	case err != nil:
		return walk, err
	case found && !m.first:
		return flush, nil
	}
	d.copyingOut.headed = true
	if !found {
		s.result.Bytes += int64(m.size)
		return walk, nil
	}
	n := m.size
	for buf := m.buf[n:]; len(buf) >= headerLen && buf[0] == 'd' && len(out) < maxBatch; buf = m.buf[n:] {
		_, size, err := frame(buf)
		if err != nil {
			return walk, err
		}
		if len(buf) < size {
			break
		}
		if out, _, err = d.replaceCopied(out, s, buf[headerLen:size]); err != nil {
			return walk, err
		}
		n += size
		s.copied++
	}
	s.result.Bytes += int64(n)
	d.server.out = out
	d.server.step = decoders.Step{Op: decoders.Drop, N: n, Out: out}
	return alone, nil
}

// replaceCopied appends a CopyData with the given body and with what is to be
// replaced replaced, and reports whether something was. It counts for s, if
// that is not nil.
func (d *decoder) replaceCopied(dst []byte, s *slot, body []byte) (out []byte, replaced bool, err error) {
	if d.copyingOut.binary {
		return d.copyBinary(dst, s, body)
	}
	masks := d.copyingOut.masksCopied()
	if masks {
		if d.copyRoom.row, err = d.maskCopied(d.copyRoom.row[:0], s, body); err != nil {
			return dst, false, err
		}
		body = d.copyRoom.row
	}
	from, found := len(dst), false
	dst = begin(dst, 'd')
	if d.search != nil {
		dst, found = d.searchCopied(dst, s, body)
	}
	if !found {
		dst = append(dst[:from+headerLen], body...)
	}
	return finish(dst, from), found || masks, nil
}

// searchCopied appends a row of text or CSV with what is found in it replaced,
// and reports whether there was something. It counts for s, if that is not nil.
func (d *decoder) searchCopied(dst []byte, s *slot, row []byte) (out []byte, found bool) {
	c := &d.copyingOut
	plain := d.findEscaped(row)
	if !plain && (!c.formed || !bytes.Contains(row, []byte(`\x`))) {
		return dst, false
	}
	// What is found in fields takes the room of what was found in the row.
	c.spans, d.room0.spans = d.room0.spans, c.spans
	if c.formed {
		dst, found = d.copyFields(dst, row, s, c.spans)
	}
	if found || !plain {
		return dst, found
	}
	// Its form is not known, or what was found is of several fields.
	if s != nil {
		s.countSpans(c.spans, d.search)
	}
	return d.copyText(dst, row, c.spans), true
}

// findEscaped looks for what is found in a row of text or CSV, as it stands and
// without its backslashes, and reports whether there is something.
func (d *decoder) findEscaped(row []byte) bool {
	r := &d.room0
	r.spans = d.search.Finder.Find(r.spans[:0], row)
	if bytes.IndexByte(row, '\\') < 0 {
		return len(r.spans) > 0
	}
	r.text = r.text[:0]
	for i := 0; i < len(row); i++ {
		c := row[i]
		if c == '\\' && i+1 < len(row) {
			i++
			if c = row[i]; escaped[c] != 0 {
				c = escaped[c]
			}
		}
		r.text = append(r.text, c)
	}
	plain := len(r.spans)
	r.spans = d.search.Finder.Find(r.spans, r.text)
	unescapedPlaces(row, r.spans[plain:])
	if plain > 0 && len(r.spans) > plain {
		r.spans = union(r.spans)
	}
	return len(r.spans) > 0
}

// escaped are the control characters that COPY writes as letters.
var escaped = [256]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

// unescapedPlaces turns places in a row without its backslashes into those in
// the row itself.
func unescapedPlaces(row []byte, spans []decoders.Span) {
	at := 0 // in the text without
	i := 0
	to := func(place int) int {
		for at < place && i < len(row) {
			if row[i] == '\\' && i+1 < len(row) {
				i++
			}
			i++
			at++
		}
		return i
	}
	for n := range spans {
		spans[n].From = to(spans[n].From)
		spans[n].To = to(spans[n].To)
	}
}

// union sorts spans, and joins those that overlap.
func union(spans []decoders.Span) []decoders.Span {
	slices.SortFunc(spans, func(a, b decoders.Span) int { return a.From - b.From })
	kept := spans[:1]
	for _, s := range spans[1:] {
		if last := &kept[len(kept)-1]; s.From < last.To {
			last.To = max(last.To, s.To)
			continue
		}
		kept = append(kept, s)
	}
	return kept
}

// copyText appends a row with the spans replaced. Where there is no
// replacement, or it is one that would need quotes, blotted stands for it.
func (d *decoder) copyText(dst, row []byte, spans []decoders.Span) []byte {
	at := 0
	for _, span := range spans {
		dst = append(dst, row[at:span.From]...)
		from, ok := len(dst), false
		if way := d.search.Kinds[span.Kind].Way; way != nil {
			dst, ok = way.Append(dst, row[span.From:span.To])
		}
		if !ok || bytes.ContainsAny(dst[from:], "\\\",\t\r\n\b\f\v") {
			dst = append(dst[:from], blotted...)
		}
		at = span.To
	}
	return append(dst, row[at:]...)
}

var errCopy = errors.New("what the server copies out in binary form cannot be followed")

// copyBinary appends a CopyData with what is found in its fields replaced, and
// reports whether there was something. It counts for s, if that is not nil.
func (d *decoder) copyBinary(dst []byte, s *slot, body []byte) (out []byte, hit bool, err error) {
	from := len(dst)
	dst = begin(dst, 'd')
	if !d.copyingOut.headed {
		if len(body) < len(copySignature)+8 || string(body[:len(copySignature)]) != copySignature {
			return dst, false, errCopy
		}
		extension := int(binary.BigEndian.Uint32(body[len(copySignature)+4:]))
		n := len(copySignature) + 8 + extension
		if extension < 0 || n > len(body) {
			return dst, false, errCopy
		}
		dst = append(dst, body[:n]...)
		body = body[n:]
	}
	for len(body) > 0 {
		if len(body) < 2 {
			return dst, false, errCopy
		}
		count := int(int16(binary.BigEndian.Uint16(body)))
		if sh := d.copyingOut.shape; sh != nil && count >= 0 && count != len(sh.columns) {
			return dst, false, errCopy
		}
		dst = append(dst, body[:2]...)
		body = body[2:]
		for i := range max(count, 0) {
			value, rest, err := nextValue(body, i, count)
			if err != nil {
				return dst, false, err
			}
			var masked bool
			if value == nil {
				dst = append(dst, null...)
			} else if dst, masked = d.maskedField(dst, s, value, i); masked {
				hit = true
			} else if d.search == nil {
				dst = append(dst, body[:len(body)-len(rest)]...)
			} else {
				var found bool
				dst, found = d.copyField(dst, s, value)
				hit = hit || found
			}
			body = rest
		}
	}
	return finish(dst, from), hit, nil
}

// copyField appends a field of a type that is not known, with its length, and
// with what is found in it replaced; it reports whether there was something.
func (d *decoder) copyField(dst []byte, s *slot, value []byte) ([]byte, bool) {
	t := typed{kind: guess(value), oid: 25}
	text, known := d.room0.find(t.kind, asBinary, value, d.search)
	if len(d.room0.spans) == 0 {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
		return append(dst, value...), false
	}
	if s != nil {
		s.countSpans(d.room0.spans, d.search)
	}
	return sized(dst, func(dst []byte) ([]byte, bool) {
		if !known || t.kind == &number8 || t.kind == &numeric {
			return dst, false
		}
		return d.room0.part(dst, &t, asBinary, text, d.search)
	}), true
}

// number8 is the kind of a bigint.
var number8 = *whole(8)

// guess says what a value in binary form may be of.
func guess(value []byte) *kind {
	switch {
	case readable(value) && len(value) > 0 && (value[0] == '{' || value[0] == '[' || value[0] == '"') && json.Valid(value):
		return &document
	case readable(value):
		return &text
	case value[0] == jsonbVersion && json.Valid(value[1:]):
		return kinds[3802]
	case len(value) == 8:
		return &number8
	case len(value) > 8 && len(value) == 8+2*int(binary.BigEndian.Uint16(value)):
		return &numeric
	}
	return &anyKind
}

// readable reports whether b is text without control characters.
func readable(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return false
		}
	}
	return utf8.Valid(b)
}
