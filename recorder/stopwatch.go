package recorder

import "time"

const (
	minPending = 8
	maxPending = 4096 // requests without an outcome that are timed; older ones are forgotten
)

// A stopwatch remembers when requests began until their outcome comes. It
// relies on outcomes coming in the order of their requests: what was not
// answered when a later one is will never be.
type stopwatch struct {
	ring     []began // by seq modulo its length, which is a power of two
	answered uint64  // everything up to this seq is over
}

type began struct {
	seq uint64
	at  time.Time
}

// begin notes that seq begins now.
func (s *stopwatch) begin(seq uint64, now time.Time) {
	if len(s.ring) == 0 {
		s.ring = make([]began, minPending)
	}
	for s.place(seq).seq > s.answered && len(s.ring) < maxPending {
		s.grow()
	}
	*s.place(seq) = began{seq, now}
}

// end returns how long seq took; false if it is not known.
func (s *stopwatch) end(seq uint64, now time.Time) (time.Duration, bool) {
	if len(s.ring) == 0 || s.place(seq).seq != seq || seq <= s.answered {
		return 0, false
	}
	s.answered = seq
	return now.Sub(s.place(seq).at), true
}

func (s *stopwatch) place(seq uint64) *began { return &s.ring[seq&uint64(len(s.ring)-1)] }

func (s *stopwatch) grow() {
	old := s.ring
	s.ring = make([]began, 2*len(old))
	for _, b := range old {
		if b.seq > s.answered {
			*s.place(b.seq) = b
		}
	}
}
