package recorder

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"
)

// A walk goes through the records of a folder in order. It neither trusts nor
// changes anything, and works while a recorder is writing.
type walk struct {
	from    opener
	numbers []int64 // of the segments still to be opened
	total   int64   // bytes of all segments when the walk began
	done    int64   // bytes of the segments that were left behind
	seg     *opened
	name    string
	again   bool // segments were listed again
}

// A step of a walk is the start of a segment or one record.
type step struct {
	segment string
	offset  int64
	before  *chain // at a segment's start: the log before it, as the header says
	payload []byte // the record, valid until the next step; nil if it is hidden
	link    link
	err     error // why the segment cannot be read, or the record cannot be right
}

// start reports whether s is the start of a segment, not a record.
func (s *step) start() bool { return s.payload == nil && s.offset == 0 }

// hidden reports whether s is a record of which only the hash can be read.
func (s *step) hidden() bool { return s.payload == nil && s.offset > 0 && s.err == nil }

func newWalk(dir string, identities ...age.Identity) (*walk, error) {
	numbers, err := segmentNumbers(dir)
	if err != nil {
		return nil, err
	}
	w := &walk{from: opener{dir: dir, identities: identities}, numbers: numbers}
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
	if w.seg == nil {
		return w.open()
	}
	s := step{segment: w.name, offset: w.seg.place()}
	var err error
	s.payload, s.link, err = w.seg.next()
	switch {
	case err == io.EOF:
		w.leave()
		return w.open()
	case errors.Is(err, errTorn) || errors.Is(err, errDamaged) || errors.Is(err, errLink):
		s.err = err
		if w.seg.lost() {
			w.leave()
		}
	case err != nil:
		return s, fmt.Errorf("read %s: %w", w.name, err)
	}
	return s, nil
}

// open opens the next segment.
func (w *walk) open() (step, error) {
	if len(w.numbers) == 0 {
		return step{}, io.EOF
	}
	number := w.numbers[0]
	s := step{segment: segmentName(number)}
	w.name, w.numbers = s.segment, w.numbers[1:]
	seg, err := w.from.open(number)
	if unreadable(err) {
		if stat, err := os.Stat(filepath.Join(w.from.dir, w.name)); err == nil {
			w.done += stat.Size()
		}
		s.err = err
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read %s: %w", w.name, err)
	}
	w.seg = seg
	s.before = &seg.before
	return s, nil
}

// more goes on with segments that were begun meanwhile, if a file is not told of in
// those before: it may have been written while the walk went on. Once is enough.
func (w *walk) more(b *bindings) bool {
	if w.again || !b.missing() {
		return false
	}
	w.again = true
	numbers, err := segmentNumbers(w.from.dir)
	if err != nil {
		return false
	}
	for _, n := range numbers {
		if segmentName(n) > w.name {
			w.numbers = append(w.numbers, n)
		}
	}
	return len(w.numbers) > 0
}

// leave is done with a segment.
func (w *walk) leave() {
	w.done += w.seg.size
	w.close()
}

// last reports whether the walk is in the last segment, or past it.
func (w *walk) last() bool { return len(w.numbers) == 0 }

// position returns how many bytes the walk has passed.
func (w *walk) position() int64 {
	switch {
	case w.seg == nil:
		return w.done
	case w.seg.foot == nil:
		return w.done + w.seg.place()
	}
	return w.done + w.seg.size*w.seg.place()/max(1, w.seg.foot.Size)
}

func (w *walk) close() {
	if w.seg != nil {
		w.seg.close()
		w.seg = nil
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
