package recorder

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// run signs a checkpoint whenever there is something new, until Close, and
// tries to record again when recording is broken and nobody commits.
func (r *Recorder) run() {
	tick := time.NewTicker(r.opts.Interval)
	defer tick.Stop()
	if r.opts.Seal {
		var keeping sync.WaitGroup
		keeping.Go(func() { r.keep(r.stop) })
		defer keeping.Wait()
	}
	beat := beat{at: time.Now()}
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
		case <-r.rolled:
		}
		r.mu.Lock()
		doubtful := r.unsynced
		r.mu.Unlock()
		if doubtful {
			r.writeAnew()
		}
		r.mu.Lock()
		if r.broken != nil && r.fatal == nil {
			r.resume()
		}
		if !r.reserve.kept && r.roomToBegin() == nil {
			r.reserve.keep()
		}
		r.rollOld(time.Now())
		beat.due(r, time.Now())
		r.mu.Unlock()
		if err := r.checkpoint(); err != nil {
			r.stats.failures.Add(1)
			r.opts.Log.Error("no checkpoint could be signed", "err", err)
		}
	}
}

// A beat knows since when no record was made.
type beat struct {
	size int64
	at   time.Time
}

// due makes a record if there was none for a heartbeat; mu is held. A heartbeat
// that cannot be recorded is not made up for: nothing depends on it.
func (b *beat) due(r *Recorder, now time.Time) {
	if size := r.log.tree.size; size != b.size {
		b.size, b.at = size, now
		return
	}
	if r.opts.Heartbeat <= 0 || now.Sub(b.at) < r.opts.Heartbeat || r.broken != nil || r.fatal != nil {
		return
	}
	var t Turn
	heartbeatRecord(&t, now)
	if err := r.commit(&t); err == nil {
		b.size, b.at = r.log.tree.size, now
	}
}

// Latest returns the last checkpoint that this process has signed and made
// durable, nil before the first. It costs whoever records nothing.
func (r *Recorder) Latest() []byte {
	if signed := r.latest.Load(); signed != nil {
		return *signed
	}
	return nil
}

// checkpoint makes all records durable and signs them, if some are new.
func (r *Recorder) checkpoint() error {
	r.signing.Lock()
	defer r.signing.Unlock()
	return r.sign(nil)
}

// sign is checkpoint with signing held. Next is the key that the log is handed
// on to, nil if it is not.
func (r *Recorder) sign(next *newKey) error {
	r.mu.Lock()
	tree, retired, err := r.log.tree, r.retired, r.fatal
	if err == nil && r.unsynced {
		err = r.broken.err
	}
	r.mu.Unlock()
	if err != nil {
		return err
	}
	if tree.size == r.stats.signed.Load() {
		return nil
	}
	if err := r.sync(retired); err != nil {
		return err
	}
	c, signers := checkpoint{Origin: r.opts.Node, Size: tree.size, Root: tree.root()}, []note.Signer{r.signer}
	if next != nil {
		c.Next, signers = next.verifying, append(signers, next.signer)
	}
	signed, err := c.sign(signers...)
	if err != nil {
		return fmt.Errorf("sign checkpoint: %w", err)
	}
	err = r.notes.append(signed)
	if noSpace(err) {
		r.mu.Lock()
		r.reserve.spend()
		r.mu.Unlock()
		err = r.notes.append(signed)
	}
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	r.latest.Store(&signed)
	r.stats.signed.Store(tree.size)
	r.stats.checkpoints.Add(1)
	return nil
}

// sync waits until all that was committed is on the disk, and is done with the
// retired segments; signing is held.
func (r *Recorder) sync(retired []*segment) error {
	r.disk.flushing.Lock()
	defer r.disk.flushing.Unlock()
	if err := r.flush(); err != nil {
		return err
	}
	r.mu.Lock()
	r.retired = r.retired[len(retired):]
	r.mu.Unlock()
	for _, s := range retired {
		s.trim() // gives space back; the segment is whole without
		s.f.Close()
	}
	if len(retired) > 0 {
		select {
		case r.ended <- struct{}{}:
		default: // it knows already
		}
	}
	return nil
}
