package recorder

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// A tornTail is what was cut off the end of a file.
type tornTail struct {
	File   string // its name in the folder
	Offset int64  // from where it was cut
	Bytes  int64  // how much was cut
	Aside  string // the file in the folder that keeps it
}

// found is what recovery found in a folder.
type found struct {
	last checkpoint // Size 0 if there is none
	torn []tornTail // what was cut, set aside
}

// recover reads what an earlier run left, from the last checkpoint on, and
// makes the log ready to be appended to. It changes nothing unless the log
// agrees with its last checkpoint.
func (r *Recorder) recover(verifier note.Verifier) (*found, error) {
	notes, err := openCheckpoints(r.opts.Dir)
	if err != nil {
		return nil, err
	}
	r.notes = notes
	last, whole, err := notes.last(verifier)
	if err != nil {
		return nil, evidence(r.opts.Dir, err)
	}
	scan := recovery{dir: r.opts.Dir, last: last}
	if err := scan.run(); err != nil {
		return nil, err
	}
	f := &found{last: last}
	if whole < notes.size {
		scan.cuts = append(scan.cuts, tornTail{File: checkpointsName, Offset: whole, Bytes: notes.size - whole})
	}
	for _, cut := range scan.cuts {
		if err := setAside(r.opts.Dir, &cut); err != nil {
			return nil, fmt.Errorf("set the torn tail of %s aside: %w", cut.File, err)
		}
		f.torn = append(f.torn, cut)
	}
	notes.size = whole
	r.log = scan.log
	r.seg, err = scan.open()
	return f, err
}

// evidence wraps what shows that a log is not the one that was signed.
func evidence(dir string, err error) error {
	return fmt.Errorf("%w: the recording in %s is not the one that was signed. It is evidence: "+
		"move the folder aside as it is, check it with `agentctl audit verify`, and start with an empty one", err, dir)
}

// A recovery reads the end of a log.
type recovery struct {
	dir  string
	last checkpoint

	numbers []int64    // of the segments
	log     chain      // after the last good record
	at      int64      // the segment with that record, 0 if there is none
	end     int64      // where in it that record ends
	head    int64      // where its first record begins
	form    form       // how it is written
	born    time.Time  // of its first record
	cuts    []tornTail // what follows
	strange bool       // there is a record that only a signed log can have
}

// run finds the end of the log. An error wrapped by evidence means that the
// log contradicts its last checkpoint.
func (s *recovery) run() error {
	var err error
	if s.numbers, err = segmentNumbers(s.dir); err != nil {
		return err
	}
	from, err := s.from()
	if err != nil {
		return err
	}
	for i, n := range s.numbers[from:] {
		if i > 0 && n != s.at+1 {
			return evidence(s.dir, fmt.Errorf("segment %s is missing", segmentName(s.at+1)))
		}
		whole, err := s.read(n, i == 0)
		if err != nil {
			return err
		}
		if !whole {
			if err := s.cutRest(s.numbers[from+i+1:]); err != nil {
				return err
			}
			break
		}
	}
	if s.log.tree.size < s.last.Size {
		return evidence(s.dir, fmt.Errorf("%d whole records are left of the %d that the last checkpoint covers",
			s.log.tree.size, s.last.Size))
	}
	if s.last.Size == 0 && s.strange {
		return evidence(s.dir, errors.New("there are records, but no checkpoint"))
	}
	return nil
}

// from returns the position of the last segment that begins at or before the
// last checkpoint: what is before that is not read.
func (s *recovery) from() (int, error) {
	for i := len(s.numbers) - 1; i > 0; i-- {
		seg, err := s.opener().open(s.numbers[i])
		if unreadable(err) {
			continue
		}
		if err != nil {
			return 0, err
		}
		seg.close()
		if seg.before.tree.size <= s.last.Size {
			return i, nil
		}
	}
	return 0, nil
}

// read reads a segment up to its first record that is not whole; false if
// there is one.
func (s *recovery) read(number int64, first bool) (whole bool, err error) {
	name := segmentName(number)
	seg, err := s.opener().open(number)
	if errors.Is(err, errShort) || errors.Is(err, errHeader) {
		stat, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil {
			return false, err
		}
		s.cuts = append(s.cuts, tornTail{File: name, Bytes: stat.Size()})
		return false, nil
	}
	if unreadable(err) { // it was whole before it took its name
		return false, evidence(s.dir, fmt.Errorf("segment %s: %w", name, err))
	}
	if err != nil {
		return false, err
	}
	defer seg.close()
	if first {
		if seg.before.tree.size > s.last.Size {
			return false, evidence(s.dir, fmt.Errorf("the segments before %s are missing", name))
		}
		s.log = seg.before
	} else if !seg.before.equals(&s.log) {
		if seg.before.tree.size > s.log.tree.size && s.log.tree.size >= s.last.Size {
			s.cuts = append(s.cuts, tornTail{File: name, Bytes: seg.size})
			return false, nil // the end of the segment before did not reach the disk
		}
		return false, evidence(s.dir, fmt.Errorf("segment %s does not continue the one before it", name))
	}
	s.at, s.form, s.head, s.born = number, seg.form, seg.head, time.Time{}
	whole, err = s.records(seg, name)
	if whole { // perhaps it only was in the page cache, and a checkpoint will cover it
		err = errors.Join(err, seg.file.Sync())
	}
	return whole, err
}

func (s *recovery) opener() *opener { return &opener{dir: s.dir} }

func (s *recovery) records(seg *opened, name string) (whole bool, err error) {
	for {
		if err := s.check(); err != nil {
			return false, err
		}
		s.end = seg.place()
		payload, l, err := seg.next()
		if err == io.EOF {
			return true, nil
		}
		if seg.form == plainForm && (errors.Is(err, errTorn) || errors.Is(err, errDamaged)) {
			s.cuts = append(s.cuts, tornTail{File: name, Offset: s.end, Bytes: seg.size - s.end})
			return false, nil
		}
		if err != nil && !errors.Is(err, errLink) && !errors.Is(err, errDamaged) {
			return false, err
		}
		if err == nil && !l.follows(&s.log) {
			err = errors.New("it does not follow the record before it")
		}
		if err != nil { // whole, with the right checksum: no crash does that
			return false, evidence(s.dir, fmt.Errorf("record %d in %s at byte %d: %w",
				s.log.tree.size, name, s.end, err))
		}
		s.log.add(l.leaf)
		if payload == nil {
			s.strange = true
			continue
		}
		if s.born.IsZero() {
			s.born = timeOf(payload)
		}
		if kind := recordType(payload[1:]); kind != "start" && kind != "recovered" {
			s.strange = true
		}
	}
}

// check compares the log with the last checkpoint when it has come to it.
func (s *recovery) check() error {
	if s.last.Size == 0 || s.log.tree.size != s.last.Size || s.log.tree.root() == s.last.Root {
		return nil
	}
	return evidence(s.dir, fmt.Errorf("the first %d records are not those of the last checkpoint", s.last.Size))
}

// cutRest plans to set aside the segments after a torn one.
func (s *recovery) cutRest(numbers []int64) error {
	for _, n := range numbers {
		stat, err := os.Stat(filepath.Join(s.dir, segmentName(n)))
		if err != nil {
			return err
		}
		s.cuts = append(s.cuts, tornTail{File: segmentName(n), Bytes: stat.Size()})
	}
	return nil
}

// open returns the segment to append to.
func (s *recovery) open() (*segment, error) {
	if s.at == 0 || s.form != plainForm {
		return createSegment(s.dir, s.at+1, &s.log)
	}
	f, err := os.OpenFile(filepath.Join(s.dir, segmentName(s.at)), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &segment{f: f, number: s.at, size: s.end, records: s.end > s.head, born: s.born}, nil
}

// setAside moves the end of a file into a file of its own, which it names in
// cut.
func setAside(dir string, cut *tornTail) error {
	path := filepath.Join(dir, cut.File)
	aside, err := freeName(fmt.Sprintf("%s.%d.torn", path, cut.Offset))
	if err != nil {
		return err
	}
	cut.Aside = filepath.Base(aside)
	if cut.Offset == 0 && cut.File != checkpointsName { // that one is open
		return errors.Join(os.Rename(path, aside), syncFolder(dir))
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := writeFile(aside, io.NewSectionReader(f, cut.Offset, cut.Bytes), 0o600); err != nil {
		return err
	}
	return errors.Join(f.Truncate(cut.Offset), f.Sync())
}

// freeName returns path, or path with a number, whichever is not taken.
func freeName(path string) (string, error) {
	for i, name := 0, path; ; i++ {
		if _, err := os.Lstat(name); errors.Is(err, os.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
		name = fmt.Sprintf("%s.%d", path, i+1)
	}
}
