package recorder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// anewSuffix names the files that segments are written into anew.
const anewSuffix = ".anew"

// doubt notes that an fsync failed, and returns why recording does not work.
//
// The kernel says once that it could not write something, and may have dropped
// it; a second fsync would succeed and mean nothing. So what is not known to be
// on the disk has to be written into new files: see writeAnew. Until then
// nothing is recorded.
func (r *Recorder) doubt(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken == nil {
		r.fail(err)
	}
	r.unsynced = true
	return r.broken.err
}

// writeAnew tries to write the segments in doubt into new files that take their
// places, and syncs those. What it reads must be, to the byte, what was
// committed: else that is lost, and recording works no more before a restart,
// which says what is left.
func (r *Recorder) writeAnew() {
	r.disk.flushing.Lock()
	defer r.disk.flushing.Unlock()
	r.mu.Lock() // nothing is committed while there is doubt: these stay as they are
	segments, log := append(r.retired[:len(r.retired):len(r.retired)], r.seg), r.log
	r.mu.Unlock()
	fresh, err := r.copies(segments, &log)
	if err != nil {
		closeAll(fresh)
		if errors.Is(err, errAltered) {
			r.mu.Lock()
			r.fatal = fmt.Errorf("recording does not work before a restart: %w", err)
			r.mu.Unlock()
		}
		r.opts.Log.Warn("what could not be synced was not written anew either: tried again", "err", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range segments {
		s.f.Close()
		s.f, s.listed, s.synced = fresh[i], true, i < len(segments)-1
	}
	r.unsynced = false
	r.opts.Log.Info("what could not be synced was written anew", "files", len(segments))
}

// errAltered says that what was committed cannot be read any more.
var errAltered = errors.New("what could not be synced is not in the file either")

// copies writes segments that together end as log does into new files, which
// are on the disk in their places when it returns nil.
func (r *Recorder) copies(segments []*segment, log *chain) (fresh []*os.File, err error) {
	var end chain
	for i, s := range segments {
		content := make([]byte, s.size)
		if _, err := s.f.ReadAt(content, 0); err != nil {
			return fresh, fmt.Errorf("read %s: %w", s.f.Name(), err)
		}
		before, after, err := between(content)
		if err != nil {
			return fresh, fmt.Errorf("%w: %s: %w", errAltered, s.f.Name(), err)
		}
		if i > 0 && !before.equals(&end) {
			return fresh, errAltered
		}
		end = after
		f, err := os.OpenFile(r.path(s)+anewSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return fresh, err
		}
		fresh = append(fresh, f)
		if _, err := f.Write(content); err != nil {
			return fresh, err
		}
		if err := f.Sync(); err != nil {
			return fresh, err
		}
	}
	if !end.equals(log) {
		return fresh, errAltered
	}
	for i, s := range segments { // each holds what it replaces: any of them may fail
		if err := os.Rename(fresh[i].Name(), r.path(s)); err != nil {
			return fresh, err
		}
	}
	return fresh, syncFolder(r.opts.Dir)
}

// between returns the log before and after the records of a segment, which must
// all be whole.
func between(content []byte) (before, after chain, err error) {
	frames, err := openFrames(bytes.NewReader(content))
	if err != nil {
		return before, after, err
	}
	before, after = frames.before, frames.before
	for {
		payload, err := frames.frame()
		if err == io.EOF {
			return before, after, nil
		}
		if err != nil {
			return before, after, err
		}
		l, err := readLink(payload)
		if err != nil {
			return before, after, err
		}
		if !l.follows(&after) {
			return before, after, errLink
		}
		after.add(l.leaf)
	}
}

func (r *Recorder) path(s *segment) string { return filepath.Join(r.opts.Dir, segmentName(s.number)) }

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
