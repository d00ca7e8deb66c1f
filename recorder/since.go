package recorder

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// since has the verification begin with the last segment that begins before
// opts.Since or opts.SinceCheckpoint. What is before it is not read: the header
// of the segment says what hashes it has, and the next checkpoint whether that
// is so.
func (v *verification) since(opts *VerifyOptions) error {
	if opts.Since.IsZero() && opts.SinceCheckpoint == nil {
		return nil
	}
	var size int64
	if opts.SinceCheckpoint != nil {
		c, err := v.notes.ring.open(opts.SinceCheckpoint)
		if err != nil {
			return fmt.Errorf("the checkpoint to begin with: %w", err)
		}
		size = c.Size
		v.notes.elsewhere = append(v.notes.elsewhere, waiting{checkpoint: c, elsewhere: true})
		v.notes.sort()
	}
	numbers := v.walk.numbers
	for i := len(numbers) - 1; i > 0; i-- {
		before, first, err := v.walk.begins(numbers[i])
		if err != nil {
			return err
		}
		if before == nil || opts.SinceCheckpoint != nil && before.tree.size > size ||
			opts.SinceCheckpoint == nil && (first.IsZero() || first.After(opts.Since)) {
			continue
		}
		v.begin(before, numbers[i])
		return v.walk.leaveOut(i)
	}
	return nil
}

// begin sets the log to what a segment's header says of what is before it.
func (v *verification) begin(before *chain, number int64) {
	v.log, v.number = *before, number-1
	v.covers, v.report.From = before.tree.size, before.tree.size
	v.notes.skip = before.tree.size
	for len(v.notes.elsewhere) > 0 && v.notes.elsewhere[0].Size < before.tree.size {
		v.notes.elsewhere = v.notes.elsewhere[1:]
		v.report.Passed++
	}
}

// begins returns the log before a segment, nil if its header cannot be read,
// and the time of its first record, zero if that cannot.
func (w *walk) begins(number int64) (*chain, time.Time, error) {
	seg, err := w.from.open(number)
	if unreadable(err) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	defer seg.close()
	if seg.foot != nil { // which is bound to the log, or agrees with its records
		return &seg.before, seg.foot.First, nil
	}
	payload, _, err := seg.next()
	if err == io.EOF || errors.Is(err, errTorn) || errors.Is(err, errDamaged) || errors.Is(err, errLink) {
		return &seg.before, time.Time{}, nil // the walk says what is wrong
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	return &seg.before, momentOf(payload), nil
}

// leaveOut leaves out the first n segments.
func (w *walk) leaveOut(n int) error {
	for _, number := range w.numbers[:n] {
		stat, err := os.Stat(filepath.Join(w.from.dir, segmentName(number)))
		if err != nil {
			return err
		}
		w.total -= stat.Size()
	}
	w.numbers = w.numbers[n:]
	return nil
}
