package postgres

import (
	"bytes"
	"encoding/binary"

	"agentd.dev/decoders"
)

// findElements looks for what the search finds in the elements of an array: it
// leaves something in s.spans if there is anything. It reports whether the
// array could be read.
func (s *scratch) findElements(k *kind, f format, value []byte, search *decoders.Search) bool {
	if f != asBinary { // text in an array is text but for backslashes, which nothing needs
		s.spans = search.Finder.Find(s.spans, value)
		return f == asText
	}
	found := false
	ok := eachElement(value, func(element []byte) {
		if element != nil && !found {
			s.find(k.element, f, element, search)
			found = len(s.spans) > 0
		}
	})
	if !ok {
		s.spans = s.spans[:0]
		s.rummage(value, f, search.Finder)
	}
	return ok
}

// maxDimensions is how many an array can have (MAXDIM).
const maxDimensions = 6

// eachElement calls do with each element of an array in binary form, nil for
// NULL. It is false if that is not one.
func eachElement(array []byte, do func(element []byte)) bool {
	if len(array) < 12 {
		return false
	}
	dimensions := binary.BigEndian.Uint32(array)
	if dimensions > maxDimensions || len(array) < 12+8*int(dimensions) {
		return false
	}
	for rest := array[12+8*dimensions:]; len(rest) > 0; {
		if len(rest) < 4 {
			return false
		}
		n := int(int32(binary.BigEndian.Uint32(rest)))
		if n < -1 || n > len(rest)-4 {
			return false
		}
		if n == -1 {
			do(nil)
			rest = rest[4:]
			continue
		}
		do(rest[4 : 4+n : 4+n])
		rest = rest[4+n:]
	}
	return true
}

// elements appends an array with what is found in its elements replaced, and
// returns how many spans that were, by kind. False: it becomes NULL.
func (s *scratch) elements(dst []byte, t *typed, f format, array []byte, search *decoders.Search, count func(spans []decoders.Span)) ([]byte, bool) {
	element := typed{kind: t.kind.element, oid: 25}
	if f == asBinary {
		head := 12 + 8*int(binary.BigEndian.Uint32(array))
		from := len(dst)
		dst = append(dst, array[:head]...)
		nulls := false
		eachElement(array, func(value []byte) {
			if value == nil {
				dst = append(dst, null...)
				nulls = true
				return
			}
			text, known := s.find(element.kind, f, value, search)
			if len(s.spans) == 0 {
				dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
				dst = append(dst, value...)
				return
			}
			count(s.spans)
			dst = sized(dst, func(dst []byte) ([]byte, bool) {
				if !known {
					nulls = true
					return dst, false
				}
				dst, ok := s.part(dst, &element, f, text, search)
				nulls = nulls || !ok
				return dst, ok
			})
		})
		if nulls {
			binary.BigEndian.PutUint32(dst[from+4:], 1)
		}
		return dst, true
	}
	return s.textElements(dst, &element, array, search, count)
}

// textElements is elements for text format: {a,"b c",NULL,{d}}.
func (s *scratch) textElements(dst []byte, element *typed, array []byte, search *decoders.Search, count func(spans []decoders.Span)) ([]byte, bool) {
	for i := 0; i < len(array); {
		c := array[i]
		if c == '{' || c == '}' || c == ',' {
			dst = append(dst, c)
			i++
			continue
		}
		if c == '[' && i == 0 { // bounds, as [0:1]={a,b}
			end := bytes.IndexByte(array, '=')
			if end < 0 {
				return dst, false
			}
			dst = append(dst, array[:end+1]...)
			i = end + 1
			continue
		}
		value, size, ok := textElement(array[i:])
		if !ok {
			return dst, false
		}
		text, known := s.find(element.kind, asText, value, search)
		switch {
		case len(s.spans) == 0:
			dst = append(dst, array[i:i+size]...)
		case !known:
			return dst, false
		default:
			count(s.spans)
			var room []byte // of the few elements that are replaced
			if room, ok = s.part(nil, element, asText, text, search); ok {
				dst = quoteElement(dst, room)
			} else {
				dst = append(dst, "NULL"...)
			}
		}
		i += size
	}
	return dst, true
}

// textElement returns the element that text begins with, and how long that is
// as it is written.
func textElement(text []byte) (value []byte, size int, ok bool) {
	if text[0] != '"' {
		for size < len(text) && text[size] != ',' && text[size] != '}' {
			size++
		}
		return text[:size], size, size > 0
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return value, i + 1, true
		case '\\':
			if i++; i == len(text) {
				return nil, 0, false
			}
		}
		value = append(value, text[i])
	}
	return nil, 0, false
}

// quoteElement appends an element in quotes.
func quoteElement(dst, value []byte) []byte {
	dst = append(dst, '"')
	for _, c := range value {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
