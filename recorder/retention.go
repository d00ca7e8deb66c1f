package recorder

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// A Rule empties segments: their records are deleted, their hashes stay, so that
// the log still verifies. Segments are emptied as a whole, the oldest first.
type Rule struct {
	Name  string
	After time.Duration // since the segment's last record; 0: at no age
	Keep  int64         // bytes that all segments may take; 0: any number
}

// retain empties what rules say. Numbers are the segments that have ended.
func (k *keeper) retain(numbers []int64, stopped func() bool) error {
	if len(k.r.opts.Retention) == 0 {
		return nil
	}
	all, err := k.contents(numbers)
	if err != nil {
		return err
	}
	held := int64(0)
	for _, s := range all {
		rule := k.rule(s, all)
		if rule == nil {
			continue
		}
		kept, err := k.unless(s.number, func() error { return k.rewrite(s.number, emptiedForm, rule, stopped) })
		if err != nil {
			return fmt.Errorf("delete the contents of %s: %w", segmentName(s.number), err)
		}
		if kept {
			held++
			continue
		}
		k.forms[s.number] = emptiedForm
		s.size = 0
		k.r.opts.Log.Info("contents were deleted", "segment", segmentName(s.number), "rule", rule.Name)
	}
	k.r.sealed.held.Store(held)
	return nil
}

// unless calls empty if the segment is not held, and reports whether it is. What
// is held meanwhile waits: it is not in force before.
func (k *keeper) unless(number int64, empty func() error) (held bool, err error) {
	k.r.holds.mu.Lock()
	defer k.r.holds.mu.Unlock()
	if k.r.holds.covers(number) {
		return true, nil
	}
	return false, empty()
}

// A content is a sealed segment that has its records.
type content struct {
	number int64
	size   int64
	last   time.Time
}

func (k *keeper) contents(numbers []int64) ([]*content, error) {
	var all []*content
	o := opener{dir: k.r.opts.Dir}
	for _, n := range numbers {
		if form := k.forms[n]; form != sealedForm && form != encryptedForm {
			continue
		}
		if known := k.ages[n]; known != nil {
			all = append(all, known)
			continue
		}
		s, err := o.open(n)
		if err != nil {
			return nil, err
		}
		s.close()
		k.ages[n] = &content{n, s.size, s.foot.Last}
		all = append(all, k.ages[n])
	}
	return all, nil
}

// rule returns what empties a segment now, nil if nothing does.
func (k *keeper) rule(s *content, all []*content) *Rule {
	for i := range k.r.opts.Retention {
		rule := &k.r.opts.Retention[i]
		if rule.After > 0 && !s.last.IsZero() && time.Since(s.last) >= rule.After {
			return rule
		}
		if rule.Keep > 0 && k.takes(all) > rule.Keep {
			return rule
		}
	}
	return nil
}

// takes returns the bytes of all that have their records, and of the segment being
// written.
func (k *keeper) takes(all []*content) int64 {
	total := int64(0)
	for _, s := range all {
		total += s.size
	}
	if stat, err := os.Stat(filepath.Join(k.r.opts.Dir, segmentName(k.r.current()))); err == nil {
		total += stat.Size()
	}
	return total
}

// sealCounters are what Stats tells of the keeper.
type sealCounters struct {
	sealed, emptied, plain, held atomic.Int64
	trouble                      atomic.Pointer[string]
}

// problem says what the keeper cannot do, once for each that is new.
func (c *sealCounters) problem(err error, secret bool, log *slog.Logger) {
	var text string
	if err != nil {
		text = err.Error()
		if secret {
			text = "segments stay UNENCRYPTED: " + text
		}
	}
	if was := c.trouble.Swap(&text); text != "" && (was == nil || *was != text) {
		log.Error("segments that have ended stay as they are", "err", text)
	}
}

// Sealed returns how segments are kept.
func (r *Recorder) Sealed() SealStats {
	c := &r.sealed
	s := SealStats{Sealed: c.sealed.Load(), Emptied: c.emptied.Load(), Plain: c.plain.Load(), Held: c.held.Load()}
	if text := c.trouble.Load(); text != nil {
		s.Problem = *text
	}
	return s
}

// current returns the number of the segment being written.
func (r *Recorder) current() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seg == nil {
		return 0
	}
	return r.seg.number
}

// rollOld ends the segment if it is older than it may get. The caller holds mu.
func (r *Recorder) rollOld(now time.Time) {
	if r.opts.SegmentAge <= 0 || r.closed || r.broken != nil || r.fatal != nil || r.seg == nil || !r.seg.records {
		return
	}
	if now.Sub(r.seg.born) < r.opts.SegmentAge {
		return
	}
	if err := r.roll(); err != nil { // the next commit, or tick, tries again
		r.opts.Log.Error("a segment is older than it may get, and the next cannot be begun", "err", err)
	}
}
