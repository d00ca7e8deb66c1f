package sql

import "strconv"

// Redact appends text to dst with "?" in place of every literal, and of words
// where a password or a setting's value stands that should have been one, and
// without comments. If it cannot tell what is a literal it appends a note that says
// how long the text is.
func (*Analyzer) Redact(dst, text []byte) []byte {
	from := len(dst)
	dst, ok, unclear := redact(dst, text, readings[0])
	if unclear {
		dst, ok = redactAny(dst[:from], text)
	}
	if ok {
		return dst
	}
	dst = append(dst[:from], '[')
	dst = strconv.AppendInt(dst, int64(len(text)), 10)
	return append(dst, " bytes that could not be read as SQL]"...)
}

// redactAny redacts text by the one reading that can read it. It is false if
// there is none, or another one.
func redactAny(dst, text []byte) ([]byte, bool) {
	from := len(dst)
	var found []byte
	for _, r := range readings {
		out, ok, _ := redact(nil, text, r)
		switch {
		case !ok:
		case found == nil:
			found = out
		case string(found) != string(out):
			return dst[:from], false
		}
	}
	return append(dst, found...), found != nil
}

func redact(dst, text []byte, r reading) (out []byte, ok, unclear bool) {
	l := lexer{text: text, reading: r}
	var v valued
	for {
		before := l.pos
		if !l.next() {
			return dst, false, l.ambiguous
		}
		switch {
		case !l.commented:
			dst = append(dst, text[before:l.start]...)
		case l.kind != end:
			dst = append(dst, ' ')
		}
		switch l.kind {
		case end:
			return dst, true, l.ambiguous
		case literal:
			dst = append(dst, '?')
		default:
			if v.next(&l) {
				dst = append(dst, '?')
				continue
			}
			dst = append(dst, text[l.start:l.pos]...)
		}
	}
}

// A valued follows the words of a text, to find those that are given where a
// literal should be: after PASSWORD and BY of roles, and after = and TO of SET.
type valued struct {
	words  int  // of the statement so far, two at most
	alters bool // it is SET or ALTER, that may have SET in it
	roles  bool // it may be about roles: its first two words do not say otherwise
	sets   bool // SET came
	value  bool // a value is due
}

// next reports whether the token at the front of l is such a value.
func (v *valued) next(l *lexer) bool {
	t := l.text[l.start:l.pos]
	due := v.value && (l.kind == word || l.kind == quoted || l.kind == unicode)
	switch {
	case l.kind == ';':
		*v = valued{}
	case l.kind == op && string(t) == "=":
		v.value = v.sets
	case due && v.sets: // and what follows a comma, or a sign
	case due:
		v.value = false
	case l.kind == word:
		v.word(t)
	}
	return due
}

func (v *valued) word(t []byte) {
	is := func(w string) bool { return len(t) == len(w) && sameLetters(t, w) }
	if v.words < 2 {
		v.words++
		if v.words == 1 {
			v.alters, v.sets = is("alter"), is("set")
			v.roles = v.alters || is("create")
			return
		}
		var buf [32]byte // no kind is longer
		_, object := objectKinds[string(lowered(buf[:0], t[:min(len(t), len(buf))]))]
		v.roles = v.roles && (!object || is("role") || is("user") || is("group"))
	}
	switch {
	case is("set"):
		v.sets = v.alters
	case is("to"):
		v.value = v.sets
	case is("password"), is("by"):
		v.value = v.roles
	}
}
