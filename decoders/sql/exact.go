package sql

import "encoding/binary"

// Exact appends to dst what tells text from every other that may do something
// else: its tokens, literals as they are, words in lower case, without comments
// and whatever else is between them. It is false if the text cannot be cut into
// tokens, or in several ways; dst then is as it was.
func (*Analyzer) Exact(dst, text []byte) ([]byte, bool) {
	from := len(dst)
	l := lexer{text: text}
	semicolon, begun := false, false
	for {
		if !l.next() || l.ambiguous {
			return dst[:from], false
		}
		switch l.kind {
		case end:
			return dst, true
		case ';': // counts once something follows: empty statements are none
			semicolon = begun
			continue
		}
		if semicolon {
			dst = append(dst, ';')
			semicolon = false
		}
		begun = true
		token := text[l.start:l.pos]
		dst = append(dst, byte(l.kind))
		dst = binary.AppendUvarint(dst, uint64(len(token)))
		dst = append(dst, token...)
		if l.kind == word {
			lower(dst[len(dst)-len(token):])
		}
	}
}
