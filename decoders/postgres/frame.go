package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

const (
	headerLen = 5 // type byte and length
	// maxFrame is the longest message the server takes (PQ_LARGE_MESSAGE_LIMIT).
	maxFrame = 1 << 30
	// maxSmall is the longest message of a kind that carries only names.
	maxSmall = 10_000
	// maxName is how many bytes of a name the server tells apart (NAMEDATALEN - 1).
	maxName = 63
)

// frame returns the type and the whole length of the message at the front of
// buf, which holds at least a header.
func frame(buf []byte) (typ byte, size int, err error) {
	n := binary.BigEndian.Uint32(buf[1:])
	if n < 4 || n > maxFrame {
		return 0, 0, fmt.Errorf("message %q says it is %d bytes long", buf[0], int32(n))
	}
	return buf[0], int(n) + 1, nil
}

// cstring cuts a NUL-terminated string off the front of b.
func cstring(b []byte) (s, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return nil, nil, false
	}
	return b[:i], b[i+1:], true
}

// begin appends the header of a message of which the length is not known yet.
func begin(dst []byte, typ byte) []byte { return append(dst, typ, 0, 0, 0, 0) }

// finish writes the length of the message that begins at dst[from].
func finish(dst []byte, from int) []byte {
	binary.BigEndian.PutUint32(dst[from+1:], uint32(len(dst)-from-1))
	return dst
}

// ascii reports whether b is nothing but ASCII, and so means the same in
// every client encoding.
func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
