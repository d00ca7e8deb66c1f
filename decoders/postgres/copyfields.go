package postgres

import (
	"bytes"
	"encoding/json"
	"slices"

	"agentd.dev/decoders/sql"
)

// A wording is how COPY writes rows.
type wording uint8

const (
	unknownWords wording = iota
	tabbed               // fields between tabs, with backslashes
	commas               // CSV
)

// wordingOf says how the COPY TO STDOUT of a statement writes rows, if that can
// be told: what it says of it stands behind STDOUT.
func wordingOf(facts *sql.Facts) wording {
	if facts == nil || facts.Unclassified != "" {
		return unknownWords
	}
	all := words(facts.Normalized)
	i := slices.Index(all, "stdout")
	if i < 0 || slices.Contains(all[i+1:], "stdout") {
		return unknownWords
	}
	options := all[i+1:]
	switch f := slices.Index(options, "format"); {
	case f >= 0 && at(options, f+1) != "csv" && at(options, f+1) != "text":
		return unknownWords // it may be written as a literal
	case slices.Contains(options, "csv"):
		return commas
	}
	return tabbed
}

// copyFields appends a row with what is found in its fields replaced, and
// reports whether there was something. It counts for s, if that is not nil.
func (d *decoder) copyFields(dst, row []byte, s *slot, w wording) (out []byte, found bool) {
	line := bytes.TrimSuffix(row, []byte("\n"))
	for rest := line; ; {
		n := fieldEnd(rest, w)
		var hit bool
		dst, hit = d.copyWord(dst, rest[:n], s, w)
		found = found || hit
		if n == len(rest) {
			return append(dst, row[len(line):]...), found
		}
		dst = append(dst, rest[n])
		rest = rest[n+1:]
	}
}

// fieldEnd returns where the field ends that a line begins with.
func fieldEnd(line []byte, w wording) int {
	end := byte('\t')
	quoted := false
	if w == commas {
		end = ','
	}
	for i, c := range line {
		switch {
		case c == '"' && w == commas:
			quoted = !quoted // twice for one within quotes
		case c == end && !quoted:
			return i
		}
	}
	return len(line)
}

// copyWord appends a field with what is found in it replaced, and reports
// whether there was something. The field's type is not known: what looks like
// a number or an address becomes NULL unless its replacement does, too.
func (d *decoder) copyWord(dst, raw []byte, s *slot, w wording) ([]byte, bool) {
	value := unescape(d.copyingOut.value[:0], raw, w)
	d.copyingOut.value = value
	t := typed{kind: guessText(value), oid: 25}
	text, known := d.work.find(t.kind, asText, value, d.search)
	if len(d.work.spans) == 0 {
		return append(dst, raw...), false
	}
	if s != nil {
		s.countSpans(d.work.spans, d.search)
	}
	out, ok := d.copyingOut.replacement[:0], false
	if known {
		out, ok = d.work.part(out, &t, asText, text, d.search)
	}
	d.copyingOut.replacement = out
	if !ok || numeral(value) && !numeral(out) {
		if w == tabbed {
			dst = append(dst, `\N`...)
		}
		return dst, true // nothing at all is NULL in CSV
	}
	return escape(dst, out, w), true
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

// unescape appends the value of a field.
func unescape(dst, raw []byte, w wording) []byte {
	if w == commas {
		if len(raw) < 2 || raw[0] != '"' {
			return append(dst, raw...)
		}
		raw = raw[1 : len(raw)-1]
	}
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case i+1 == len(raw):
		case w == commas && c == '"' && raw[i+1] == '"':
			i++
		case w == tabbed && c == '\\':
			i++
			if c = raw[i]; escaped[c] != 0 {
				c = escaped[c]
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// escape appends a value as a field.
func escape(dst, value []byte, w wording) []byte {
	if w == commas {
		dst = append(dst, '"')
		for _, c := range value {
			if c == '"' {
				dst = append(dst, '"')
			}
			dst = append(dst, c)
		}
		return append(dst, '"')
	}
	for _, c := range value {
		if letter := bytes.IndexByte(escaped[:], c); c < ' ' && c != 0 && letter >= 0 {
			dst = append(dst, '\\', byte(letter))
			continue
		}
		if c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return dst
}
