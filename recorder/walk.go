package recorder

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A walk goes through the records of a folder in order. It neither trusts nor
// changes anything, and works while a recorder is writing.
type walk struct {
	dir     string
	numbers []int64 // of the segments still to be opened
	total   int64   // bytes of all segments when the walk began
	done    int64   // bytes of the segments that were left behind
	file    *os.File
	frames  *frames
	name    string
}

// A step of a walk is the start of a segment or one record.
type step struct {
	segment string
	offset  int64
	before  *chain // at a segment's start: the log before it, as the header says
	payload []byte // the record, valid until the next step
	link    link
	err     error // why the segment cannot be read, or the record cannot be right
}

// start reports whether s is the start of a segment, not a record.
func (s *step) start() bool { return s.payload == nil && s.offset == 0 }

func newWalk(dir string) (*walk, error) {
	numbers, err := segmentNumbers(dir)
	if err != nil {
		return nil, err
	}
	w := &walk{dir: dir, numbers: numbers}
	for _, n := range numbers {
		stat, err := os.Stat(filepath.Join(dir, segmentName(n)))
		if err != nil {
			return nil, err
		}
		w.total += stat.Size()
	}
	return w, nil
}

// next returns the next step, or io.EOF. What is wrong with the log is in the
// step; an error means that it could not be read.
func (w *walk) next() (step, error) {
	if w.frames == nil {
		return w.open()
	}
	s := step{segment: w.name, offset: w.frames.offset}
	payload, err := w.frames.next()
	switch {
	case err == io.EOF:
		w.leave()
		return w.open()
	case errors.Is(err, errTorn) || errors.Is(err, errDamaged):
		s.payload, s.err = payload, err
		if w.frames.lost {
			w.leave()
		}
		return s, nil
	case err != nil:
		return s, fmt.Errorf("read %s: %w", w.name, err)
	}
	s.payload = payload
	s.link, s.err = readLink(payload)
	return s, nil
}

// open opens the next segment.
func (w *walk) open() (step, error) {
	if len(w.numbers) == 0 {
		return step{}, io.EOF
	}
	s := step{segment: segmentName(w.numbers[0])}
	w.name, w.numbers = s.segment, w.numbers[1:]
	f, err := os.Open(filepath.Join(w.dir, w.name))
	if err != nil {
		return s, err
	}
	w.file = f
	frames, err := openFrames(f)
	if errors.Is(err, errShort) || errors.Is(err, errHeader) {
		w.leave()
		s.err = err
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read %s: %w", w.name, err)
	}
	w.frames = frames
	s.before = &frames.before
	return s, nil
}

// leave is done with a segment.
func (w *walk) leave() {
	if stat, err := w.file.Stat(); err == nil {
		w.done += stat.Size()
	}
	w.close()
}

// last reports whether the walk is in the last segment, or past it.
func (w *walk) last() bool { return len(w.numbers) == 0 }

// position returns how many bytes the walk has passed.
func (w *walk) position() int64 {
	if w.frames == nil {
		return w.done
	}
	return w.done + w.frames.offset
}

func (w *walk) close() {
	if w.file != nil {
		w.file.Close()
		w.file, w.frames = nil, nil
	}
}

// segmentSize is how long a segment is now.
func segmentSize(dir string, number int64) (int64, error) {
	stat, err := os.Stat(filepath.Join(dir, segmentName(number)))
	if err != nil {
		return 0, err
	}
	return stat.Size(), nil
}
