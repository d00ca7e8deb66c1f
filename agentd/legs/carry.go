package legs

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/relay"
	"agentd.dev/decoders"
	"agentd.dev/recorder"
)

const (
	// pairBuffer is how much waits in each direction of a socket pair, by the
	// kernel's count, before whoever writes must wait.
	pairBuffer = 128 << 10
	smallRead  = 2 << 10
	largeRead  = 32 << 10
	// goodbye is how long a peer may take to read what is left for it after
	// its session has ended.
	goodbye = 2 * time.Second
	// lastWords is how long a peer that takes nothing any more may take to say
	// why.
	lastWords = time.Second
)

// A carrier moves a leg's bytes between TLS and the relay.
type carrier struct {
	conn *tls.Conn
	sock *socket
	pair *os.File // our end
	wire relay.Wire

	moving sync.WaitGroup
}

// Carried are the two legs of a session while a relay has it.
type Carried struct {
	carriers [2]*carrier // nil in plaintext
	nobody   []*os.File
}

// Hand gives the legs of a session to a relay: it sets what of s is theirs, and
// adds to s.Done what ends them. If it fails, for want of descriptors, the legs
// are still the caller's to Reset.
func Hand(client, server *End, s *relay.Session) (*Carried, error) {
	ends := [2]*End{decoders.FromClient: client, decoders.FromServer: server}
	var fds [2]int
	c := new(Carried)
	for d, end := range ends {
		fds[d] = end.fd
		if end.nobody != nil {
			c.nobody = append(c.nobody, end.nobody)
		}
		if end.tls == nil {
			continue
		}
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			c.discard(fds)
			return nil, os.NewSyscallError("socketpair", err)
		}
		for _, fd := range pair {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, pairBuffer) // the system's default does, too
		}
		fds[d] = pair[0]
		c.carriers[d] = &carrier{conn: end.tls, sock: end.socket, pair: os.NewFile(uintptr(pair[1]), "socket pair")}
	}
	s.Client, s.Server = fds[0], fds[1]
	for d, one := range c.carriers {
		if one == nil {
			continue
		}
		unix.Close(ends[d].fd) // the socket has a duplicate
		s.Wires[d] = &one.wire
		one.moving.Go(one.toRelay)
		one.moving.Go(one.toPeer)
	}
	if done := s.Done; c.any() {
		s.Done = func(e recorder.End) {
			go func() { // it may take a moment, which the loop does not have
				c.closed()
				done(e)
			}()
		}
	}
	return c, nil
}

// discard undoes what Hand has done so far.
func (c *Carried) discard(fds [2]int) {
	for d, one := range c.carriers {
		if one != nil {
			unix.Close(fds[d])
			one.pair.Close()
		}
	}
}

func (c *Carried) any() bool {
	return c.carriers[0] != nil || c.carriers[1] != nil || len(c.nobody) > 0
}

// Abandon ends the legs of a session that no relay took: its peers see a reset.
func (c *Carried) Abandon(s *relay.Session) {
	for d, fd := range [2]int{s.Client, s.Server} {
		if one := c.carriers[d]; one != nil {
			one.sock.reset()
		}
		relay.Reset(fd)
		unix.Close(fd)
	}
	c.closed()
}

// closed returns when nothing of the legs is left, after the relay has closed
// its descriptors.
func (c *Carried) closed() {
	for _, one := range c.carriers {
		if one != nil {
			one.closed()
		}
	}
	for _, f := range c.nobody {
		f.Close()
	}
}

// closed closes the connection. What the relay wrote before it closed its
// descriptor still goes to the peer, for a short time.
func (c *carrier) closed() {
	if c.wire.Reset() {
		c.sock.reset()
	}
	_ = c.sock.SetReadDeadline(time.Unix(1, 0)) // closed: nobody reads
	_ = c.sock.SetWriteDeadline(time.Now().Add(goodbye))
	c.moving.Wait()
	c.pair.Close()
	c.sock.Close()
}

// reset makes closing the socket reset the connection, at once.
func (s *socket) reset() {
	_ = control(s.f, func(fd int) { relay.Reset(fd) }) // closed: it is no more
	_ = s.SetDeadline(time.Unix(1, 0))
}

// toRelay moves what the peer says. An end that TLS does not speak of is none
// (a truncation attack), and neither is a broken connection.
func (c *carrier) toRelay() {
	err := move(c.pair, c.conn)
	if errors.Is(err, io.EOF) && !c.sock.ended.Load() {
		c.shutdown(unix.SHUT_WR)
		return
	}
	c.wire.Break(Alert(err))
	c.shutdown(unix.SHUT_RDWR)
}

// toPeer moves what the relay says.
func (c *carrier) toPeer() {
	err := move(c.conn, c.pair)
	switch {
	case errors.Is(err, io.EOF) && c.wire.Reset():
	case errors.Is(err, io.EOF):
		_ = c.conn.CloseWrite()                                                     // a peer that is gone shows in toRelay
		_ = control(c.sock.f, func(fd int) { _ = unix.Shutdown(fd, unix.SHUT_WR) }) // likewise
	default: // toRelay is to find out why, and say so
		_ = c.sock.SetReadDeadline(time.Now().Add(lastWords)) // closed: it has
	}
}

// shutdown ends our end of the pair, in one direction or both.
func (c *carrier) shutdown(how int) {
	_ = control(c.pair, func(fd int) { _ = unix.Shutdown(fd, how) }) // only closed closes it, when nobody shuts it down any more
}

var large = sync.Pool{New: func() any { return new([largeRead]byte) }}

// move copies until src ends, and returns why: io.EOF, or what went wrong. While
// nothing comes it holds a small buffer only.
func move(dst io.Writer, src io.Reader) error {
	small := make([]byte, smallRead)
	for {
		n, err := src.Read(small)
		if err := write(dst, small[:n]); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		if n < len(small) {
			continue
		}
		if err := stream(dst, src); err != nil {
			return err
		}
	}
}

// stream is move with a large buffer, while there is enough to fill it.
func stream(dst io.Writer, src io.Reader) error {
	buf := large.Get().(*[largeRead]byte)
	defer large.Put(buf)
	for {
		n, err := src.Read(buf[:])
		if err := write(dst, buf[:n]); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		if n <= smallRead {
			return nil
		}
	}
}

// write writes b. That dst is gone is no end of what is read.
func write(dst io.Writer, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_, err := dst.Write(b)
	if errors.Is(err, io.EOF) {
		return io.ErrClosedPipe
	}
	return err
}
