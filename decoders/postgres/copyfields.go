package postgres

import (
	"bytes"
	"encoding/json"

	"agentd.dev/decoders"
)

// copyFields appends a row of text or CSV, in which something is found in those
// places, with what is found in its fields replaced, and reports whether there
// was something: otherwise dst is as it was. It counts for s, if that is not
// nil.
func (d *decoder) copyFields(dst, row []byte, s *slot, spans []decoders.Span) (out []byte, found bool) {
	from := len(dst)
	at := 0
	for rest, last := row, false; !last; {
		value, after, end, err := d.copyingOut.form.next(rest)
		if err != nil {
			return dst[:from], false // it is no row of that form
		}
		for len(spans) > 0 && spans[0].To <= at {
			spans = spans[1:]
		}
		within := len(spans) > 0 && spans[0].From < at+len(value)
		if within || bytes.Contains(value, []byte(`\x`)) {
			var hit bool
			dst, hit = d.copyWord(dst, value, s)
			found = found || hit
		} else {
			dst = append(dst, value...)
		}
		dst = append(dst, rest[len(value)])
		at += len(value) + 1
		rest, last = after, end
	}
	if !found {
		return dst[:from], false
	}
	return dst, true
}

// copyWord appends a field with what is found in it replaced, and reports
// whether there was something. The field's type is not known: what looks like
// a number or an address becomes NULL unless its replacement does, too.
func (d *decoder) copyWord(dst, raw []byte, s *slot) ([]byte, bool) {
	c := &d.copyingOut
	value, null := c.form.read(c.value[:0], raw)
	c.value = value
	if null {
		return append(dst, raw...), false
	}
	t := typed{kind: guessText(value), oid: 25}
	text, known := d.room0.find(t.kind, asText, value, d.search)
	if len(d.room0.spans) == 0 {
		return append(dst, raw...), false
	}
	if s != nil {
		s.countSpans(d.room0.spans, d.search)
	}
	out, ok := c.replacement[:0], false
	if known {
		out, ok = d.room0.part(out, &t, asText, text, d.search)
	}
	c.replacement = out
	if !ok || numeral(value) && !numeral(out) {
		return append(dst, c.form.null()...), true
	}
	return c.form.write(dst, out), true
}

// guessText says what a value in text form may be of.
func guessText(value []byte) *kind {
	switch {
	case bytes.HasPrefix(value, []byte(`\x`)):
		return kinds[17]
	case len(value) > 0 && (value[0] == '{' || value[0] == '[' || value[0] == '"') && json.Valid(value):
		return &document
	}
	return &text
}

// numeral reports whether a value could be a number, a date or an address: it
// has nothing but digits and what stands between them.
func numeral(value []byte) bool {
	for _, c := range value {
		if !isDigit(c) && bytes.IndexByte([]byte("+-.:/ "), c) < 0 {
			return false
		}
	}
	return true
}
