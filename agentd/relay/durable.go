package relay

import (
	"time"

	"agentd.dev/decoders"
)

// A batch is the sessions whose records of one turn are in the file, and have to
// be on the disk before what waits for them goes out.
type batch struct {
	sessions []*session
	asked    int64 // events of theirs in that turn
	since    time.Time
	err      error
}

// awaitDisk lets go of sessions until what was committed is on the disk. Nothing of
// theirs moves meanwhile: what comes is read and kept. Others go on.
func (l *Loop) awaitDisk(b *batch) {
	for _, s := range b.sessions {
		s.syncing = true
	}
	l.rec.AwaitDisk(func(err error) {
		b.err = err
		l.mu.Lock()
		defer l.mu.Unlock()
		l.synced = append(l.synced, b)
		l.kick()
	})
}

// goOut sends what waited for the disk, and goes on with what has come since.
// It fails closed, as commit does.
func (l *Loop) goOut(b *batch) {
	for _, s := range b.sessions {
		s.held, s.syncing = false, false
		switch {
		case !l.lives(s):
		case b.err != nil:
			l.unrecorded(s, b.err)
		default:
			l.catchUp(s)
		}
	}
	if b.asked > 0 {
		l.Stats.took(b.asked, time.Since(b.since))
	}
}

// catchUp sends what s held, and goes on with what has happened since.
func (l *Loop) catchUp(s *session) {
	for d := range s.legs {
		s.legs[d].flush()
	}
	if s.decided && s.stay != nil {
		l.goOn(stayed{s, s.stay})
	}
	s.decided = false
	for d := range s.legs {
		leg := &s.legs[d]
		idle := len(leg.in) == 0 || leg.study || leg.waiting || s.waits(decoders.Dir(d))
		if !idle && l.lives(s) && !s.closing {
			l.consume(s, decoders.Dir(d), leg.in)
		}
	}
	l.stir(s)
}
