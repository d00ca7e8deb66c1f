package relay

import (
	"errors"

	"golang.org/x/sys/unix"
)

// errPeerGone means that a peer closed its connection while bytes for it were
// still on their way.
var errPeerGone = errors.New("connection reset")

// read reads once. It returns 0 and no error if nothing is there yet, and eof
// if nothing will come any more.
func read(fd int, buf []byte) (n int, eof bool, err error) {
	for {
		n, err := rawRead(fd, buf)
		switch {
		case n > 0:
			return n, false, nil
		case err == nil:
			return 0, true, nil
		case err == unix.EAGAIN:
			return 0, false, nil
		case err == unix.EINTR:
		case err == unix.ECONNRESET, err == unix.EPIPE:
			return 0, false, errPeerGone
		default:
			return 0, false, err
		}
	}
}

// write writes as much of buf as the socket takes now.
func write(fd int, buf []byte) (int, error) {
	sent := 0
	for sent < len(buf) {
		n, err := rawWrite(fd, buf[sent:])
		switch {
		case n > 0:
			sent += n
		case err == unix.EAGAIN:
			return sent, nil
		case err == unix.EINTR:
		case err == unix.ECONNRESET, err == unix.EPIPE:
			return sent, errPeerGone
		default:
			return sent, err
		}
	}
	return sent, nil
}

// Reset makes closing fd send a reset, as its peer would have seen without a
// relay in between. Failing to is harmless: the peer sees an orderly close.
func Reset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}
