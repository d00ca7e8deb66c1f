package recorder

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

// A Trail proves to somebody who knows the log at one size that it has only
// grown since. It follows the log on disk: each record is read once, however
// often is asked, and no more is kept than one hash per level of the tree.
//
// It observes: it takes no lock that whoever records waits for. It belongs to
// one goroutine.
type Trail struct {
	open   opener
	from   tree    // the log as it is known
	beside proving // the subtrees beside the way from its last record to the root, as far as they are whole
	log    chain   // the log as it was read
	number int64   // of the segment that is read, 0 before the first
	seg    *opened // it, nil before the first
	offset int64   // in it, of the next record
	Read   int64   // bytes that were read so far
}

// NewTrail returns a trail of the log in dir from its first size records on. It
// reads no more than the segment that ends with them. Close it.
func NewTrail(dir string, size int64) (*Trail, error) {
	numbers, err := segmentNumbers(dir)
	if err != nil {
		return nil, err
	}
	t := &Trail{open: opener{dir: dir}}
	for i := len(numbers) - 1; i >= 0 && t.seg == nil; i-- {
		if err := t.begin(numbers[i]); err != nil {
			return nil, err
		}
		if t.log.tree.size > size {
			t.Close()
			t.log, t.number = chain{}, 0
		}
	}
	if t.seg == nil && size > 0 {
		return nil, fmt.Errorf("%w: there is no segment with record %d", errUnsound, size-1)
	}
	if err := t.follow(size); err != nil {
		t.Close()
		return nil, err
	}
	t.Knows()
	return t, nil
}

// From returns how many records the log is known to have had.
func (t *Trail) From() int64 { return t.from.size }

// Knows makes the log as it was last read the one that is known.
func (t *Trail) Knows() {
	t.from = t.log.tree
	t.beside = proving{wanted: map[int64]tlog.Hash{}, tree: t.from}
	for level := 0; t.from.size > 0 && level < maxLevels; level++ {
		if n := (t.from.size - 1) >> level; n&1 == 0 {
			t.beside.wanted[tlog.StoredHashIndex(level, n+1)] = tlog.Hash{}
		}
	}
}

// errOtherLog is a log on disk that is not the one that was signed.
var errOtherLog = errors.New("the log on disk is not the one that was signed: run `agentctl audit verify`")

// Proof returns the proof of RFC 6962, section 2.1.2, that the log that this
// checkpoint is of begins with the records that are known. The checkpoint must
// be this node's own and newer than all before.
func (t *Trail) Proof(signed []byte) ([]tlog.Hash, error) {
	c, err := parseCheckpoint(string(signed))
	if err != nil {
		return nil, err
	}
	if c.Size < t.from.size {
		return nil, fmt.Errorf("%w: the checkpoint is of %d records, fewer than the %d that are known", errOtherLog, c.Size, t.from.size)
	}
	if err := t.follow(c.Size); err != nil {
		return nil, err
	}
	if t.log.tree.root() != c.Root {
		return nil, errOtherLog
	}
	if t.from.size == 0 || t.from.size == c.Size {
		return nil, nil
	}
	return tlog.ProveTree(c.Size, t.from.size, tlog.HashReaderFunc(t.hashes))
}

// hashes implements tlog.HashReader: a proof has subtrees of the log as it is
// known, subtrees beside those, and at its end subtrees of the log as it is.
func (t *Trail) hashes(indexes []int64) ([]tlog.Hash, error) {
	all := make([]tlog.Hash, 0, len(indexes))
	for _, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		end := (n + 1) << level
		switch {
		case t.from.size>>level == n+1 && t.from.size>>level&1 == 1:
			all = append(all, t.from.roots[level])
		case t.log.tree.size>>level == n+1 && t.log.tree.size>>level&1 == 1:
			all = append(all, t.log.tree.roots[level])
		default:
			hash, ok := t.beside.wanted[index]
			if !ok || end > t.log.tree.size {
				return nil, fmt.Errorf("no hash of the %d records that end at %d", int64(1)<<level, end)
			}
			all = append(all, hash)
		}
	}
	return all, nil
}

// follow reads on until size records were read. They must be on the disk.
func (t *Trail) follow(size int64) error {
	for t.log.tree.size < size {
		if t.seg == nil {
			if err := t.begin(t.number + 1); err != nil {
				return err
			}
		}
		more, err := t.segment(size)
		if err != nil {
			return err
		}
		if more { // it has ended
			t.Close()
		}
	}
	return nil
}

// segment reads on in one segment, and reports whether it ended before size.
func (t *Trail) segment(size int64) (ended bool, err error) {
	var from source = t.seg
	if t.seg.form == plainForm { // what is beyond is being written: nothing is read ahead and kept
		r := io.NewSectionReader(t.seg.file, t.offset, 1<<62)
		from = &frames{r: bufio.NewReaderSize(r, 256<<10), offset: t.offset}
	}
	defer func() { t.Read += from.place() - t.offset; t.offset = from.place() }()
	for t.log.tree.size < size {
		_, l, err := from.next()
		if err == io.EOF {
			return true, nil
		}
		if err != nil && !errors.Is(err, errLink) {
			return false, fmt.Errorf("%w: %s at byte %d: %v", errUnsound, segmentName(t.number), from.place(), err)
		}
		if err != nil || !l.follows(&t.log) {
			return false, fmt.Errorf("%w: record %d does not follow the one before it", errUnsound, t.log.tree.size)
		}
		t.log.add(l.leaf)
		if t.beside.wanted != nil {
			t.beside.add(l.leaf)
		}
	}
	return false, nil
}

// begin opens a segment, which must go on from what was read unless it is the
// first that is.
func (t *Trail) begin(number int64) error {
	seg, err := t.open.open(number)
	if err != nil {
		return fmt.Errorf("read %s: %w", segmentName(number), err)
	}
	if t.number > 0 && !seg.before.equals(&t.log) {
		seg.close()
		return fmt.Errorf("%w: %s does not continue the one before it", errUnsound, segmentName(number))
	}
	if t.number == 0 {
		t.log = seg.before
	}
	t.seg, t.number, t.offset = seg, number, seg.head
	t.Read += t.offset
	return nil
}

// Close is done with the trail's file.
func (t *Trail) Close() {
	if t.seg != nil {
		t.seg.close()
		t.seg = nil
	}
}
