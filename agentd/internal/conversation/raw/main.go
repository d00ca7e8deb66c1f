// Command raw holds a conversation in bytes of its own making, stranger than
// those of any driver, and prints every message the server sends. Only the
// login's salts, proofs and keys are left out: they differ every time.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"
)

func main() {
	log.SetFlags(0)
	for _, s := range conversations {
		fmt.Printf("\n== %s\n", s.name)
		if err := converse(s); err != nil {
			log.Fatalf("%s: %v", s.name, err)
		}
	}
}

// A server is one connection, with what has to be remembered of it.
type server struct {
	net.Conn
	in    *bufio.Reader
	key   []byte    // BackendKeyData's payload
	print io.Writer // for what it says
}

func dial() (*server, error) {
	conn, err := net.Dial("tcp", net.JoinHostPort(os.Getenv("PGHOST"), os.Getenv("PGPORT")))
	if err != nil {
		return nil, err
	}
	// A conversation that gets stuck is a failure, not a hang.
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	return &server{Conn: conn, in: bufio.NewReader(conn), print: os.Stdout}, nil
}

// converse logs in, says what there is to say and prints the answers, each
// step up to the message it waits for.
func converse(c conversation) error {
	s, err := dial()
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.negotiate(c.before); err != nil {
		return err
	}
	if err := s.login(c.parameters); err != nil {
		return err
	}
	for _, step := range c.steps {
		send := s.send
		if step.cancel {
			send = s.sendAndCancel
		}
		if err := send(step); err != nil {
			return err
		}
		if err := s.read(step.until); err != nil {
			return err
		}
	}
	return nil
}

// negotiate sends requests for encryption and prints the byte that answers.
func (s *server) negotiate(requests [][]byte) error {
	for _, request := range requests {
		if _, err := s.Write(request); err != nil {
			return err
		}
		b, err := s.in.ReadByte()
		if err != nil {
			return err
		}
		fmt.Fprintf(s.print, "negotiated %c\n", b)
	}
	return nil
}

// send writes the step's bytes, in pieces if it says so.
func (s *server) send(step step) error {
	piece := step.piece
	if piece == 0 {
		piece = max(1, len(step.bytes))
	}
	for b := step.bytes; len(b) > 0; b = b[min(piece, len(b)):] {
		if _, err := s.Write(b[:min(piece, len(b))]); err != nil {
			return err
		}
	}
	if !step.half {
		return nil
	}
	return s.Conn.(*net.TCPConn).CloseWrite()
}

// sendAndCancel sends the step's bytes, which give back the lock 4711, and
// cancels what runs once another session has the lock.
func (s *server) sendAndCancel(step step) error {
	other, err := dial()
	if err != nil {
		return err
	}
	defer other.Close()
	other.print = io.Discard
	if err := other.login(nil); err != nil {
		return err
	}
	if _, err := other.Write(query("select pg_advisory_lock(4711)")); err != nil {
		return err
	}
	if err := s.send(step); err != nil {
		return err
	}
	if err := other.read("Z"); err != nil {
		return err
	}
	return s.cancel()
}

// read prints messages until those of the types in until have come, in that
// order, or the server closes.
func (s *server) read(until string) error {
	for len(until) > 0 {
		kind, payload, err := s.message()
		if err == io.EOF {
			fmt.Fprintln(s.print, "closed by the server")
			return nil
		}
		if err != nil {
			return err
		}
		s.printMessage(kind, payload)
		if kind == until[0] {
			until = until[1:]
		}
	}
	return nil
}

// message reads one message; its payload is without the length.
func (s *server) message() (kind byte, payload []byte, err error) {
	var header [5]byte
	if _, err := io.ReadFull(s.in, header[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, binary.BigEndian.Uint32(header[1:])-4)
	_, err = io.ReadFull(s.in, payload)
	return header[0], payload, err
}

func (s *server) printMessage(kind byte, payload []byte) {
	if kind == 'A' { // NotificationResponse begins with the sender's process id
		clear(payload[:4])
	}
	fmt.Fprintf(s.print, "%c %d %q\n", kind, len(payload), payload)
}

// cancel sends a CancelRequest on a connection of its own and waits until the
// server has taken it.
func (s *server) cancel() error {
	other, err := dial()
	if err != nil {
		return err
	}
	defer other.Close()
	if _, err := other.Write(startup(80877102, s.key)); err != nil {
		return err
	}
	rest, err := io.ReadAll(other.in)
	fmt.Fprintf(s.print, "cancel was answered with %q\n", rest)
	return err
}
