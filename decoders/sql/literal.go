package sql

import "bytes"

// A reading is one way to understand string literals. Which one holds is up
// to settings of the session that may change within a pipeline, so it cannot
// be known for certain when a statement is judged.
type reading struct {
	// escapes: a backslash escapes in plain literals, too
	// (standard_conforming_strings off).
	escapes bool
	// lead tells a byte that takes the next one with it, for client
	// encodings where that one may be a backslash. Nil: there are none.
	lead func(byte) bool
}

// readings is every way to read a text, the usual one first. UTF-8, the EUC
// and the one-byte encodings never have a backslash inside a character.
var readings = []reading{
	{},
	{escapes: true},
	{lead: leadsGBK},
	{lead: leadsSJIS},
	{escapes: true, lead: leadsGBK},
	{escapes: true, lead: leadsSJIS},
}

// leadsGBK holds for GBK, BIG5 and UHC, and for GB18030, whose characters of
// four bytes are two pairs.
func leadsGBK(c byte) bool { return c >= 0x80 }

// leadsSJIS holds for SJIS and SHIFT_JIS_2004, where half-width katakana take
// one byte.
func leadsSJIS(c byte) bool { return c >= 0x80 && (c < 0xa1 || c > 0xdf) }

// str moves over a string literal whose body starts at from, and over those
// that continue it.
func (l *lexer) str(from int, escapes bool) bool {
	body := from
	for {
		q := bytes.IndexByte(l.text[from:], '\'')
		if q < 0 {
			return l.fail(openString)
		}
		q += from
		if q > from && l.text[q-1] == '\\' {
			if !escapes {
				l.ambiguous = true
			} else if l.escaped(from, q) {
				from = q + 1
				continue
			}
		}
		from = q + 1
		if from < len(l.text) && l.text[from] == '\'' {
			from++
			continue
		}
		l.pos = from
		if !l.closed(body, q) {
			return false
		}
		from = continued(l.text, from)
		if from < 0 {
			return true
		}
		body = from
	}
}

// escaped says whether the quote at q is escaped by the backslashes before
// it. There is one at least; the literal, or what is unread of it, starts at
// from.
func (l *lexer) escaped(from, q int) bool {
	first := q
	for first > from && l.text[first-1] == '\\' {
		first--
	}
	n := q - first
	high := first
	for high > from && l.text[high-1] >= 0x80 {
		high--
	}
	if high == first {
		return n%2 == 1
	}
	// The first backslash may be the second half of a character.
	l.ambiguous = true
	if l.reading.lead == nil {
		return n%2 == 1
	}
	i := high
	for i < first {
		if l.reading.lead(l.text[i]) {
			i++
		}
		i++
	}
	return (n-(i-first))%2 == 1
}

// bits moves over a B” or X” literal whose body starts at from. In these a
// doubled quote is the end of one literal and the start of a plain one.
func (l *lexer) bits(from int) bool {
	for {
		q := bytes.IndexByte(l.text[from:], '\'')
		if q < 0 {
			return l.fail(openString)
		}
		l.pos = from + q + 1
		if !l.closed(from, l.pos-1) {
			return false
		}
		from = continued(l.text, l.pos)
		if from < 0 {
			return true
		}
	}
}

// dollar moves over a $1 or a $tag$ literal.
func (l *lexer) dollar() bool {
	t, i := l.text, l.pos+1
	if i < len(t) && classes[t[i]]&digit != 0 {
		for i < len(t) && classes[t[i]]&digit != 0 {
			i++
		}
		l.kind = param
		l.pos = i
		if i < len(t) && classes[t[i]]&identCont != 0 {
			return l.fail(numberJunk)
		}
		return true
	}
	if i < len(t) && classes[t[i]]&identStart != 0 {
		for i < len(t) && classes[t[i]]&identCont != 0 && t[i] != '$' {
			i++
		}
	}
	if i >= len(t) || t[i] != '$' {
		return l.fail(strayByte)
	}
	i++
	tag := t[l.pos:i]
	n := bytes.Index(t[i:], tag)
	if n < 0 {
		return l.fail(openString)
	}
	l.literal(aString)
	l.pos = i + n + len(tag)
	return l.closed(i, i+n)
}

// closed notes what the body of a literal, text[from:to], tells.
func (l *lexer) closed(from, to int) bool {
	body := l.text[from:to]
	if bytes.IndexByte(body, 0) >= 0 {
		return l.fail(hasNUL)
	}
	l.secret = l.secret || secretive(body)
	return true
}

// continued returns where the body of a literal goes on that was closed
// before text[i]: after white space with a line break in it, and -- comments,
// another quote continues it. It is -1 if there is none.
func continued(text []byte, i int) int {
	broken := false
	for i < len(text) {
		c := text[i]
		switch {
		case c == '\'' && broken:
			return i + 1
		case c == '\n' || c == '\r':
			broken = true
			i++
		case classes[c] == space:
			i++
		case c == '-' && i+1 < len(text) && text[i+1] == '-':
			i = lineEnd(text, i)
		default:
			return -1
		}
	}
	return -1
}
