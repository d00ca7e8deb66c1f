package relay

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/decoders"
	"agentd.dev/recorder"
)

// A session is a Session while the loop works on it.
type session struct {
	*Session
	slot int32
	legs [2]leg // by the direction of what is read from them

	held bool   // bytes wait in out for this turn's commit
	mark [2]int // how long each out was when held was set
	edge bool   // atEdge at that moment

	syncing bool // what holds is in the file, and not known to be on the disk
	decided bool // the stay is over, and syncing came before

	ran    uint64 // the newest request that was let through
	clock  clock  // of the requests that run
	stay   *stay  // what the client waits for, nil if for nobody
	parked bool   // the server was told to let go of what it held for that

	closing  bool // the client reads why its session ended; nothing else moves
	deadline time.Time
	reason   string
	result   recorder.End
}

func newSession(s *Session) *session {
	return &session{Session: s, legs: [2]leg{{fd: s.Client, wire: s.Wires[0]}, {fd: s.Server, wire: s.Wires[1]}}}
}

// atEdge reports whether the client has been sent whole messages only.
func (s *session) atEdge() bool {
	server := &s.legs[decoders.FromServer]
	return server.rest == 0 || server.discard
}

// interest returns what epoll should watch the leg of direction d for.
func (s *session) interest(d decoders.Dir) uint32 {
	leg, other := &s.legs[d], &s.legs[d.Other()]
	var want uint32
	stuck := len(other.out) > 0 || len(leg.out) > waitLimit || (leg.waiting || leg.study || s.syncing || s.waits(d)) && len(leg.in) >= waitLimit
	if !leg.eof && (s.closing || !stuck) {
		want |= unix.EPOLLIN
	}
	if len(leg.out) > 0 && !s.held {
		want |= unix.EPOLLOUT
	}
	if s.waits(d) {
		want |= unix.EPOLLRDHUP // also behind what is not read
	}
	if want == 0 {
		// epoll reports a hang-up whether asked or not; one that nothing
		// can be done about yet must not be reported again and again.
		want = unix.EPOLLET
	}
	return want
}

// said reports whether all that the peer in direction d will ever say has
// been sent on. Bytes that wait for the other direction do so in vain once
// nothing more comes from there.
func (s *session) said(d decoders.Dir) bool {
	src, other := &s.legs[d], &s.legs[d.Other()]
	return src.over() && !s.waits(d) && (!src.waiting || other.over()) && len(other.out) == 0
}

// hold makes what is sent from here on wait for the turn's commit.
func (l *Loop) hold(s *session) {
	if s.held {
		return
	}
	s.held = true
	s.mark = [2]int{len(s.legs[0].out), len(s.legs[1].out)}
	s.edge = s.atEdge()
	l.held = append(l.held, s)
}

// readable reads what has come in one direction and moves it on. Gone says
// that the peer reset the connection.
func (l *Loop) readable(s *session, d decoders.Dir, gone bool) {
	src := &s.legs[d]
	switch {
	case src.eof && gone:
		l.lost(s, d)
		return
	case src.eof, !gone && src.events&unix.EPOLLIN == 0:
		return // closed both ways: known, or to be read when there is room
	}
	data, eof, err := l.fill(s, d)
	switch {
	case err != nil, eof && !src.wire.ends():
		l.lost(s, d)
	case s.closing:
		src.in = nil
		if eof {
			l.end(s, s.reason)
		}
	default:
		src.eof = eof
		if s.syncing {
			src.leave(data, 0)
			l.watch(s)
			return
		}
		if src.study || s.waits(d) { // data begins with what the study is for
			src.leave(data, 0)
			l.stir(s)
			return
		}
		l.consume(s, d, data)
	}
}

// lost ends a session because the peer in direction d reset its connection,
// which is passed on.
func (l *Loop) lost(s *session, d decoders.Dir) {
	if s.closing {
		l.end(s, s.reason)
		return
	}
	reason := s.legs[d].wire.why()
	if reason != "" && d == decoders.FromServer && s.atEdge() {
		l.abort(s, decoders.Refusal{
			Rule:   "tls",
			Reason: "The server ended TLS: " + reason,
			Hint:   "If it is about a certificate, it is the one that the target's `tls` gives as `cert`.",
		}, true)
		return
	}
	if reason != "" {
		reason = ": " + reason
	}
	s.legs[d.Other()].breakOff()
	l.end(s, d.String()+" reset"+reason)
}

// fill reads once in direction d and returns everything there that is not
// consumed yet: in the loop's own buffer if it has room for it, else in the
// leg's. The caller has to leave what it does not use.
func (l *Loop) fill(s *session, d decoders.Dir) (data []byte, eof bool, err error) {
	src := &s.legs[d]
	buf, have := l.buf, len(src.in)
	if have > readSize/2 {
		if cap(src.in)-have < max(512, have/4) {
			src.in = append(make([]byte, 0, 2*have+keepBuffer), src.in...)
		}
		buf = src.in[:cap(src.in)]
	} else { // often the front of a row: what comes behind it is read as much at once as ever
		copy(buf, src.in)
		src.in = src.in[:0]
	}
	n, eof, err := read(src.fd, buf[have:])
	src.total += int64(n)
	l.Stats.Bytes[d].Add(int64(n))
	if len(src.in) > 0 {
		src.in = src.in[:have+n]
	}
	return buf[:have+n], eof, err
}

// consume lets the decoder say what becomes of data, in direction d, and then
// of whatever in the other direction had to wait for that.
func (l *Loop) consume(s *session, d decoders.Dir, data []byte) {
	for {
		used, err := l.pump(s, d, data)
		s.legs[d].leave(data, used)
		if err != nil {
			l.Stats.Errors.Add(1)
			l.abort(s, refusal(err), s.atEdge())
		}
		other := &s.legs[d.Other()]
		if s.closing || used == 0 || !other.waiting {
			break
		}
		other.waiting = false
		d, data = d.Other(), other.in
	}
	l.attend(s)
	l.stir(s)
}

// stir flushes a session that goes on and waits for no record.
func (l *Loop) stir(s *session) {
	if !s.held && l.lives(s) {
		l.flush(s)
	}
}

// refusal is what a client is told of a decoder's error.
func refusal(err error) decoders.Refusal {
	var r decoders.Refusal
	if errors.As(err, &r) {
		return r
	}
	return decoders.Refusal{
		Rule:   "protocol",
		Reason: "agentd ended the session: " + err.Error(),
		Hint:   "What is not understood is not let through.",
	}
}

// flush sends what is queued, passes on that a peer has said all it will, and
// ends the session when that is true of both.
func (l *Loop) flush(s *session) {
	client, server := &s.legs[decoders.FromClient], &s.legs[decoders.FromServer]
	client.flush()
	if s.closing {
		l.flushGoodbye(s, client)
		return
	}
	server.flush()
	for d := range s.legs {
		if leg := &s.legs[d]; leg.eof && leg.gone {
			l.lost(s, decoders.Dir(d))
			return
		}
	}
	switch c, v := s.said(decoders.FromClient), s.said(decoders.FromServer); {
	case s.stay != nil && client.eof:
		l.hangUp(s)
		return
	case s.stay != nil && v: // what is held can never run
		l.dismiss(s, "server closed")
		return
	case c && v && client.shut:
		l.end(s, "server closed")
		return
	case c && v:
		l.end(s, parting(s.Decoder))
		return
	case c:
		server.closeWrite()
	case v:
		client.closeWrite()
	}
	l.watch(s)
}

// parting is the reason for which a client closed its connection.
func parting(d decoders.Decoder) string {
	if p, ok := d.(decoders.Parter); ok && p.Parting() != "" {
		return "client closed: " + p.Parting()
	}
	return "client closed"
}

// flushGoodbye waits, once all is sent, for the client to hang up: closing
// with unread bytes would reset the connection and could lose the goodbye.
func (l *Loop) flushGoodbye(s *session, client *leg) {
	if len(client.out) == 0 {
		if client.eof {
			l.end(s, s.reason)
			return
		}
		client.closeWrite()
	}
	l.watch(s)
}

// abort ends a session for agentd's own reasons. The client is told r if it
// is between two messages (edge); the server just loses its client.
func (l *Loop) abort(s *session, r decoders.Refusal, edge bool) {
	if s.closing {
		return
	}
	if edge {
		s.legs[decoders.FromClient].push(s.Decoder.Abort(r))
	}
	l.dismiss(s, r.Reason)
}

// dismiss lets the client read what is queued for it, and nothing more happen.
func (l *Loop) dismiss(s *session, reason string) {
	s.withdraw(reason)
	s.closing, s.reason, s.deadline = true, reason, l.now.Add(goodbye)
	server := &s.legs[decoders.FromServer]
	unix.Close(server.fd)
	*server = leg{fd: -1, eof: true, total: server.total}
	if !s.held {
		l.flush(s)
	}
}

// end closes both sockets and queues the session's last record. Whoever hangs up
// in the midst of an answer has had what came of it.
func (l *Loop) end(s *session, reason string) {
	s.withdraw(reason)
	if e, ok := s.Decoder.(decoders.Ender); ok {
		if ev := e.Ended(); ev != nil && ev.Seq <= s.ran {
			l.tell(s, ev)
		}
	}
	for d := range s.legs {
		if s.legs[d].fd >= 0 {
			unix.Close(s.legs[d].fd)
		}
	}
	s.result = recorder.End{
		Reason:     reason,
		FromClient: s.legs[decoders.FromClient].total,
		FromServer: s.legs[decoders.FromServer].total,
		Unsent:     s.legs[decoders.FromClient].lost + int64(len(s.legs[decoders.FromClient].out)),
	}
	s.Log.End(&l.turn, l.now, s.result)
	l.sessions[s.slot] = nil
	l.free = append(l.free, s.slot)
	l.live--
	l.Stats.Sessions.Add(-1)
	l.ended = append(l.ended, s)
}
