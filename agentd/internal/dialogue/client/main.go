// Command client holds the sessions that standard input lists as JSON, and
// prints what it heard in each, in the same order. It holds as many at a time
// as it has arguments: databases, each for one session at a time of those that
// ask for none. It logs in as its environment says.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"agentd.dev/agentd/internal/dialogue"
)

const (
	patient = time.Minute          // how long an answer may take on a machine that is busy
	moment  = 5 * time.Millisecond // how long is waited for what may not come
)

func main() {
	log.SetFlags(0)
	var sessions []dialogue.Session
	if err := json.NewDecoder(os.Stdin).Decode(&sessions); err != nil {
		log.Fatalf("read the sessions: %v", err)
	}
	heard := make([]dialogue.Heard, len(sessions))
	next := make(chan int)
	var all sync.WaitGroup
	for _, database := range os.Args[1:] {
		all.Go(func() {
			for i := range next {
				s := sessions[i]
				s.Database = cmp.Or(s.Database, database)
				if err := converse(&s, &heard[i]); err != nil {
					heard[i].End = err.Error()
				}
			}
		})
	}
	for i := range sessions {
		next <- i
	}
	close(next)
	all.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(heard); err != nil {
		log.Fatal(err)
	}
}

// converse holds one session and keeps in h what it hears.
func converse(s *dialogue.Session, h *dialogue.Heard) error {
	config, err := pgconn.ParseConfig("")
	if err != nil {
		return err
	}
	config.Database, config.User = s.Database, s.User
	for name, value := range s.Parameters {
		config.RuntimeParams[name] = value
	}
	// pgconn may be reading in the background still when the connection is
	// taken from it: what it has read comes from its own reader.
	var reader io.Reader
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		reader = r
		return pgproto3.NewFrontend(r, w)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	login, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	c, err := login.Hijack()
	if err != nil {
		return err
	}
	defer c.Conn.Close()
	copying := false
	var cut []byte // the front of a message of which the rest was not there in its moment
	for _, turn := range s.Turns {
		began := time.Now()
		h.Answers = append(h.Answers, dialogue.Answer{})
		answer := &h.Answers[len(h.Answers)-1]
		if turn[0] == 'd' && !copying {
			continue // the server would ignore it, and answer nothing
		}
		deadline := began.Add(patient)
		if err := c.Conn.SetDeadline(deadline); err != nil {
			return err
		}
		if _, err := c.Conn.Write(turn); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		switch {
		case s.Until == "":
			answer.Messages, err = answered(reader, due(turn))
		case bytes.Contains(turn, []byte(s.Until)):
			answer.Messages, err = until(reader, cut, s.Until)
		default:
			answer.Messages, err = meanwhile(c.Conn, reader, deadline)
		}
		if err != nil {
			return err
		}
		answer.Took = time.Since(began)
		cut = dialogue.Walk(append(cut, answer.Messages...), func(byte, []byte) {})
		copying = asksForData(answer.Messages)
	}
	return nil
}

// asksForData reports whether the server has said that it waits for the data of
// a COPY.
func asksForData(heard []byte) (asks bool) {
	dialogue.Walk(heard, func(kind byte, _ []byte) { asks = kind == 'G' || kind == 'W' })
	return asks
}

// until reads until the server is ready after a row that holds text, and
// returns what it read. What it begins with may go on a message of which cut has
// the front.
func until(r io.Reader, cut []byte, text string) ([]byte, error) {
	var heard []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		heard = append(heard, buf[:n]...)
		said, ready := false, false
		dialogue.Walk(slices.Concat(cut, heard), func(kind byte, body []byte) {
			said = said || kind == 'D' && bytes.Contains(body, []byte(text))
			ready = ready || said && kind == 'Z'
		})
		if ready {
			return heard, nil
		}
		if err != nil {
			return heard, fmt.Errorf("receive: %w", err)
		}
	}
}

// meanwhile reads what comes in a moment.
func meanwhile(c net.Conn, r io.Reader, deadline time.Time) ([]byte, error) {
	defer c.SetReadDeadline(deadline)
	if err := c.SetReadDeadline(time.Now().Add(moment)); err != nil {
		return nil, err
	}
	heard, err := io.ReadAll(r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return heard, nil
	}
	return heard, cmp.Or(err, io.ErrUnexpectedEOF)
}

// due is how many ReadyForQuery a turn asks for.
func due(turn []byte) int {
	n := 0
	dialogue.Walk(turn, func(kind byte, _ []byte) {
		switch kind {
		case 'Q', 'F', 'S':
			n++
		case 'c', 'f': // the end of a COPY, whose Query was in the turn before
			n++
		}
	})
	return n
}

// answered reads until so many ReadyForQuery have come, or the server waits for
// the data of a COPY.
func answered(r io.Reader, due int) ([]byte, error) {
	var heard []byte
	walked := 0
	buf := make([]byte, 64<<10)
	for due > 0 {
		n, err := r.Read(buf)
		heard = append(heard, buf[:n]...)
		rest := dialogue.Walk(heard[walked:], func(kind byte, _ []byte) {
			switch kind {
			case 'Z':
				due--
			case 'G', 'W':
				due = 0
			}
		})
		walked = len(heard) - len(rest)
		if err != nil && due > 0 {
			return heard, fmt.Errorf("receive: %w", err)
		}
	}
	return heard, nil
}
