package postgres

import "agentd.dev/decoders"

// A message is the frame at which a walk through a buffer has come.
type message struct {
	typ   byte
	size  int    // of the frame, header included
	buf   []byte // what the buffer holds from the frame's beginning on: less than size, or more
	first bool   // no frame before it waits to be passed in the same step
}

// whole reports whether all of the message is there.
func (m message) whole() bool { return len(m.buf) >= m.size }

// body returns what comes behind the header, as far as it is there.
func (m message) body() []byte { return m.buf[headerLen:min(m.size, len(m.buf))] }

// A turn is what becomes of the message at which a walk has come.
type turn uint8

const (
	walk  turn = iota // it passes, on to the next
	tell              // it passes, and the direction's event is told
	alone             // the direction's step is its own; before it, what was walked over passes
	flush             // what was walked over passes first; nothing was changed, and it comes again
)

// end makes a step of a turn that is not walk; n bytes were walked over
// before a message of size bytes.
func end(t turn, n, size int, step decoders.Step, ev *decoders.Event) decoders.Step {
	switch {
	case t == tell:
		return decoders.Step{Op: decoders.Pass, N: n + size, Event: ev}
	case n > 0:
		return decoders.Step{Op: decoders.Pass, N: n}
	}
	return step
}
