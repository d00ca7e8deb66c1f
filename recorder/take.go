package recorder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// What a Recorder says to a predecessor: that it takes turns, and what came of
// each.
const (
	answerReady   = 'b' // the first turn may come
	answerKept    = 'k' // it is in the file
	answerMoved   = 'm' // it is not, and will not be: ask who records now
	answerRefused = 'r' // it is not, because of the text that follows
	answerSynced  = 's' // all turns so far are on the disk
	answerFailed  = 'f' // they may never be, because of the text that follows
)

// maxAway is how long a turn from another process may be.
const maxAway = 1 << 30

// askSync stands in place of a turn's length, with no turn behind it: say when
// all turns so far are on the disk. Other turns may be answered before that is.
const askSync = 1 << 31

// errAskSync says that no turn has come but askSync.
var errAskSync = errors.New("asked when it is on the disk")

// errMoved says that the log is another process's now.
var errMoved = errors.New("the log has moved on")

// A Predecessor is a process that handed its log over and whose sessions go
// on: a Remote sends their records.
type Predecessor struct {
	PID int

	mu   sync.Mutex // guards live
	live map[string]struct{}
}

// NewPredecessor returns the process pid with the sessions it has.
func NewPredecessor(pid int, sessions []string) *Predecessor {
	p := &Predecessor{PID: pid, live: map[string]struct{}{}}
	for _, id := range sessions {
		p.live[id] = struct{}{}
	}
	return p
}

// Sessions returns the sessions that go on there.
func (p *Predecessor) Sessions() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]string, 0, len(p.live))
	for id := range p.live {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// follow notes the sessions that begin or end in frames.
func (p *Predecessor) follow(frames []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for payload := range payloadsOf(frames) {
		switch id := string(sessionOf(payload)); recordType(payload[1:]) {
		case "open":
			p.live[id] = struct{}{}
		case "close":
			delete(p.live, id)
		}
	}
}

// Take records what p sends over conn, which it closes, until p ends or the
// log is another's. Sessions that p ends without are recorded as interrupted;
// where recording did not simply go on, those it comes with as resumed.
func (r *Recorder) Take(conn net.Conn, p *Predecessor) error {
	k := &taker{conn: conn}
	defer conn.Close()
	if !r.enter(k) {
		k.leave()
		return errMoved
	}
	defer r.exit(k)
	k.begin()
	if err := r.tell("resumed", p.Sessions(), !r.goesOn); err != nil {
		return err
	}
	in := turnReader{from: conn}
	for {
		t, err := in.next()
		if err == errAskSync {
			r.AwaitDisk(k.synced)
			continue
		}
		if err != nil {
			return errors.Join(ignoreEnd(err), r.tell("interrupted", p.Sessions(), true))
		}
		if k.answer(func() error { return r.take(t) }) == nil {
			p.follow(t.buf)
		}
	}
}

// Interrupt records that sessions ended with the process that had them.
func (r *Recorder) Interrupt(sessions []string) error {
	return r.tell("interrupted", sessions, true)
}

// tell records what became of sessions, unless the log is another process's.
func (r *Recorder) tell(kind string, sessions []string, want bool) error {
	if !want || len(sessions) == 0 {
		return nil
	}
	var t Turn
	for _, id := range sessions {
		sessionRecord(&t, time.Now(), kind, id)
	}
	if err := r.take(&t); !errors.Is(err, errMoved) {
		return err
	}
	return nil
}

// take is Commit for records of another process.
func (r *Recorder) take(t *Turn) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.awaitThaw()
	if r.closed || r.away != nil {
		return errMoved
	}
	return r.commit(t)
}

// enter makes k known to dismiss. False: the log is another's already.
func (r *Recorder) enter(k *taker) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.awaitThaw()
	if r.closed || r.away != nil {
		return false
	}
	r.takers[k] = struct{}{}
	r.taking.Add(1)
	return true
}

func (r *Recorder) exit(k *taker) {
	r.mu.Lock()
	delete(r.takers, k)
	r.mu.Unlock()
	r.taking.Done()
}

// dismiss sends every predecessor to whoever records now.
func (r *Recorder) dismiss() {
	r.mu.Lock()
	var takers []*taker
	for k := range r.takers {
		takers = append(takers, k)
	}
	r.mu.Unlock()
	for _, k := range takers {
		k.leave()
	}
}

// A taker is one call of Take.
type taker struct {
	conn net.Conn
	mu   sync.Mutex // held from a turn's commit to its answer, so that no other answer comes between
	left bool
}

// goAway is how long a predecessor may take to leave.
const goAway = 10 * time.Second

// answer tells the predecessor what came of its turn, and returns it.
func (k *taker) answer(commit func() error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := commit()
	switch {
	case k.left: // it knows
	case err == nil:
		k.say([]byte{answerKept})
	case errors.Is(err, errMoved):
		k.moved()
	default:
		k.sayWhy(answerRefused, err)
	}
	return err
}

// synced tells the predecessor what came of askSync.
func (k *taker) synced(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.left: // it asks the next one
	case err == nil:
		k.say([]byte{answerSynced})
	default:
		k.sayWhy(answerFailed, err)
	}
}

// sayWhy writes an answer with its reason.
func (k *taker) sayWhy(kind byte, err error) {
	text := err.Error()
	k.say(append(binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(text))), text...))
}

// begin tells the predecessor that its turns are taken from here on. Of one
// that it sends before, it could not know whether it is recorded.
func (k *taker) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.left {
		k.say([]byte{answerReady})
	}
}

// leave tells the predecessor that the log has moved on.
func (k *taker) leave() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.left {
		k.moved()
	}
}

// moved says so; what the predecessor had sent already is read, not recorded,
// until it hangs up.
func (k *taker) moved() {
	k.left = true
	k.say([]byte{answerMoved})
	_ = k.conn.SetReadDeadline(time.Now().Add(goAway))
}

// say writes an answer. If that fails the predecessor takes its turn as not
// recorded, and reading tells that it is gone.
func (k *taker) say(answer []byte) { _, _ = k.conn.Write(answer) }

// A turnReader reads the turns that a Remote sends.
type turnReader struct {
	from io.Reader
	turn Turn
}

// next returns the next turn, valid until the one after it. Frames come from a
// process of our own, but perhaps of another version: what is not as ours
// would be is refused as a whole.
func (in *turnReader) next() (*Turn, error) {
	var head [4]byte
	if _, err := io.ReadFull(in.from, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(head[:]))
	if n == askSync {
		return nil, errAskSync
	}
	if n > maxAway {
		return nil, fmt.Errorf("a turn of %d bytes", n)
	}
	in.turn.reset()
	in.turn.buf = slices.Grow(in.turn.buf, n)[:n]
	if _, err := io.ReadFull(in.from, in.turn.buf); err != nil {
		return nil, err
	}
	for rest := in.turn.buf; len(rest) > 0; in.turn.records++ {
		size := frameSize(rest)
		if size == 0 {
			return nil, fmt.Errorf("record %d of a turn is none", in.turn.records)
		}
		in.turn.asks = in.turn.asks || !ends(recordType(rest[frameHead+1:size]))
		rest = rest[size:]
	}
	return &in.turn, nil
}

// frameSize returns the length of the frame at the front of frames, 0 if there
// is none that chain.seal could complete.
func frameSize(frames []byte) int {
	if len(frames) < frameHead+1+len(recordHead) {
		return 0
	}
	n := int(binary.LittleEndian.Uint32(frames))
	if n > maxFrame || n < 1+len(recordHead) || len(frames) < frameHead+n {
		return 0
	}
	if payload := frames[frameHead : frameHead+n]; payload[0] != 0 || string(payload[1:1+len(recordHead)]) != recordHead {
		return 0
	}
	return frameHead + n
}

// payloadsOf yields the payloads of frames that next has checked.
func payloadsOf(frames []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(frames) > 0 {
			n := frameHead + int(binary.LittleEndian.Uint32(frames))
			if !yield(frames[frameHead:n]) {
				return
			}
			frames = frames[n:]
		}
	}
}

// ignoreEnd drops the error that is how a predecessor's end shows.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
