package recorder

import (
	"fmt"
	"os"
)

// A Sink takes the records of a Recorder whose folder another process records
// in: a Remote. Append returns nil once frames are in that process's file; after
// an error none of them may have effect. Sync returns once all that was appended
// is on the disk.
type Sink interface {
	Append(frames []byte) error
	Sync() error
	Close() error
}

// HandOver gives the folder to another process. It signs what was recorded,
// closes the files and calls take with the lock of the folder, which the other
// process opens the log with (Options.Lock). Whoever commits meanwhile waits.
//
// Once take has returned, records go into the Sink, for good. If take fails,
// the other process must have closed the log, and recording goes on here.
func (r *Recorder) HandOver(take func(lock *os.File) (Sink, error)) error {
	if err := r.ready(); err != nil {
		return fmt.Errorf("hand the log over: %w", err)
	}
	r.halt()
	r.freeze()
	err := r.checkpoint()
	var sink Sink
	if err == nil {
		r.closeLog()
		if sink, err = take(r.lock); err == nil {
			r.moveTo(sink)
			return nil
		}
		err = r.reopen(err)
	}
	r.running.Go(r.run)
	r.thaw()
	return err
}

// Leave stops recording as Close does, but leaves the log as one that goes on:
// another process has it, or is given it back.
func (r *Recorder) Leave() error {
	r.mu.Lock()
	away := r.away != nil
	r.mu.Unlock()
	if away {
		return r.Close()
	}
	r.halt()
	r.freeze()
	err := r.checkpoint()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.thaw()
	r.dismiss()
	r.taking.Wait()
	r.endDisk()
	r.closeFiles()
	return err
}

// moveTo makes every record go into sink from now on.
func (r *Recorder) moveTo(sink Sink) {
	r.mu.Lock()
	r.away = sink
	r.mu.Unlock()
	r.thaw()
	r.dismiss()
	r.lock.Close()
}

// reopen goes on in the folder after a handover failed because of why. If that
// does not work either, recording does not work before a restart.
func (r *Recorder) reopen(why error) error {
	if err := r.start(); err != nil {
		r.mu.Lock()
		r.fatal = fmt.Errorf("recording does not work before a restart: open the log again: %w", err)
		r.mu.Unlock()
		r.stats.broken.Store(true)
	}
	return why
}

// halt ends the goroutine that signs checkpoints.
func (r *Recorder) halt() {
	close(r.stop)
	r.running.Wait()
	r.stop = make(chan struct{})
}

// freeze makes everyone who commits wait for thaw.
func (r *Recorder) freeze() {
	r.mu.Lock()
	r.frozen = true
	r.mu.Unlock()
}

func (r *Recorder) thaw() {
	r.mu.Lock()
	r.frozen = false
	r.mu.Unlock()
	r.thawed.Broadcast()
}

// awaitThaw returns when nothing is being handed over. The caller holds mu.
func (r *Recorder) awaitThaw() {
	for r.frozen {
		r.thawed.Wait()
	}
}

// commitAway is Commit where the log is another process's.
func (r *Recorder) commitAway(sink Sink, t *Turn) error {
	if err := sink.Append(t.buf); err != nil {
		r.stats.failures.Add(1)
		r.stats.lost.Add(t.records)
		return fmt.Errorf("recording does not work: %w", err)
	}
	r.stats.records.Add(t.records)
	r.stats.bytes.Add(int64(len(t.buf)))
	return nil
}
