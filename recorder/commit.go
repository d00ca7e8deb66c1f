package recorder

import (
	"fmt"
	"time"
)

// Commit writes the records of t, in order, in one write, and empties t. When
// it returns nil they are in the file: what they are about may happen. When it
// returns an error none of them is, and what they are about must not happen.
func (r *Recorder) Commit(t *Turn) error {
	if t.records == 0 {
		return nil
	}
	r.mu.Lock()
	r.awaitThaw()
	away, err := r.away, ErrClosed
	if !r.closed && away == nil {
		err = r.commit(t)
	}
	r.mu.Unlock()
	if away != nil {
		err = r.commitAway(away, t)
	}
	t.reset()
	return err
}

// commit is Commit under mu. While recording is broken it first tries to
// record the gap.
func (r *Recorder) commit(t *Turn) error {
	if r.fatal != nil {
		r.stats.lost.Add(t.records)
		return r.fatal
	}
	if r.broken != nil && !r.resume() {
		if !t.asks && !r.unsynced && r.append(t) == nil {
			return nil // how sessions end, for which there is the reserve
		}
		r.lose(t.records)
		return r.broken.err
	}
	if err := r.append(t); err != nil {
		r.fail(err)
		r.lose(t.records)
		return r.broken.err
	}
	return nil
}

// append seals t's records and writes them. After an error the log is as it
// was before.
func (r *Recorder) append(t *Turn) error {
	if r.seg.records && r.seg.size+int64(len(t.buf)) > r.opts.SegmentBytes {
		if err := r.roll(); err != nil {
			return err
		}
	}
	was := r.log
	r.log.seal(t.buf)
	if err := r.seg.append(t.buf); err != nil {
		r.log = was
		return err
	}
	r.stats.records.Add(t.records)
	r.stats.bytes.Add(int64(len(t.buf)))
	r.stats.size.Store(r.log.tree.size)
	return nil
}

// roll ends the segment and starts the next one. The old one is synced and
// signed by the checkpointer: no fsync happens here.
func (r *Recorder) roll() error {
	next, err := createSegment(r.opts.Dir, r.seg.number+1, &r.log)
	if err != nil {
		return err
	}
	next.reserve(r.opts.SegmentBytes, r.opts.Reserve)
	r.retired = append(r.retired, r.seg)
	r.seg = next
	select {
	case r.rolled <- struct{}{}:
	default: // it knows already
	}
	return nil
}

// fail notes that recording is broken from now on.
func (r *Recorder) fail(err error) {
	r.stats.failures.Add(1)
	r.stats.broken.Store(true)
	r.broken = &gap{since: time.Now(), err: fmt.Errorf("recording does not work: %w", err)}
	r.opts.Log.Error("recording does not work: sessions are refused until it does", "err", err)
	if noSpace(err) {
		r.reserve.spend()
	}
}

func (r *Recorder) lose(records int64) {
	r.broken.lost += records
	r.stats.lost.Add(records)
}

// resume tries to record again, beginning with the gap, and reports whether
// that worked. It waits for the reserve to be free, so that recording does not
// flap at the edge of a full disk.
func (r *Recorder) resume() bool {
	if r.unsynced || r.roomToBegin() != nil {
		return false
	}
	return r.tellGap()
}

// tellGap records the gap, and with that is recording again.
func (r *Recorder) tellGap() bool {
	if err := r.seg.trim(); err != nil {
		return false
	}
	g := r.broken
	var t Turn
	gapRecord(&t, time.Now(), g)
	if err := r.append(&t); err != nil {
		return false
	}
	r.broken = nil
	r.reserve.keep()
	r.stats.broken.Store(false)
	r.opts.Log.Info("recording works again", "lost", g.lost, "since", g.since)
	return true
}
