package relay

import "agentd.dev/decoders"

// A studied is a direction of a session whose study has returned.
type studied struct {
	session *session
	dir     decoders.Dir
}

// study runs f beside the loop. Until it has returned, nothing of direction d
// moves and the decoder is not asked about it; the rest of the session goes on,
// and may end.
func (l *Loop) study(s *session, d decoders.Dir, f func()) {
	s.legs[d].study, s.legs[d].waiting = true, false
	l.studies.Go(func() {
		f()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.studied = append(l.studied, studied{s, d})
		l.kick()
	})
}

// resume shows the decoder the bytes that a study was for again, unless the
// session has ended meanwhile. Its slot may belong to another by now, which is
// why sessions are told apart by themselves.
func (l *Loop) resume(st studied) {
	s, leg := st.session, &st.session.legs[st.dir]
	if !l.lives(s) || s.closing {
		return
	}
	leg.study = false
	if s.syncing {
		return // then it goes on
	}
	l.consume(s, st.dir, leg.in)
}
