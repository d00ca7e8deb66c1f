package relay

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/decoders"
	"agentd.dev/recorder"
)

const (
	readSize = 64 << 10              // bytes read from one socket in one turn
	tick     = time.Second           // how often deadlines are looked at
	lag      = 20 * time.Millisecond // how long an outcome may wait for the next commit
	goodbye  = 2 * time.Second       // how long a client may take to read why its session ended
	turnSize = 256 << 10             // bytes of records that make a turn commit early
	fullTurn = 4 << 20               // bytes of records for which a turn commits before it is over
	wakeSlot = -1                    // what epoll knows the wake descriptor by
)

// A Loop relays sessions on one thread of its own. Everything it does within
// one turn, from one wait for events to the next, is recorded with one write,
// and only then do the statements of the turn go out.
//
// Dialling, policy loading and whatever else may block happen elsewhere.
type Loop struct {
	Stats Stats

	rec         *recorder.Recorder
	epoll, wake int

	mu       sync.Mutex // guards the next six
	arrivals []*session
	studied  []studied
	decided  []stayed
	synced   []*batch
	over     bool              // wake is no more
	stopping *decoders.Refusal // what sessions are told; nil while running

	studies sync.WaitGroup

	sessions []*session // by slot, nil where free
	free     []int32    // slots
	live     int

	turn     recorder.Turn
	now      time.Time // when the turn began
	nextTick time.Time
	asked    int64      // events asked in this turn
	durable  int64      // those among them of durable sessions
	held     []*session // sessions with bytes that wait for this turn's commit
	ended    []*session // sessions whose last record is in this turn
	buf      []byte
}

// New returns a loop that records with rec. Run must be called for anything
// to happen.
func New(rec *recorder.Recorder) (*Loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeSlot}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &ev); err != nil {
		unix.Close(epoll)
		unix.Close(wake)
		return nil, fmt.Errorf("watch eventfd: %w", err)
	}
	return &Loop{rec: rec, epoll: epoll, wake: wake, buf: make([]byte, readSize)}, nil
}

// Add hands s to the loop. It reports false, and takes nothing over, if the
// loop is stopping.
func (l *Loop) Add(s *Session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping != nil {
		return false
	}
	l.arrivals = append(l.arrivals, newSession(s))
	l.kick()
	return true
}

// Stop ends every session, its client told r, and then makes Run return.
func (l *Loop) Stop(r decoders.Refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping = &r
	l.kick()
}

// kick ends the loop's wait; mu is held. A counter that cannot take more is
// readable all the same.
func (l *Loop) kick() {
	if l.over {
		return
	}
	_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// Run relays until Stop was called and all sessions and studies have ended.
func (l *Loop) Run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer unix.Close(l.epoll)
	defer l.deafen()
	defer l.studies.Wait()
	events := make([]unix.EpollEvent, 256)
	for !l.stopped() {
		n := l.await(events)
		l.now = time.Now()
		for i := range events[:n] {
			l.ready(&events[i])
			if l.turn.Len() > fullTurn {
				l.commit()
			}
		}
		if l.now.After(l.nextTick) {
			l.nextTick = l.now.Add(tick)
			l.expire()
		}
		l.settle(n == 0)
	}
}

// deafen closes what kick wakes the loop by. People may decide later than that.
func (l *Loop) deafen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	unix.Close(l.wake)
}

// await returns how many events there are. It looks before it sleeps: under
// load there is mostly something, and sleeping costs a thread switch.
func (l *Loop) await(events []unix.EpollEvent) int {
	if n := poll(l.epoll, events); n > 0 {
		return n
	}
	timeout := tick
	if !l.turn.Empty() {
		timeout = lag
	}
	n, _ := unix.EpollWait(l.epoll, events, int(timeout.Milliseconds())) // EINTR is a wait that ended early
	return max(n, 0)
}

// ready handles what epoll says of one descriptor.
func (l *Loop) ready(ev *unix.EpollEvent) {
	if ev.Fd == wakeSlot {
		l.arrive()
		return
	}
	s, d := l.sessions[ev.Fd], decoders.Dir(ev.Pad)
	if s == nil {
		return // ended earlier in this turn
	}
	if ev.Events&unix.EPOLLOUT != 0 && !s.held {
		l.flush(s)
	}
	if ev.Events&unix.EPOLLRDHUP != 0 && l.lives(s) && s.waits(d) {
		l.hangUp(s)
		return
	}
	if ev.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 && l.lives(s) {
		l.readable(s, d, ev.Events&unix.EPOLLERR != 0)
	}
}

// lives reports whether s has not ended.
func (l *Loop) lives(s *session) bool { return l.sessions[s.slot] == s }

// arrive starts the sessions that were added, goes on with those that waited
// for a study or for people, and ends all if the loop is stopping.
func (l *Loop) arrive() {
	var count [8]byte
	_, _ = unix.Read(l.wake, count[:])
	l.mu.Lock()
	arrivals, studied, decided, synced, stopping := l.arrivals, l.studied, l.decided, l.synced, l.stopping
	l.arrivals, l.studied, l.decided, l.synced = nil, nil, nil, nil
	l.mu.Unlock()
	for _, b := range synced {
		l.goOut(b)
	}
	for _, s := range arrivals {
		l.start(s)
	}
	for _, st := range studied {
		l.resume(st)
	}
	for _, st := range decided {
		l.goOn(st)
	}
	if stopping == nil {
		return
	}
	for _, s := range l.sessions {
		if s != nil {
			l.abort(s, *stopping, s.atEdge())
		}
	}
}

// start gives s a slot and begins to watch its sockets.
func (l *Loop) start(s *session) {
	if n := len(l.free); n > 0 {
		s.slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		s.slot = int32(len(l.sessions))
		l.sessions = append(l.sessions, nil)
	}
	l.sessions[s.slot] = s
	l.live++
	l.Stats.Sessions.Add(1)
	for d := range s.legs {
		leg := &s.legs[d]
		leg.events = unix.EPOLLIN
		ev := unix.EpollEvent{Events: leg.events, Fd: s.slot, Pad: int32(d)}
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, leg.fd, &ev); err != nil {
			l.end(s, fmt.Sprintf("watch socket: %v", err))
			return
		}
	}
}

// watch makes epoll watch both legs for what can be done with them now:
// reading, unless what was read before cannot go anywhere yet, and writing,
// while something waits to be written.
func (l *Loop) watch(s *session) {
	for d := range s.legs {
		leg := &s.legs[d]
		if leg.fd < 0 {
			continue
		}
		want := s.interest(decoders.Dir(d))
		if want == leg.events {
			continue
		}
		leg.events = want
		ev := unix.EpollEvent{Events: want, Fd: s.slot, Pad: int32(d)}
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, leg.fd, &ev); err != nil {
			l.end(s, fmt.Sprintf("watch socket: %v", err))
			return
		}
	}
}

// settle ends a turn: what was asked is recorded, then it goes out. What was
// only told may wait for the next turn that asks, or for an idle moment.
func (l *Loop) settle(idle bool) {
	if l.turn.Len() > turnSize || idle && !l.turn.Empty() {
		l.commit()
	}
	for len(l.held) > 0 || len(l.ended) > 0 {
		l.commit()
	}
}

// commit writes the records of the turn and sends what waited for them, or has
// it wait for the disk. It fails closed: without a record nothing goes out, and
// the sessions end.
func (l *Loop) commit() {
	err := l.rec.Commit(&l.turn)
	ended := l.ended // those that end below have their last record in the next turn
	l.ended = nil
	var b batch
	for _, s := range l.held {
		if s.Durable && err == nil && l.lives(s) {
			b.sessions = append(b.sessions, s)
			continue
		}
		s.held = false
		switch {
		case !l.lives(s):
		case err != nil:
			l.unrecorded(s, err)
		default:
			l.flush(s)
		}
	}
	l.held = l.held[:0]
	if len(b.sessions) > 0 {
		b.asked, b.since = l.durable, l.now
		l.asked, l.durable = l.asked-l.durable, 0
		l.awaitDisk(&b)
	}
	if l.asked > 0 {
		l.Stats.took(l.asked, time.Since(l.now))
		l.asked, l.durable = 0, 0
	}
	for _, s := range ended {
		s.Done(s.result)
	}
}

// unrecorded ends a session whose records of this turn could not be written.
func (l *Loop) unrecorded(s *session, err error) {
	l.Stats.Errors.Add(1)
	for d := range s.legs {
		leg := &s.legs[d]
		leg.out = leg.out[:min(s.mark[d], len(leg.out))]
	}
	s.ran = 0
	why := decoders.Refusal{
		Rule:   "record",
		Reason: fmt.Sprintf("agentd cannot record this session: %v", err),
		Hint:   "Nothing runs unrecorded. Ask the operator of this node to run `agentctl status`.",
	}
	if s.closing { // what it was to be told was among what is dropped
		if s.edge {
			s.legs[decoders.FromClient].push(s.Decoder.Abort(why))
		}
		l.flush(s)
		return
	}
	l.abort(s, why, s.edge)
}

// expire ends sessions whose client takes too long to read its goodbye, and
// those with a request that goes on beyond all limits.
func (l *Loop) expire() {
	for _, s := range l.sessions {
		switch {
		case s == nil:
		case s.closing && l.now.After(s.deadline):
			l.end(s, s.reason)
		case !s.closing && s.clock.over(l.now):
			l.abort(s, s.clock.refusal(), s.atEdge())
		}
	}
}

// stopped reports whether the loop has nothing left to do, ever.
func (l *Loop) stopped() bool {
	if l.live > 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopping != nil && len(l.arrivals) == 0
}
