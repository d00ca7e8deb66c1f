package postgres

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// printArray appends an array as a server prints it: {1,NULL,"a b"}, with its
// bounds in front where it does not begin with 1. It has a count of dimensions,
// whether there are NULLs, the type of its elements, and of each dimension a
// length and a lower bound; then come the elements.
func printArray(dst []byte, element uint32, b []byte) ([]byte, bool) {
	if len(b) < 12 || binary.BigEndian.Uint32(b[8:]) != element {
		return dst, false
	}
	dimensions := int64(binary.BigEndian.Uint32(b))
	if dimensions > maxDimensions || int64(len(b)) < 12+8*dimensions {
		return dst, false
	}
	if dimensions == 0 {
		return append(dst, "{}"...), len(b) == 12
	}
	p := arrayPrinter{element: element, from: len(dst), rest: b[12+8*dimensions:]}
	moved := false
	for i := range dimensions {
		size, lower := int32(binary.BigEndian.Uint32(b[12+8*i:])), int32(binary.BigEndian.Uint32(b[16+8*i:]))
		if size <= 0 || int(size) > len(p.rest)/4 {
			return dst, false
		}
		p.sizes = append(p.sizes, int(size))
		moved = moved || lower != 1
	}
	if moved {
		for i, size := range p.sizes {
			lower := int64(int32(binary.BigEndian.Uint32(b[16+8*i:])))
			dst = strconv.AppendInt(append(dst, '['), lower, 10)
			dst = strconv.AppendInt(append(dst, ':'), lower+int64(size)-1, 10)
			dst = append(dst, ']')
		}
		dst = append(dst, '=')
	}
	dst, ok := p.print(dst, 0)
	return dst, ok && len(p.rest) == 0
}

// An arrayPrinter is how far the printing of an array has come.
type arrayPrinter struct {
	element uint32
	sizes   []int
	rest    []byte // elements
	from    int    // where the text of the array begins
	room    []byte
}

func (p *arrayPrinter) print(dst []byte, dimension int) (_ []byte, ok bool) {
	dst = append(dst, '{')
	for i := range p.sizes[dimension] {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dimension+1 < len(p.sizes) {
			dst, ok = p.print(dst, dimension+1)
		} else {
			dst, ok = p.next(dst)
		}
		if !ok || len(dst)-p.from > maxPrinted {
			return dst, false
		}
	}
	return append(dst, '}'), true
}

// next appends the next element.
func (p *arrayPrinter) next(dst []byte) ([]byte, bool) {
	if len(p.rest) < 4 {
		return dst, false
	}
	n := int(int32(binary.BigEndian.Uint32(p.rest)))
	p.rest = p.rest[4:]
	if n == -1 {
		return append(dst, "NULL"...), true
	}
	if n < 0 || n > len(p.rest) {
		return dst, false
	}
	var ok bool
	p.room, ok = printValue(p.room[:0], p.element, p.rest[:n])
	p.rest = p.rest[n:]
	if !ok {
		return dst, false
	}
	if len(p.room) == 0 || bytes.EqualFold(p.room, []byte("NULL")) || bytes.ContainsAny(p.room, "{}\",\\ \t\n\r\v\f") {
		return quoteElement(dst, p.room), true
	}
	return append(dst, p.room...), true
}
