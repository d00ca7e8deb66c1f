package recorder

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A disk is what waits until records are not only in the file but on the disk.
// Whoever waits at the same time shares one fsync: the group that comes while
// one is under way gets the next.
//
// Nobody who commits ever waits for it: a commit takes the Recorder's mu, which
// is not held over an fsync.
type disk struct {
	waiting []func(error) // guarded by the Recorder's mu
	over    bool          // no group is synced any more; guarded by it, too

	// flushing is held over each fsync of segments, and by who closes them;
	// taken before mu.
	flushing sync.Mutex

	wanted  chan struct{} // told after something waits
	end     chan struct{}
	running sync.WaitGroup
}

// AwaitDisk calls done, on a goroutine of its own, once all that was committed
// before is on the disk; with an error if it may never be. Then what was
// recorded must not have effect at a target whose records are to survive the
// machine.
func (r *Recorder) AwaitDisk(done func(error)) {
	r.mu.Lock()
	over := r.disk.over
	if !over {
		r.disk.waiting = append(r.disk.waiting, done)
	}
	r.mu.Unlock()
	if over {
		go done(ErrClosed)
		return
	}
	select {
	case r.disk.wanted <- struct{}{}:
	default: // it knows already
	}
}

// syncGroups syncs, group by group, until endDisk.
func (r *Recorder) syncGroups() {
	for {
		select {
		case <-r.disk.end:
			r.syncGroup() // those that came before the end
			return
		case <-r.disk.wanted:
			r.syncGroup()
		}
	}
}

// syncGroup makes everything durable that was committed so far and tells who
// waits for that.
func (r *Recorder) syncGroup() {
	group, away, err := r.group()
	if len(group) > 0 && err == nil {
		if away != nil {
			err = away.Sync()
		} else {
			err = r.flush()
		}
	}
	if away == nil {
		r.disk.flushing.Unlock()
	}
	for _, done := range group {
		done(err)
	}
}

// group takes those who wait. The caller holds flushing afterwards, unless the
// log is another process's. While it is being handed over, the group waits.
func (r *Recorder) group() (group []func(error), away Sink, err error) {
	r.disk.flushing.Lock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.frozen {
		r.disk.flushing.Unlock() // whoever hands over closes the files
		r.awaitThaw()
		r.mu.Unlock()
		r.disk.flushing.Lock()
		r.mu.Lock()
	}
	group, r.disk.waiting = r.disk.waiting, nil
	switch {
	case r.away != nil:
		r.disk.flushing.Unlock()
		return group, r.away, nil
	case r.seg == nil:
		return group, nil, ErrClosed
	case r.fatal != nil:
		return group, nil, r.fatal
	case r.unsynced:
		return group, nil, r.broken.err
	}
	return group, nil, nil
}

// flush makes what was committed so far durable; flushing is held. When that
// fails, what the files hold is in doubt, and recording broken until they have
// been written anew.
func (r *Recorder) flush() error {
	r.mu.Lock()
	segments := append(r.retired[:len(r.retired):len(r.retired)], r.seg)
	r.mu.Unlock()
	start := time.Now()
	listed := true
	for i, s := range segments {
		if err := s.sync(i < len(segments)-1); err != nil {
			return r.doubt(fmt.Errorf("sync %s: %w", s.f.Name(), err))
		}
		listed = listed && s.listed
	}
	if !listed {
		if err := syncFolder(r.opts.Dir); err != nil {
			return r.doubt(fmt.Errorf("sync %s: %w", r.opts.Dir, err))
		}
		for _, s := range segments {
			s.listed = true
		}
	}
	r.stats.syncs.Add(1)
	r.stats.syncTime.Add(int64(time.Since(start)))
	return nil
}

// sync waits until the segment is on the disk, all of it if it is full. It need
// not wait for times, only for content and size, which takes a quarter as long
// (ext4).
func (s *segment) sync(full bool) error {
	if s.synced {
		return nil
	}
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Fdatasync(int(s.f.Fd()))
	}
	if err != nil {
		return err
	}
	s.synced = full
	return nil
}

// endDisk ends syncGroups; those who wait then, or later, are told ErrClosed
// unless what they wait for is on the disk.
func (r *Recorder) endDisk() {
	r.mu.Lock()
	r.disk.over = true
	r.mu.Unlock()
	close(r.disk.end)
	r.disk.running.Wait()
}
