package relay

import (
	"golang.org/x/sys/unix"
)

const (
	// keepBuffer is the capacity a session may keep of an idle buffer.
	// Larger ones go back to the collector, so that a burst in each of many
	// sessions does not stay in memory.
	keepBuffer = 4 << 10
	// waitLimit is how much may pile up from a peer whose bytes must wait
	// for the other direction or a study, or for a peer that does not read what it is
	// told, before the relay stops reading from it.
	waitLimit = 64 << 10
)

// A leg is one of a session's two sockets, with what travels from and to it.
type leg struct {
	fd   int
	wire *Wire

	in      []byte // read, and not yet consumed by a step
	rest    int    // bytes still to come of the last step
	discard bool   // rest is dropped rather than passed
	waiting bool   // the decoder said Wait
	study   bool   // the decoder said Study, and that has not returned
	eof     bool   // nothing more will be read
	total   int64  // bytes read

	out  []byte // to be written, in order
	shut bool   // our half of the connection is closed
	gone bool   // the peer has refused what was written
	lost int64  // bytes that it has refused

	events uint32 // what epoll watches for
}

// over reports whether nothing will come of what the peer says any more.
func (l *leg) over() bool { return l.eof && !l.study }

// push queues b for the peer.
func (l *leg) push(b []byte) { l.out = append(l.out, b...) }

// flush writes what is queued, as far as the peer takes it. What a peer that
// is gone would have got is dropped; that it is gone shows when its leg is
// read.
func (l *leg) flush() {
	if len(l.out) == 0 {
		return
	}
	l.out = keep(l.out, l.write(l.out))
}

// write writes b as far as the peer takes it, and returns how much of b that
// settles: all of it when the peer takes no more.
func (l *leg) write(b []byte) int {
	n, err := write(l.fd, b)
	if err != nil {
		l.gone = !l.shut
		l.lost += int64(len(b))
		return len(b)
	}
	return n
}

// leave keeps what was not used of data, which is either all of in or comes
// after an empty one.
func (l *leg) leave(data []byte, used int) {
	if len(l.in) > 0 {
		l.in = keep(l.in, used)
		return
	}
	l.in = append(l.in, data[used:]...)
	if len(l.in) == 0 && cap(l.in) > keepBuffer {
		l.in = nil
	}
}

// keep drops the first n bytes of buf, and its memory too when it is large
// and empty.
func keep(buf []byte, n int) []byte {
	left := copy(buf, buf[n:])
	if left == 0 && cap(buf) > keepBuffer {
		return nil
	}
	return buf[:left]
}

// closeWrite tells the peer that nothing more comes.
func (l *leg) closeWrite() {
	if !l.shut {
		l.shut = true
		_ = unix.Shutdown(l.fd, unix.SHUT_WR) // a reset peer shows in the next read
	}
}
