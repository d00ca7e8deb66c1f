package recorder

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"filippo.io/age"
)

// VerifyOptions adjust Verify; the zero value will do.
type VerifyOptions struct {
	// Progress is told from time to time how many bytes were read.
	Progress func(done, total int64)
	// Checkpoints are signed checkpoints that were kept elsewhere, one or
	// several (each followed by a blank line) in each. With them a log that
	// was rolled back, checkpoints and all, does not verify.
	Checkpoints [][]byte
	// Identities read what is encrypted to them: then the records themselves are
	// checked, otherwise their hashes and the files they are in.
	Identities []age.Identity
	// Witnesses are the keys of witnesses: what each has cosigned last must be
	// of this log, and there must be such a thing.
	Witnesses []*WitnessKey
	// Since has only what is from then on be read, and a little before;
	// SinceCheckpoint, a signed checkpoint, what is beyond it. At most one.
	Since           time.Time
	SinceCheckpoint []byte
}

// Verify reads the whole recording in dir and checks every record, the chain
// between them, the tree over them, and every checkpoint, trusting only
// verifierKey (the text of the node's .pub file). A recorder may be writing
// meanwhile. What is wrong is in the Report; an error means that it could not
// be found out.
func Verify(dir, verifierKey string, opts VerifyOptions) (Report, error) {
	elsewhere := opts.Checkpoints
	if len(opts.Witnesses) > 0 {
		data, err := readWitnessed(dir)
		if err != nil {
			return Report{}, err
		}
		elsewhere = append(elsewhere[:len(elsewhere):len(elsewhere)], data)
	}
	ring, err := openKeyring(dir, verifierKey, elsewhere...)
	if err != nil {
		return Report{}, err
	}
	// Checkpoints are counted before segments are listed: what they cover
	// was on disk before them, also while a recorder is writing.
	notes, err := newNotes(dir, ring, opts.Checkpoints)
	if err != nil {
		return Report{}, err
	}
	defer notes.close()
	w, err := newWalk(dir, opts.Identities...)
	if err != nil {
		return Report{}, err
	}
	defer w.close()
	v := verification{walk: w, notes: notes, progress: opts.Progress}
	v.report.Key, v.report.Began = keyName(ring.keys[0]), ring.began
	bad, err := v.witnesses(opts.Witnesses)
	if bad == nil && err == nil {
		if err = v.since(&opts); err == nil {
			bad, err = v.run()
		}
	}
	if err != nil {
		return v.report, err
	}
	v.conclude(bad)
	return v.report, nil
}

// A verification goes through a log once. log is the state after the last
// record that is right.
type verification struct {
	walk     *walk
	notes    *notes
	progress func(done, total int64)

	report  Report
	log     chain
	good    seen      // the last record that was right so far
	before  seen      // the one before it
	covers  int64     // records covered by checkpoints that are right
	covered time.Time // of the last of these
	number  int64     // of the segment
	bound   bindings
	next    int64     // bytes after which progress is told again
	last    time.Time // of the last record
	read    int64     // records whose contents were read
	key     string    // the one that the last record of a rotation names
}

// seen is a record that was passed, kept because only its successor shows
// whether it was right.
type seen struct {
	segment string
	offset  int64
	payload []byte
}

const progressBytes = 4 << 20

func (v *verification) run() (*Finding, error) {
	if bad := v.notes.split(); bad != nil {
		return bad, nil
	}
	if bad, err := v.notes.read(); bad != nil || err != nil {
		return bad, err
	}
	for {
		if bad, err := v.checkpoints(); bad != nil || err != nil {
			return bad, err
		}
		s, err := v.walk.next()
		if err == io.EOF {
			if v.walk.more(&v.bound) {
				continue
			}
			return v.end(), nil
		}
		if err != nil {
			return nil, err
		}
		if v.progress != nil && v.walk.position() >= v.next {
			v.next = v.walk.position() + progressBytes
			v.progress(v.walk.position(), v.walk.total)
		}
		bad, done, err := v.step(&s)
		if bad == nil && done {
			bad = v.bound.conclude(&v.report)
		}
		if bad != nil || done || err != nil {
			return bad, err
		}
	}
}

// step checks one step of the walk; done if the log ends in it.
func (v *verification) step(s *step) (bad *Finding, done bool, err error) {
	switch {
	case s.start():
		if bad, done = v.segment(s); bad == nil && !done {
			err = v.opened()
		}
		return bad, done, err
	case s.err == nil && s.link.follows(&v.log):
		if bad := v.started(s); bad != nil {
			return bad, false, nil
		}
		v.accept(s)
		return nil, false, nil
	case errors.Is(s.err, errTorn) || errors.Is(s.err, errDamaged):
		return v.broken(s)
	case s.err != nil:
		return v.finding(Changed, s, "it does not begin as records do"), false, nil
	}
	bad, err = v.diagnose(s)
	return bad, false, err
}

// opened notes how the segment is written.
func (v *verification) opened() error {
	s := v.walk.seg
	if s.form == encryptedForm && s.hidden {
		v.report.Encrypted++
	}
	return v.bound.file(v.walk.name, s)
}

func (v *verification) accept(s *step) {
	v.log.add(s.link.leaf)
	if s.payload == nil { // what is remembered of the last that can be read stays
		v.last = time.Time{} // when it was is hidden, too
		return
	}
	v.bound.note(s.payload)
	v.good, v.before = v.before, v.good // to reuse its buffer
	v.good.segment, v.good.offset = s.segment, s.offset
	v.good.payload = append(v.good.payload[:0], s.payload...)
	if v.report.First.IsZero() {
		v.report.First = timeOf(s.payload)
	}
	v.announced(s.payload)
	v.quiet(s.payload)
}

// segment checks that a segment continues the one before it.
func (v *verification) segment(s *step) (bad *Finding, done bool) {
	number, _ := segmentNumber(s.segment)
	v.number++
	v.report.Segments++
	if number != v.number {
		missing := v.finding(SegmentMissing, s, fmt.Sprintf("%s is not there", segmentName(v.number)))
		missing.Segment = segmentName(v.number)
		if s.before != nil && s.before.tree.size > missing.First {
			missing.Last = s.before.tree.size - 1
		}
		return missing, false
	}
	switch {
	case s.err != nil && v.walk.last() && v.unsigned():
		v.report.Torn = &TornEnd{s.segment, 0}
		return nil, true
	case s.err != nil:
		return v.finding(SegmentChanged, s, s.err.Error()), false
	case s.before.equals(&v.log):
		return nil, false
	case s.before.tree.size > v.log.tree.size:
		f := v.finding(Removed, s, fmt.Sprintf("the segment before %s has lost its end", s.segment))
		f.Last = s.before.tree.size - 1
		f.Segment, f.Offset = v.good.segment, v.good.offset
		return f, false
	}
	return v.finding(SegmentChanged, s, "its header does not continue the segment before it"), false
}

// unsigned reports whether no checkpoint speaks for what comes now.
func (v *verification) unsigned() bool { return v.notes.waiting() == nil }

// broken looks at a frame that is not whole: the end of a log may be torn,
// unless a checkpoint covers it or something follows.
func (v *verification) broken(s *step) (bad *Finding, done bool, err error) {
	f := v.finding(Changed, s, "its checksum does not match")
	var block *blockError
	if errors.As(s.err, &block) {
		f.First, f.Last, f.Detail = block.first, block.last, block.why
		return f, false, nil
	}
	if errors.Is(s.err, errTorn) {
		f = v.finding(Truncated, s, "the segment ends within it")
	}
	if !v.walk.last() || !v.unsigned() {
		if w := v.notes.waiting(); w != nil && errors.Is(s.err, errTorn) {
			f.Last = v.claimed(w) - 1
		}
		return f, false, nil
	}
	torn := &TornEnd{s.segment, s.offset}
	if _, err := v.walk.next(); err != io.EOF {
		return f, false, err
	}
	v.report.Torn = torn
	return nil, true, nil
}

// started checks, at a record that says recording starts, that the checkpoint
// it started from is still there, and counts what it found beyond that.
func (v *verification) started(s *step) *Finding {
	if s.payload == nil || recordType(s.payload[1:]) != "start" {
		return nil
	}
	r, err := parseRecord(s.payload)
	if err != nil {
		return nil
	}
	v.report.Heartbeat = time.Duration(r.Heartbeat)
	if !r.Continues {
		v.last = time.Time{} // nobody recorded
	}
	if r.Signed <= v.covers || r.Signed < v.notes.ring.began {
		v.report.Adopted += s.link.index - r.Signed
		return nil
	}
	f := v.finding(CheckpointMissing, s, fmt.Sprintf(
		"recording went on from a checkpoint of %d records, and the last before it is of %d", r.Signed, v.covers))
	f.First, f.Last = v.covers, r.Signed-1
	return f
}

// claimed returns how many records the checkpoints cover in all, at least
// those of w.
func (v *verification) claimed(w *waiting) int64 {
	size := w.Size
	for {
		bad, err := v.notes.advance()
		if w = v.notes.waiting(); bad != nil || err != nil || w == nil {
			return size
		}
		size = max(size, w.Size)
	}
}

// end looks at a log that was right to its end.
func (v *verification) end() *Finding {
	w := v.notes.waiting()
	switch {
	case w == nil && v.covers == 0 && v.log.tree.size > 0:
		return &Finding{Kind: CheckpointMissing, Last: v.log.tree.size - 1, Detail: "there is no checkpoint at all"}
	case w == nil && v.report.From > 0 && v.report.Confirmed == 0:
		return &Finding{
			Kind: CheckpointMissing, First: v.report.From, Last: v.log.tree.size - 1,
			Detail: "no checkpoint speaks for what was read, nor for what is before it",
		}
	case w == nil:
		return v.bound.conclude(&v.report)
	}
	kind, detail := Truncated, "checkpoints cover %d records, and %d are left"
	if w.elsewhere {
		kind, detail = RolledBack, w.from()+" covers %d records, and %d are left"
	}
	size := v.claimed(w)
	return &Finding{
		Kind: kind, First: v.log.tree.size, Last: size - 1,
		Segment: v.good.segment, Offset: v.good.offset, LastGood: timeOf(v.good.payload),
		Detail: fmt.Sprintf(detail, size, v.log.tree.size),
	}
}

// checkpoints compares the tree with every checkpoint of its size.
func (v *verification) checkpoints() (*Finding, error) {
	for {
		w := v.notes.waiting()
		if w == nil || w.Size > v.log.tree.size {
			return nil, nil
		}
		if bad, err := v.compare(w); bad != nil || err != nil {
			return bad, err
		}
		if v.report.From > 0 && v.report.Confirmed == 0 {
			v.report.Confirmed = w.Size
		}
		v.covers, v.covered = w.Size, timeOf(v.good.payload)
		if !w.elsewhere {
			v.report.Checkpoints++
			if bad := v.rotated(w); bad != nil {
				return bad, nil
			}
		}
		if bad, err := v.notes.advance(); bad != nil || err != nil {
			return v.located(bad), err
		}
	}
}

func (v *verification) compare(w *waiting) (*Finding, error) {
	root := v.log.tree.root()
	if w.Size == v.log.tree.size && w.Root == root {
		return nil, nil
	}
	f := &Finding{
		Kind: Rewritten, First: v.covers, Last: w.Size - 1, Want: w.Root.String(), Got: root.String(),
		LastGood: v.covered,
		Detail:   "the records agree with each other, but not with the checkpoint that covers them",
	}
	if w.Size < v.log.tree.size {
		f.Kind, f.Last = CheckpointReordered, v.covers
		f.Detail = fmt.Sprintf("a checkpoint of %d records follows one of %d", w.Size, v.covers)
		return f, nil
	}
	if w.elsewhere {
		f.Kind = RolledBack
		f.Detail = "the log is not the one that " + w.from() + " was made of"
	}
	next, err := v.after()
	if err != nil {
		return nil, err
	}
	if w.elsewhere {
		forked, err := v.forked(next)
		if err != nil {
			return nil, err
		}
		if forked {
			f.Kind = Forked
			f.Detail = "the node's key signed this log, and another that has " + w.from()
			return f, nil
		}
	}
	v.witness(f, next)
	if f.First == f.Last {
		f.Kind = Changed
		f.Segment, f.Offset, f.Session = v.good.segment, v.good.offset, string(sessionOf(v.good.payload))
	}
	return f, nil
}

// located adds to a finding where the walk is.
func (v *verification) located(f *Finding) *Finding {
	if f != nil {
		f.First, f.Last = max(f.First, v.covers), max(f.Last, v.covers)
		f.LastGood = timeOf(v.good.payload)
	}
	return f
}

// finding is one about the record s, which comes next in the log.
func (v *verification) finding(kind string, s *step, detail string) *Finding {
	n := v.log.tree.size
	return &Finding{
		Kind: kind, First: n, Last: n, Segment: s.segment, Offset: s.offset,
		Session: string(sessionOf(s.payload)), LastGood: timeOf(v.good.payload), Detail: detail,
	}
}

func (v *verification) conclude(bad *Finding) {
	r := &v.report
	r.OK, r.Bad = bad == nil, bad
	r.Records = v.log.tree.size
	if bad != nil && bad.First < r.Records {
		r.Records = bad.First
	} else {
		r.Root = v.log.tree.root().String()
	}
	for name := range v.bound.holds {
		r.Held = append(r.Held, name)
	}
	slices.Sort(r.Held)
	r.Signed = min(v.covers, r.Records)
	r.Unsigned = r.Records - r.Signed
	r.Last = timeOf(v.good.payload)
}

// timeOf returns the time of a record, zero if it has none that can be read.
func timeOf(payload []byte) time.Time {
	if len(payload) == 0 {
		return time.Time{}
	}
	r, err := parseRecord(payload)
	if err != nil {
		return time.Time{}
	}
	return r.Time
}
