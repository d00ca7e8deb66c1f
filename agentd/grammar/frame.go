package grammar

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Messages go over a socket between agentd and a worker, one after another:
// the length of the rest in four bytes, a byte that says what it is, and a body.
const (
	ready   = 'r' // from the worker, once: what confines it is in force; the body is what does not, a line each
	sorry   = 'e' // from the worker, instead: why it cannot work
	request = 't' // to the worker: a text
	reply   = 'm' // from the worker: its meaning, as a wire has it
)

const (
	header   = 5
	maxReply = 256 << 10 // bytes of a message
)

// appendFrame appends a message to dst.
func appendFrame(dst []byte, kind byte, body string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(1+len(body)))
	dst = append(dst, kind)
	return append(dst, body...)
}

// readFrame reads a message into buf, which grows as needed. The body is valid
// until buf is used again.
func readFrame(r io.Reader, buf *[]byte) (kind byte, body []byte, err error) {
	var head [header]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:])) - 1
	if n < 0 || n > maxReply {
		return 0, nil, fmt.Errorf("message %q of %d bytes", head[4], n)
	}
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	body = (*buf)[:n]
	_, err = io.ReadFull(r, body)
	return head[4], body, err
}
