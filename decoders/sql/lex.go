package sql

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// A kind is what a token is. Punctuation is its own kind: '(', ',', ';' ...
type kind byte

const (
	end     kind = 0
	literal kind = 'L' // a string or number of any form
	word    kind = 'W' // an unquoted identifier or keyword
	quoted  kind = 'Q' // "identifier"
	unicode kind = 'U' // U&"identifier"
	param   kind = 'P' // $1
	op      kind = 'O' // an operator
	cast    kind = 'C' // ::
	assign  kind = 'A' // :=
)

// Classes of bytes, as PostgreSQL's scan.l has them.
const (
	identStart = 1 << iota
	identCont
	digit
	operator
	space
)

// classes says what a byte can be part of.
var classes = func() (t [256]byte) {
	for c := range 256 {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c >= 0x80:
			t[c] = identStart | identCont
		case '0' <= c && c <= '9':
			t[c] = identCont | digit
		case c == '$':
			t[c] = identCont
		}
	}
	for _, c := range []byte("~!@#^&|`?+-*/%<>=") {
		t[c] = operator
	}
	for _, c := range []byte(" \t\n\r\f\v") { // \v since PostgreSQL 16, an error before
		t[c] = space
	}
	return t
}()

// A lexer cuts a text into tokens as the server would under one reading.
type lexer struct {
	text    []byte
	reading reading

	kind       kind
	mark       byte // what stands for it in a key, if it is a literal
	start, pos int  // the token is text[start:pos]
	spaced     bool // white space or a comment came before the token
	commented  bool // a comment did
	signs      int  // text[pos:signs] is signs that are operators each

	ambiguous bool   // another reading may cut the text elsewhere
	secret    bool   // a literal or comment so far looks like it holds a password or key
	why       reason // why the text cannot be cut, once next has returned false
}

// next moves to the next token, of kind end behind the last. It is false when
// the text cannot be cut any further; why then says why.
func (l *lexer) next() bool {
	if !l.skip() {
		return false
	}
	l.start = l.pos
	if l.pos == len(l.text) {
		l.kind = end
		return true
	}
	c := l.text[l.pos]
	switch class := classes[c]; {
	case class&identStart != 0:
		return l.word()
	case class == operator:
		l.operator()
		return true
	case class&digit != 0:
		return l.number()
	}
	switch c {
	case '(', ')', '[', ']', ',', ';':
		l.kind = kind(c)
		l.pos++
		return true
	case '\'':
		l.literal(aString)
		return l.str(l.pos+1, l.reading.escapes)
	case '"':
		l.kind = quoted
		return l.identifier(l.pos + 1)
	case '$':
		return l.dollar()
	case '.':
		if classes[l.at(1)]&digit != 0 {
			return l.number()
		}
		l.kind = '.'
		l.pos++
		if l.at(0) == '.' {
			l.pos++ // 1..10
		}
		return true
	case ':':
		l.colon()
		return true
	case 0:
		return l.fail(hasNUL)
	}
	if l.pos > 0 && l.text[l.pos-1] >= 0x80 {
		return l.fail(foreignName) // the second byte of a character, as GBK has them
	}
	return l.fail(strayByte)
}

func (l *lexer) fail(why reason) bool {
	l.why = why
	return false
}

func (l *lexer) literal(mark byte) { l.kind, l.mark = literal, mark }

// at returns the byte n behind pos, 0 behind the end.
func (l *lexer) at(n int) byte {
	if l.pos+n < len(l.text) {
		return l.text[l.pos+n]
	}
	return 0
}

// skip moves over white space and comments.
func (l *lexer) skip() bool {
	l.spaced, l.commented = false, false
	for l.pos < len(l.text) {
		c := l.text[l.pos]
		switch {
		case classes[c] == space:
			l.pos++
		case c == '-' && l.at(1) == '-':
			l.commented = true
			from := l.pos
			l.pos = lineEnd(l.text, l.pos)
			l.secret = l.secret || secretive(l.text[from:l.pos])
		case c == '/' && l.at(1) == '*':
			l.commented = true
			if !l.comment() {
				return l.fail(openComment)
			}
		default:
			return true
		}
		l.spaced = true
	}
	return true
}

// lineEnd returns where the line of text[i] ends. A carriage return alone ends
// it, too.
func lineEnd(text []byte, i int) int {
	for i < len(text) && text[i] != '\n' && text[i] != '\r' {
		i++
	}
	return i
}

// comment moves over a comment and those nested in it.
func (l *lexer) comment() bool {
	from := l.pos
	depth := 0
	for i := l.pos; i+1 < len(l.text); {
		switch {
		case l.text[i] == '/' && l.text[i+1] == '*':
			depth++
			i += 2
		case l.text[i] == '*' && l.text[i+1] == '/':
			depth--
			i += 2
			if depth == 0 {
				l.pos = i
				l.secret = l.secret || secretive(l.text[from:i])
				return true
			}
		default:
			i++
		}
	}
	return false
}

// word moves over an identifier or keyword, or over the literal that a single
// letter introduces.
func (l *lexer) word() bool {
	i := l.pos + 1
	high := l.text[l.pos]
	for i < len(l.text) && classes[l.text[i]]&identCont != 0 {
		high |= l.text[i]
		i++
	}
	l.kind = word
	if i < len(l.text) && i == l.pos+1 {
		if l.text[i] == '\'' {
			switch l.text[l.pos] | 0x20 {
			case 'e':
				l.literal(aString)
				return l.str(i+1, true)
			case 'b':
				l.literal(aBit)
				return l.bits(i + 1)
			case 'x':
				l.literal(aHex)
				return l.bits(i + 1)
			case 'n':
				l.literal(aNational)
				return l.str(i+1, l.reading.escapes)
			}
		}
		if l.text[l.pos]|0x20 == 'u' && l.text[i] == '&' && i+1 < len(l.text) {
			switch l.text[i+1] {
			case '\'':
				l.literal(aString)
				return l.str(i+2, false)
			case '"':
				l.kind = unicode
				return l.identifier(i + 2)
			}
		}
	}
	l.pos = i
	if high >= 0x80 && !utf8.Valid(l.text[l.start:l.pos]) {
		return l.fail(foreignName)
	}
	return true
}

// identifier moves over a quoted identifier whose body starts at from.
func (l *lexer) identifier(from int) bool {
	body := from
	for {
		q := bytes.IndexByte(l.text[from:], '"')
		if q < 0 {
			return l.fail(openIdentifier)
		}
		from += q + 1
		if from < len(l.text) && l.text[from] == '"' {
			from++
			continue
		}
		l.pos = from
		switch name := l.text[body : from-1]; {
		case bytes.IndexByte(name, 0) >= 0:
			return l.fail(hasNUL)
		case !utf8.Valid(name):
			return l.fail(foreignName)
		}
		return true
	}
}

// operator moves over an operator. A comment ends it, and so does a sign that
// belongs to what follows (section 4.1.3 of the manual).
func (l *lexer) operator() {
	l.kind = op
	if l.pos < l.signs {
		l.pos++
		return
	}
	i, last := l.pos, l.pos
	special := false
	for i < len(l.text) && classes[l.text[i]] == operator {
		c := l.text[i]
		if i > l.pos && i+1 < len(l.text) && (c == '-' && l.text[i+1] == '-' || c == '/' && l.text[i+1] == '*') {
			break
		}
		special = special || strings.IndexByte("~!@#^&|`?%", c) >= 0
		if c != '+' && c != '-' {
			last = i
		}
		i++
	}
	if special {
		l.pos = i
		return
	}
	l.pos = last + 1
	l.signs = i
}

func (l *lexer) colon() {
	switch l.at(1) {
	case ':':
		l.kind = cast
		l.pos += 2
	case '=':
		l.kind = assign
		l.pos += 2
	default:
		l.kind = ':'
		l.pos++
	}
}

// number moves over a number. What servers of different ages cut differently
// (123abc, 0x1F$a$) is not cut at all.
func (l *lexer) number() bool {
	l.literal(aNumber)
	t, i := l.text, l.pos
	base := based(t, i)
	switch {
	case base > 0:
		i = base
	default:
		i = digits(t, i)
		// 1..10 is two numbers and a range.
		if i < len(t) && t[i] == '.' && (i+1 == len(t) || t[i+1] != '.') {
			i = digits(t, i+1)
		}
		i = exponent(t, i)
	}
	l.pos = i
	if i < len(t) && classes[t[i]]&identCont != 0 {
		return l.fail(numberJunk)
	}
	return true
}

// digits returns where the digits at t[i] end: single underscores may join them.
func digits(t []byte, i int) int {
	from := i
	for i < len(t) {
		switch {
		case classes[t[i]]&digit != 0:
			i++
		case t[i] == '_' && i > from && i+1 < len(t) && classes[t[i+1]]&digit != 0:
			i += 2
		default:
			return i
		}
	}
	return i
}

// based returns where the 0x, 0o or 0b integer at t[i] ends, 0 if there is none.
func based(t []byte, i int) int {
	if i+2 >= len(t) || t[i] != '0' {
		return 0
	}
	var max byte
	switch t[i+1] | 0x20 {
	case 'x':
		max = 16
	case 'o':
		max = 8
	case 'b':
		max = 2
	default:
		return 0
	}
	from := i + 2
	i = from
	for i < len(t) {
		j := i
		if t[j] == '_' && j+1 < len(t) {
			j++
		}
		if nibble(t[j]) >= max {
			break
		}
		i = j + 1
	}
	if i == from {
		return 0
	}
	return i
}

func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 255
}

// exponent returns where the exponent at t[i] ends, i if there is none.
func exponent(t []byte, i int) int {
	if i >= len(t) || t[i]|0x20 != 'e' {
		return i
	}
	j := i + 1
	if j < len(t) && (t[j] == '+' || t[j] == '-') {
		j++
	}
	if j < len(t) && classes[t[j]]&digit != 0 {
		return digits(t, j)
	}
	return i
}
