package sql

import "strconv"

// Redact appends text to dst with "?" in place of every literal, and without
// comments. If it cannot tell what is a literal it appends a note that says
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
			dst = append(dst, text[l.start:l.pos]...)
		}
	}
}
