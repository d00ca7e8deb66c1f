package postgres

import (
	"encoding/binary"
	"errors"
)

// A format is how a value is written.
type format uint8

const (
	asText   format = iota
	asBinary        // in the type's own form
	unknownFormat
)

// maxBind is how long a Bind may be that is read to its end, where it says in
// which formats results are wanted. The formats of a longer one are unknown,
// and what its results would show is replaced by NULL, which is none.
const maxBind = 1 << 20

// formats are those of the columns of a result.
type formats struct {
	all  format
	each []byte // if not empty, of each column
}

// at returns the format of a column.
func (f *formats) at(column int) format {
	if len(f.each) == 0 {
		return f.all
	}
	if column >= len(f.each) {
		return unknownFormat
	}
	return format(f.each[column])
}

// read reads format codes: none for text, one for all, or one for each column.
func (f *formats) read(codes []byte) {
	f.all, f.each = asText, f.each[:0]
	switch len(codes) {
	case 0:
	case 2:
		f.all = code(codes)
	default:
		for ; len(codes) >= 2; codes = codes[2:] {
			f.each = append(f.each, byte(code(codes)))
		}
	}
}

func code(b []byte) format {
	switch binary.BigEndian.Uint16(b) {
	case 0:
		return asText
	case 1:
		return asBinary
	}
	return unknownFormat
}

// bound reads what a Bind says behind its names: formats and values of
// parameters, and the formats of results.
func (f *formats) bound(rest []byte) error {
	_, rest, err := counted(rest, 2)
	if err != nil {
		return err
	}
	if len(rest) < 2 {
		return errBind
	}
	values := int(binary.BigEndian.Uint16(rest))
	rest = rest[2:]
	for range values {
		if len(rest) < 4 {
			return errBind
		}
		n := max(int(int32(binary.BigEndian.Uint32(rest))), 0)
		if n > len(rest)-4 {
			return errBind
		}
		rest = rest[4+n:]
	}
	codes, rest, err := counted(rest, 2)
	if err != nil || len(rest) > 0 {
		return errBind
	}
	f.read(codes)
	return nil
}

var errBind = errors.New("message Bind does not end where its values do")

// counted cuts a count of things of a size, and these, off the front of b.
func counted(b []byte, size int) (things, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, errBind
	}
	n := size * int(binary.BigEndian.Uint16(b))
	if n > len(b)-2 {
		return nil, nil, errBind
	}
	return b[2 : 2+n], b[2+n:], nil
}
