package relay

import "sync/atomic"

// A Wire belongs to a descriptor that is not a peer's own connection but one
// end of a socket pair, beyond which somebody moves bytes to the peer, as for
// TLS. A socket pair ends in good order only: here both sides say when an end
// is none. A nil Wire is a peer's own connection.
type Wire struct {
	broken, reset atomic.Bool
	reason        atomic.Pointer[string]
}

// Break says, before the far end is closed, that the peer's bytes do not end
// there but were cut off. The reason is the peer's own, "" if it gave none.
func (w *Wire) Break(reason string) {
	if reason != "" {
		w.reason.Store(&reason)
	}
	w.broken.Store(true)
}

// Reset reports, once the loop's end is closed, whether the peer's connection
// is to be reset rather than closed.
func (w *Wire) Reset() bool { return w.reset.Load() }

// ends reports whether an end of what is read is the peer's.
func (w *Wire) ends() bool { return w == nil || !w.broken.Load() }

// why is the reason that the peer itself gave for breaking off, "" if none.
func (w *Wire) why() string {
	if w == nil {
		return ""
	}
	if r := w.reason.Load(); r != nil {
		return *r
	}
	return ""
}

// breakOff makes closing the leg's descriptor reset the peer's connection.
func (l *leg) breakOff() {
	if l.wire != nil {
		l.wire.reset.Store(true)
		return
	}
	Reset(l.fd)
}
