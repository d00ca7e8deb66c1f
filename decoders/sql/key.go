package sql

import "bytes"

// What stands for literals in a key, by what the grammar takes them for. They
// cannot come from the text: outside of quoted identifiers the lexer stops at
// control bytes.
const (
	aString   = 0x01 // of any form but those that follow
	aBit      = 0x02 // B''
	aHex      = 0x03 // X''
	aNational = 0x04 // N''
	aNumber   = 0x05
	aList     = 0x10 // with one of the above, the first's: two literals or more
	aSecret   = 0x1f // at the very end: a literal looked like a secret
)

// marks says whether c stands for literals.
func marks(c byte) bool { return aString <= c&^aList && c&^aList <= aNumber }

const (
	maxText  = 64 << 20 // bytes of a text
	maxKey   = 1 << 20  // bytes of a key
	maxDepth = 1024     // parentheses
)

// A folder makes keys. A key is the normalised form of a text, in which
// literals are marked so that nothing else can be taken for one. Everything a
// Facts says follows from the key alone, so texts of one key share one Facts.
type folder struct {
	key  []byte
	list list
	rows rows
}

// fold appends the key of l's text to f.key.
func (f *folder) fold(l *lexer) reason {
	f.list, f.rows = listless, rows{}
	if len(l.text) > maxText {
		return tooLong
	}
	prev := end
	semicolon := false
	depth := 0
	for {
		if !l.next() {
			return l.why
		}
		switch l.kind {
		case end:
			if depth != 0 {
				return unbalanced
			}
			if l.secret {
				f.key = append(f.key, aSecret)
			}
			return understood
		case ';':
			// Written once something follows: empty statements are none.
			semicolon = prev != end
			continue
		case '(':
			depth++
			if depth > maxDepth {
				return tooDeep
			}
		case ')':
			depth--
			if depth < 0 {
				return unbalanced
			}
		}
		if len(f.key) > maxKey {
			return tooComplex
		}
		if semicolon {
			f.key = append(f.key, ';')
			prev = ';'
			semicolon = false
		}
		if spaceBetween(prev, l.kind, l.spaced) {
			f.key = append(f.key, ' ')
		}
		f.token(l)
		prev = l.kind
	}
}

// spaceBetween says whether the normalised form has a space between two
// tokens. Without one they must not run into each other.
func spaceBetween(prev, cur kind, spaced bool) bool {
	switch prev {
	case end, '(', '[', '.':
		return false
	case cast:
		return cur == ':' || cur == cast || cur == assign
	}
	switch cur {
	case ')', ']', ',', '.':
		return false
	case '[':
		return prev != word && prev != quoted && prev != ']' && prev != ')'
	case '(':
		return spaced || prev != word && prev != quoted
	case cast:
		return prev == ':' || prev == assign
	}
	return true
}

// token appends the token at the front of l.
func (f *folder) token(l *lexer) {
	t := l.text[l.start:l.pos]
	switch l.kind {
	case word:
		n := len(f.key)
		f.key = append(f.key, t...)
		lower(f.key[n:])
		f.list = listless
	case literal:
		f.literal(l.mark)
	case '(':
		f.key = append(f.key, '(')
		f.list = listOpen
		f.rows.open = len(f.key) - 1
	case ',':
		f.key = append(f.key, ',')
		f.list = f.list.comma()
	case ')':
		f.key = append(f.key, ')')
		if f.list == listOne {
			f.rows.closed(f)
		}
		f.list = listless
	case unicode:
		f.key = append(f.key, 'u')
		f.key = append(f.key, t[1:]...)
		f.list = listless
	default:
		f.key = append(f.key, t...)
		f.list = listless
	}
}

func lower(b []byte) {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
}

// A list is how far a parenthesis has come that holds nothing but literals.
type list uint8

const (
	listless  list = iota
	listOpen       // (
	listOne        // (1
	listComma      // (1,
)

func (l list) comma() list {
	if l == listOne {
		return listComma
	}
	return listless
}

// literal appends a literal, or makes the list that it belongs to stand for
// one more: agents write lists of all lengths.
func (f *folder) literal(mark byte) {
	switch f.list {
	case listOpen:
		f.list = listOne
	case listComma:
		first := len(f.key) - len("?, ")
		f.key = append(f.key[:first], f.key[first]|aList)
		f.list = listOne
		return
	default:
		f.list = listless
	}
	f.key = append(f.key, mark)
}

// rows are the lists of literals behind VALUES; those in a row that differ in
// the literals alone, whatever these are, stand for themselves once.
type rows struct {
	open       int // where the latest parenthesis opened
	first, end int // the latest row, key[first:end]: a mark in parentheses
}

// closed notes that a list of literals was closed at the end of the key.
func (r *rows) closed(f *folder) {
	row := f.key[r.open:]
	switch {
	case r.end > 0 && r.open == r.end+2 && f.key[r.end] == ',':
		if row[1]&aList == f.key[r.first+1]&aList {
			f.key = f.key[:r.end]
			return
		}
	case !bytes.HasSuffix(bytes.TrimSuffix(f.key[:r.open], []byte(" ")), []byte("values")):
		return
	}
	r.first, r.end = r.open, len(f.key)
}

// A token is one of a key's.
type token struct {
	kind kind
	text []byte // of the key
}

// is says whether t is the word or operator s.
func (t token) is(s string) bool {
	return t.kind == word && string(t.text) == s
}

// scan returns the token at or behind key[i] and where it ends.
func scan(key []byte, i int) (token, int) {
	for i < len(key) && key[i] == ' ' {
		i++
	}
	if i == len(key) || key[i] == aSecret {
		return token{}, len(key)
	}
	c := key[i]
	from := i
	k := kind(c)
	switch {
	case marks(c):
		k = literal
		i++
	case c == '"':
		k = quoted
		i = quotedEnd(key, i+1)
	case c == 'u' && i+2 < len(key) && key[i+1] == '&' && key[i+2] == '"':
		k = unicode
		i = quotedEnd(key, i+3)
	case classes[c]&identStart != 0:
		k = word
		for i < len(key) && classes[key[i]]&identCont != 0 {
			i++
		}
	case c == '$':
		k = param
		i++
		for i < len(key) && classes[key[i]]&digit != 0 {
			i++
		}
	case classes[c] == operator:
		k = op
		for i < len(key) && classes[key[i]] == operator {
			i++
		}
	default:
		i++
	}
	return token{k, key[from:i]}, i
}

// quotedEnd returns where the quoted identifier with its body at key[i] ends.
func quotedEnd(key []byte, i int) int {
	for {
		i += bytes.IndexByte(key[i:], '"') + 1
		if i >= len(key) || key[i] != '"' {
			return i
		}
		i++
	}
}

// readable returns the key for people: every literal is a question mark, a
// list of them a question mark and a plus.
func readable(key []byte) string {
	out := make([]byte, 0, len(key)+8)
	for i := 0; i < len(key); {
		t, next := scan(key, i)
		if t.kind != literal {
			out = append(out, key[i:next]...)
		} else {
			out = append(out, key[i:next-1]...)
			out = append(out, "?+"[:1+key[next-1]&aList>>4]...)
		}
		i = next
	}
	return string(bytes.TrimRight(out, "\x1f"))
}
