package relay

import (
	"golang.org/x/sys/unix"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// A stay is a client's request that waits for people to decide. Until they
// have, nothing of that direction moves, and the decoder is not asked about it;
// the other direction goes on, and either side may hang up, which ends the wait
// and the session: nothing of the request has reached the server then, or ever
// does.
type stay struct {
	step     decoders.Step
	bytes    []byte // of the step's, those that have come
	notice   []byte // for the client, once it is between two messages
	withdraw func(why string)
}

// A stayed is a stay whose wait is over.
type stayed struct {
	session *session
	stay    *stay
}

// waits reports whether direction d stands still for people.
func (s *session) waits(d decoders.Dir) bool { return s.stay != nil && d == decoders.FromClient }

// stay begins to wait. Whoever calls keeps the bytes.
func (l *Loop) stay(s *session, step *decoders.Step, v *policy.Verdict) {
	st := &stay{step: *step, withdraw: v.Withdraw}
	if w, ok := s.Decoder.(decoders.Waiter); ok {
		st.notice = w.Waiting(decoders.Refusal{Rule: v.Rule, Reason: v.Reason, Hint: v.Hint})
	}
	s.stay = st
	s.legs[decoders.FromClient].waiting = false
	s.notify()
	s.park()
	keepAlive(s.legs[decoders.FromClient].fd)
	v.Wait(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.decided = append(l.decided, stayed{s, st})
		l.kick()
	})
}

// keep copies the n bytes of the step, data[pos:], of which the event may be a
// part: the loop needs its buffer for others. The rest of data is not kept.
func (st *stay) keep(data []byte, pos, n int) {
	if st.bytes == nil {
		st.bytes = append(make([]byte, 0, n), data[pos:pos+n]...)
	}
	ev := st.step.Event
	same := sameBytes(ev.Text, ev.Record)
	ev.Text = st.moved(ev.Text, data, pos)
	if same {
		ev.Record = ev.Text
	} else {
		ev.Record = st.moved(ev.Record, data, pos)
	}
}

// moved returns part where it is now: among the bytes that were kept, if it was
// among those of data, else where it was.
func (st *stay) moved(part, data []byte, pos int) []byte {
	from := cap(data) - cap(part)
	if len(part) == 0 || from < pos || from+len(part) > pos+len(st.bytes) || &data[from] != &part[0] {
		return part
	}
	return st.bytes[from-pos:][:len(part)]
}

func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0]
}

// notify tells the client that it waits, once.
func (s *session) notify() {
	if st := s.stay; st != nil && s.atEdge() {
		s.legs[decoders.FromClient].push(st.notice)
		st.notice = nil
	}
}

// attend looks after a client that waits, when something has come of its server.
func (l *Loop) attend(s *session) {
	if s.stay == nil {
		return
	}
	s.notify()
	s.park()
	if w, ok := s.Decoder.(decoders.Waiter); ok && w.Moot() {
		l.moot(s)
	}
}

// moot ends a wait of which nothing can come any more, so that the client can go
// on behind it.
func (l *Loop) moot(s *session) {
	st := s.stay
	v := policy.Verdict{
		Rule:   "pipeline",
		Reason: "An earlier error made the server skip this before anybody had decided.",
	}
	s.withdraw(v.Reason)
	l.hold(s)
	s.Log.Asked(&l.turn, l.now, st.step.Event, v)
	l.Stats.Verdicts[v.Outcome].Add(1)
	l.refuse(s, decoders.FromClient, v)
	client := &s.legs[decoders.FromClient]
	client.discard = true
	l.consume(s, decoders.FromClient, client.in)
}

// park has the server let go of what it holds for a request that waits.
func (s *session) park() {
	if p, ok := s.Decoder.(decoders.Parker); ok {
		out := p.Park()
		s.parked = s.parked || len(out) > 0
		s.legs[decoders.FromServer].push(out)
	}
}

// unpark takes up what was let go of.
func (s *session) unpark() {
	if p, ok := s.Decoder.(decoders.Parker); ok && s.parked {
		s.legs[decoders.FromServer].push(p.Unpark())
	}
	s.parked = false
}

// goOn judges a request again for which people have decided, or which nobody
// may decide any more. It may have to wait again.
func (l *Loop) goOn(over stayed) {
	s, st := over.session, over.stay
	if !l.lives(s) || s.stay != st {
		return
	}
	if s.syncing {
		s.decided = true
		return
	}
	s.stay = nil
	client, server := &s.legs[decoders.FromClient], &s.legs[decoders.FromServer]
	drop, err := l.ask(s, decoders.FromClient, &st.step)
	switch {
	case err != nil:
		l.Stats.Errors.Add(1)
		l.abort(s, refusal(err), s.atEdge())
		return
	case s.stay != nil:
		s.stay.bytes = st.bytes
		return
	case s.closing:
		return
	case !drop:
		server.push(st.step.Out)
		server.push(st.bytes)
	}
	client.discard = drop
	l.consume(s, decoders.FromClient, client.in)
}

// withdraw ends the wait, if there is one, for good.
func (s *session) withdraw(why string) {
	st := s.stay
	if st == nil {
		return
	}
	s.stay = nil
	if st.withdraw != nil {
		st.withdraw(why)
	}
}

// hangUp ends a session whose client has hung up while it waited. One that only
// says that it has nothing more to say counts, too: servers that look
// (client_connection_check_interval) and poolers take it for gone, and nobody
// must be asked for hours what an agent that died has wanted.
//
// It cannot be known of a client that has sent more behind the request than is
// taken of it (waitLimit, and what sockets hold): its end is behind that.
func (l *Loop) hangUp(s *session) {
	if !s.legs[decoders.FromClient].wire.ends() {
		l.lost(s, decoders.FromClient)
		return
	}
	l.end(s, "client closed while a request was held")
}

// keepAlive has the kernel find out when a client that waits is gone without a
// word; connections to servers have that from the start. One end of a socket
// pair takes none of it: beyond it, a client of the same node ends with a word.
func keepAlive(fd int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4)
}
