package postgres

import (
	"encoding/binary"
	"encoding/json"

	"agentd.dev/decoders"
)

// A typed column is one of a result.
type typed struct {
	kind     *kind
	oid      uint32
	modifier int32
}

// A scratch is room for what is made of one value, so that rows allocate
// nothing.
type scratch struct {
	spans       []decoders.Span
	text        []byte // of the value, as finders and ways see it
	replacement []byte
	element     []byte
}

// null is a value that is NULL, with its length.
const null = "\xff\xff\xff\xff"

// sized appends what with appends as a value with its length, or NULL if that
// is false.
func sized(dst []byte, with func(dst []byte) ([]byte, bool)) []byte {
	from := len(dst)
	out, ok := with(append(dst, 0, 0, 0, 0))
	if !ok {
		return append(out[:from], null...)
	}
	binary.BigEndian.PutUint32(out[from:], uint32(len(out)-from-4))
	return out
}

// textOf returns the text of a value, which is the value itself or in s.text.
// False: nothing is known of how it is written.
func (s *scratch) textOf(k *kind, f format, value []byte) (text []byte, ok bool) {
	switch {
	case k.plain:
		return value, true
	case f == asText && k.canon == nil && (k.write != nil):
		return value, true
	case f == asText && k.canon != nil:
		s.text, ok = k.canon(s.text[:0], value)
	case f == asBinary && k.read != nil:
		s.text, ok = k.read(s.text[:0], value)
	}
	return s.text, ok
}

// write appends a text as a value of the column, and is false if the type has
// none of it.
func (s *scratch) write(dst []byte, t *typed, f format, text []byte) ([]byte, bool) {
	if t.kind.plain {
		return append(dst, cut(text, t.oid, t.modifier)...), true
	}
	from := len(dst)
	dst, ok := t.kind.write(dst, text)
	if !ok || f == asBinary {
		return dst, ok
	}
	if dst = dst[:from]; t.kind.shown != nil {
		return t.kind.shown(dst, text)
	}
	return append(dst, text...), true
}

// whole appends what replaces a whole value. False: it becomes NULL.
func (s *scratch) whole(dst []byte, t *typed, f format, value []byte, way decoders.Way) ([]byte, bool) {
	if way == nil {
		return dst, false
	}
	text, ok := s.textOf(t.kind, f, value)
	if !ok {
		return dst, false
	}
	if digest, ok := way.(decoders.Digest); ok && t.kind.digest != nil {
		sum := digest.Sum(text)
		s.replacement = t.kind.digest(s.replacement[:0], &sum)
		return s.write(dst, t, f, s.replacement)
	}
	if s.replacement, ok = way.Append(s.replacement[:0], text); !ok {
		return dst, false
	}
	switch {
	case t.kind.fit != nil:
		t.kind.fit(s.replacement, text)
	case t.kind.opaque && !hides(way, text):
		return dst, false
	case t.kind.document:
		if scalar := len(text) > 0 && text[0] != '{' && text[0] != '['; !scalar && !hides(way, text) {
			return dst, false
		}
		s.element = quoteJSON(s.element[:0], s.replacement)
		return s.write(dst, t, f, s.element)
	}
	return s.write(dst, t, f, s.replacement)
}

// hides reports whether a way keeps nothing of a value: it is a digest, or the
// same for all.
func hides(way decoders.Way, text []byte) bool {
	if _, digest := way.(decoders.Digest); digest {
		return true
	}
	var room [2][64]byte
	a, _ := way.Append(room[0][:0], nil)
	b, _ := way.Append(room[1][:0], text)
	return string(a) == string(b)
}

// find looks for what the search finds in a value: s.spans in the returned
// text. False: the value's text is not known, and the spans say only whether
// there is something.
func (s *scratch) find(k *kind, f format, value []byte, search *decoders.Search) (text []byte, known bool) {
	s.spans = s.spans[:0]
	if k.dull && !search.Anything {
		return value, true
	}
	if k.element != nil {
		return value, s.findElements(k, f, value, search)
	}
	text, known = s.textOf(k, f, value)
	if !known {
		s.rummage(value, f, search.Finder)
		return value, false
	}
	s.spans = search.Finder.Find(s.spans, text)
	return text, true
}

// rummage looks into a value of which nothing is known. In binary form there
// may be texts in it, each behind its length, of which the last bytes may look
// like a part of the text.
func (s *scratch) rummage(value []byte, f format, finder decoders.Finder) {
	s.spans = finder.Find(s.spans, value)
	if f == asText {
		return
	}
	for i := 0; i < len(value) && len(s.spans) == 0; i++ {
		if value[i] != 0 {
			continue
		}
		end := i + 1
		for end < len(value) && value[end] != 0 {
			end++
		}
		for skip := 1; skip < 4 && i+1+skip < end && len(s.spans) == 0; skip++ {
			s.spans = finder.Find(s.spans, value[i+1+skip:end])
		}
		i = end - 1
	}
}

// part appends a value with what was found in its text replaced. False: it
// becomes NULL.
func (s *scratch) part(dst []byte, t *typed, f format, text []byte, search *decoders.Search) ([]byte, bool) {
	if t.kind.document {
		var ok bool
		if s.element, ok = patchJSON(s.element[:0], text, s.spans, search, &s.replacement); !ok {
			return dst, false
		}
		return s.write(dst, t, f, s.element)
	}
	var ok bool
	if s.element, ok = patch(s.element[:0], text, s.spans, search); !ok {
		return dst, false
	}
	if t.kind.fit != nil {
		t.kind.fit(s.element, text)
	}
	return s.write(dst, t, f, s.element)
}

// patch appends text with the spans replaced as the search says. False: one has
// no replacement.
func patch(dst, text []byte, spans []decoders.Span, search *decoders.Search) ([]byte, bool) {
	at := 0
	for _, span := range spans {
		dst = append(dst, text[at:span.From]...)
		way := search.Kinds[span.Kind].Way
		if way == nil {
			return dst, false
		}
		var ok bool
		if dst, ok = way.Append(dst, text[span.From:span.To]); !ok {
			return dst, false
		}
		at = span.To
	}
	return append(dst, text[at:]...), true
}

// patchJSON is patch for a document: what was found within a string stays
// within one, and what was found in a number makes a string of that. Room is
// overwritten.
func patchJSON(dst, text []byte, spans []decoders.Span, search *decoders.Search, room *[]byte) ([]byte, bool) {
	at, quoted := 0, false
	for _, span := range spans {
		for i := at; i < span.From; i++ {
			switch {
			case text[i] == '\\' && quoted:
				i++
			case text[i] == '"':
				quoted = !quoted
			}
		}
		dst = append(dst, text[at:span.From]...)
		way := search.Kinds[span.Kind].Way
		if way == nil {
			return dst, false
		}
		var ok bool
		if *room, ok = way.Append((*room)[:0], text[span.From:span.To]); !ok {
			return dst, false
		}
		if quoted {
			dst = escapeJSON(dst, *room)
		} else {
			dst = quoteJSON(dst, *room)
		}
		at = span.To
	}
	dst = append(dst, text[at:]...)
	return dst, json.Valid(dst)
}
