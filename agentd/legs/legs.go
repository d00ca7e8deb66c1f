// Package legs ends TLS in agentd, on a session's leg to the client or on that
// to the server: how both come to it, and what carries bytes between TLS and
// the relay, which is given one end of a socket pair.
//
// Nothing that came in plaintext is ever taken for what came under TLS, or the
// other way round. A peer whose bytes end without TLS saying so was cut off, and
// the relay is told. Who a certificate is for, and whether one is to be trusted,
// is the caller's to say, in a tls.Config.
package legs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/decoders"
)

// An End is one leg before the relay has it: a peer, in plaintext or over TLS.
// It owns the connection until Hand.
type End struct {
	fd  int
	tls *tls.Conn // nil: plaintext
	*socket
	nobody *os.File // the other end, of Nowhere
}

// Plain returns a leg that has no TLS, and owns fd.
func Plain(fd int) *End { return &End{fd: fd} }

// Nowhere returns a leg at whose other end nobody is, and that stays open.
func Nowhere() (*End, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	return &End{fd: pair[0], nobody: os.NewFile(uintptr(pair[1]), "nobody")}, nil
}

// TLS returns what was agreed on, nil in plaintext.
func (e *End) TLS() *tls.ConnectionState {
	if e.tls == nil {
		return nil
	}
	s := e.tls.ConnectionState()
	return &s
}

// Reset ends the connection so that its peer sees a reset: nothing that it sent
// reached anyone.
func (e *End) Reset() {
	_ = unix.SetsockoptLinger(e.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // it is closed all the same
	e.close()
}

func (e *End) close() {
	unix.Close(e.fd)
	if e.socket != nil {
		e.socket.Close()
	}
	if e.nobody != nil {
		e.nobody.Close()
	}
}

// Reasons for which a leg does not come to TLS. What package tls returns is
// returned as it is, wrapped.
var (
	// ErrSilent: the peer did not say anything in time, or hung up first.
	ErrSilent = errors.New("said nothing")
	// ErrEarly: bytes were there behind the request for TLS, or its answer, that
	// are not part of TLS: somebody in between may have put them there.
	ErrEarly = errors.New("sent plaintext where TLS begins")
	// ErrUnnamed: TLS began at once, and names no protocol (ALPN).
	ErrUnnamed = errors.New("began TLS without naming the protocol in it")
	// ErrStrange: the server's answer to the request for TLS is none.
	ErrStrange = errors.New("answered the request for TLS with neither yes nor no")
)

// maxAsked is how often a client may ask for what agentd does not have.
const maxAsked = 2

// Client brings a client to TLS, if it asks for that, within the deadline. It
// returns what the client wanted in the end: decoders.AsksTLS or BeginsTLS, and
// TLS it is; Unsecured or Exempt, and all that the client sent is still to be
// read. After an error the connection is to be Reset.
func (e *End) Client(ctx context.Context, deadline time.Time, how *decoders.Secure, config *tls.Config) (decoders.Opens, error) {
	stop, err := e.begin(ctx, deadline)
	if err != nil {
		return 0, err
	}
	defer stop()
	for range maxAsked + 1 {
		o, err := e.opening(how)
		if err != nil {
			return 0, err
		}
		switch o.Opens {
		case decoders.AsksTLS:
			if e.pending() {
				return 0, ErrEarly
			}
		case decoders.AsksOther:
		case decoders.BeginsTLS:
			return o.Opens, e.accept(ctx, config, how.ALPN)
		default:
			return o.Opens, e.plain()
		}
		if _, err := e.Write(o.Answer); err != nil {
			return 0, err
		}
		if o.Opens == decoders.AsksTLS {
			return o.Opens, e.accept(ctx, config, "")
		}
	}
	return 0, ErrStrange
}

// begin makes waiting for the peer possible.
func (e *End) begin(ctx context.Context, deadline time.Time) (stop func(), err error) {
	if e.socket, err = newSocket(e.fd); err != nil {
		return nil, err
	}
	return e.until(ctx, deadline)
}

// plain goes back to the descriptor alone.
func (e *End) plain() error {
	err := e.socket.Close()
	e.socket = nil
	return err
}

// opening waits for enough of the client's first bytes, and takes those that
// are part of coming to TLS.
func (e *End) opening(how *decoders.Secure) (o decoders.Opening, err error) {
	head := make([]byte, how.Enough)
	for n := 0; o.Opens == decoders.Undecided; {
		n, err = e.peek(head, n)
		if err != nil {
			return o, fmt.Errorf("%w: %w", ErrSilent, err)
		}
		o = how.Open(head[:n])
		if n == len(head) {
			break
		}
	}
	_, err = io.ReadFull(e, head[:o.N])
	return o, err
}

// accept shakes hands with a client. Named is what the client must call the
// protocol, if it must.
func (e *End) accept(ctx context.Context, config *tls.Config, named string) error {
	conn := tls.Server(e.socket, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	if conn.ConnectionState().NegotiatedProtocol != named && named != "" {
		return ErrUnnamed
	}
	e.tls = conn
	return nil
}

// Server asks a server for TLS, within the deadline. It reports whether the
// server has it, and then TLS it is; else the connection goes on in plaintext.
// After an error the connection is to be Reset.
func (e *End) Server(ctx context.Context, deadline time.Time, how *decoders.Secure, config *tls.Config) (bool, error) {
	stop, err := e.begin(ctx, deadline)
	if err != nil {
		return false, err
	}
	defer stop()
	if _, err := e.Write(how.Request); err != nil {
		return false, err
	}
	answer := make([]byte, 1) // and no more: what comes behind it is not to be read as plaintext
	if _, err := io.ReadFull(e, answer); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: %w", ErrSilent, err)
		}
		return false, err
	}
	yes, known := how.Accepts(answer[0])
	switch {
	case !known:
		return false, ErrStrange
	case e.pending():
		return false, ErrEarly
	case !yes:
		return false, e.plain()
	}
	conn := tls.Client(e.socket, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return false, err
	}
	e.tls = conn
	return true, nil
}

// Alert is what, by an error of a leg, the peer itself said of TLS, "" if it said
// nothing.
func Alert(err error) string {
	var from *net.OpError // as package tls has it
	if errors.As(err, &from) && from.Op == "remote error" {
		return strings.TrimPrefix(from.Err.Error(), "tls: ")
	}
	return ""
}
