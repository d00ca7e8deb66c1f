package recorder

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	redialEvery = 50 * time.Millisecond
	patience    = 10 * time.Second // how long records wait for a process that records them
)

// A Remote is the Sink of a process that handed its log over. It sends each
// turn to the process that records now and returns when that has answered. When
// that one hands over in turn, or ends and another starts, Remote finds the next.
//
// It fails closed: without an answer nothing counts as recorded. A turn that
// was certainly not recorded is sent again, one that may have been is not.
type Remote struct {
	dial    func() (net.Conn, error)
	stop    chan struct{}
	running sync.WaitGroup

	syncing sync.Mutex // held by the one askSync that is on its way

	turn sync.Mutex // held by the one turn that is on its way, and to write; guards buf
	buf  []byte

	mu      sync.Mutex // guards what follows
	line    *line      // nil while nobody is known that records
	changed chan struct{}
	since   time.Time // since when line is nil
	closed  bool
}

// A line is a connection to a process that records.
type line struct {
	conn    net.Conn
	answers chan answer // one for each turn; closed when the connection is
	synced  chan answer // one for each askSync; closed with it
}

type answer struct {
	kind byte
	text string // of a refusal
}

// NewRemote returns a Sink that reaches the process that records through dial.
// It calls dial again, a moment apart, until that succeeds, whenever the
// connection is lost. Dial must not take longer than a few seconds.
func NewRemote(dial func() (net.Conn, error)) *Remote {
	r := &Remote{dial: dial, stop: make(chan struct{}), changed: make(chan struct{}), since: time.Now()}
	r.running.Go(r.run)
	return r
}

// Close gives the connection up: whoever records learns that this process has
// ended.
func (r *Remote) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return ErrClosed
	}
	r.closed = true
	if r.line != nil {
		r.line.conn.Close()
	}
	r.mu.Unlock()
	close(r.stop)
	r.running.Wait()
	return nil
}

// run keeps a connection until Close.
func (r *Remote) run() {
	for {
		conn, err := r.dial()
		if err == nil {
			l := &line{conn: conn, answers: make(chan answer, 1), synced: make(chan answer, 1)}
			if l.ready(r.stop) && r.set(l) {
				l.read()
			}
			r.set(nil)
			conn.Close()
		}
		select {
		case <-r.stop:
			return
		case <-time.After(redialEvery):
		}
	}
}

// set makes l the connection to use. False: Close was called.
func (r *Remote) set(l *line) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed && l != nil {
		return false
	}
	if r.line != nil && l == nil {
		r.since = time.Now()
	}
	r.line = l
	close(r.changed)
	r.changed = make(chan struct{})
	return true
}

// ready waits until whoever is there takes turns, or stop is closed. False: it
// does not, and has seen none.
func (l *line) ready(stop <-chan struct{}) bool {
	var said [1]byte
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-stop:
			l.conn.Close()
		case <-over:
		}
	}()
	_ = l.conn.SetReadDeadline(time.Now().Add(patience))
	_, err := io.ReadFull(l.conn, said[:])
	_ = l.conn.SetReadDeadline(time.Time{})
	return err == nil && said[0] == answerReady
}

// read takes answers until there can be no more.
func (l *line) read() {
	defer close(l.answers)
	defer close(l.synced)
	in := bufio.NewReader(l.conn)
	for {
		kind, err := in.ReadByte()
		if err != nil {
			return
		}
		a := answer{kind: kind}
		if kind == answerRefused || kind == answerFailed {
			if a.text, err = readText(in); err != nil {
				return
			}
		}
		if kind == answerSynced || kind == answerFailed {
			l.synced <- a // there is room: one is asked for at a time
			continue
		}
		l.answers <- a // there is room: every turn takes its answer before the next is sent
		if kind != answerKept && kind != answerRefused {
			return
		}
	}
}

func readText(in io.Reader) (string, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return "", err
	}
	text := make([]byte, min(binary.LittleEndian.Uint32(head[:]), maxField))
	_, err := io.ReadFull(in, text)
	return string(text), err
}

// Append implements Sink.
func (r *Remote) Append(frames []byte) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	r.buf = append(binary.LittleEndian.AppendUint32(r.buf[:0], uint32(len(frames))), frames...)
	var last *line
	for {
		l, err := r.next(last)
		if err != nil {
			return err
		}
		last = l
		if _, err := l.conn.Write(r.buf); err != nil {
			continue // not all of it was sent: it cannot have been recorded
		}
		a, ok := <-l.answers
		switch {
		case !ok:
			return errors.New("the agentd that records ended before it had answered")
		case a.kind == answerKept:
			return nil
		case a.kind == answerRefused:
			return fmt.Errorf("the agentd that records said: %s", a.text)
		}
	}
}

// Sync implements Sink. Turns of others go on meanwhile. It is asked again of
// whoever records next if there is no answer: that one has synced what it found
// before it takes turns, and what was answered as kept is among that.
func (r *Remote) Sync() error {
	r.syncing.Lock()
	defer r.syncing.Unlock()
	var last *line
	for range syncTries {
		l, err := r.next(last)
		if err != nil {
			return err
		}
		last = l
		r.turn.Lock()
		_, err = l.conn.Write(binary.LittleEndian.AppendUint32(nil, askSync))
		r.turn.Unlock()
		if err != nil {
			continue
		}
		switch a, ok := <-l.synced; {
		case !ok:
		case a.kind == answerSynced:
			return nil
		default:
			return fmt.Errorf("the agentd that records said: %s", a.text)
		}
	}
	return errors.New("no agentd that records says what is on the disk: is the newest one older than this one?")
}

// syncTries is how many processes are asked: one that is older takes the
// question for nonsense and hangs up.
const syncTries = 4

// next waits for a connection other than last.
func (r *Remote) next(last *line) (*line, error) {
	for {
		r.mu.Lock()
		l, changed, wait, closed := r.line, r.changed, time.Until(r.since.Add(patience)), r.closed
		r.mu.Unlock()
		switch {
		case closed:
			return nil, ErrClosed
		case l != nil && l != last:
			return l, nil
		case l == nil && wait <= 0:
			return nil, errors.New("no agentd is there to record: start one")
		case l != nil: // given up by this turn, and not yet by run
			wait = patience
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}
