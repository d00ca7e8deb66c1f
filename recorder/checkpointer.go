package recorder

import (
	"fmt"
	"sync"
	"time"
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
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
		case <-r.rolled:
		}
		r.mu.Lock()
		if r.broken != nil && r.fatal == nil {
			r.resume()
		}
		r.rollOld(time.Now())
		r.mu.Unlock()
		if err := r.checkpoint(); err != nil {
			r.stats.failures.Add(1)
			r.opts.Log.Error("no checkpoint could be signed", "err", err)
		}
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
	r.mu.Lock()
	tree, current, retired, fatal := r.log.tree, r.seg, r.retired, r.fatal
	r.mu.Unlock()
	if fatal != nil {
		return fatal
	}
	if tree.size == r.stats.signed.Load() {
		return nil
	}
	if err := r.sync(current, retired); err != nil {
		return err
	}
	signed, err := checkpoint{r.opts.Node, tree.size, tree.root()}.sign(r.signer)
	if err != nil {
		return fmt.Errorf("sign checkpoint: %w", err)
	}
	if err := r.notes.append(signed); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	r.latest.Store(&signed)
	r.stats.signed.Store(tree.size)
	r.stats.checkpoints.Add(1)
	return nil
}

// sync waits until the segments are on the disk, and is done with the retired
// ones; signing is held. An fsync that fails may have dropped what it should have written, and
// a second one would not say so: only reading the files again, by a restart,
// tells what is left.
func (r *Recorder) sync(current *segment, retired []*segment) error {
	for _, s := range append(retired[:len(retired):len(retired)], current) {
		if err := s.f.Sync(); err != nil {
			err = fmt.Errorf("recording does not work before a restart: sync %s: %w", s.f.Name(), err)
			r.mu.Lock()
			r.fatal = err
			r.mu.Unlock()
			r.stats.broken.Store(true)
			return err
		}
	}
	if len(retired) > 0 {
		if err := syncFolder(r.opts.Dir); err != nil {
			return err
		}
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
