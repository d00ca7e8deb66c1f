package recorder

import (
	"context"
	"errors"
	"io"
	"time"
)

// What following a log may take.
const (
	tailEvery = 200 * time.Millisecond // between looks
	tailBack  = 16 << 20               // bytes that are read for what later records refer to
	tailLag   = 64 << 20               // bytes that a slow reader may be behind
	tailMost  = 1 << 14                // statements that wait for their outcome, and facts of a session
)

// Tail tells the statements that are recorded from the record with index after
// on, or from now on if it is negative, each when its outcome is there, or when
// it waits for people or its session ends. It goes on until ctx ends or a function
// returns an error. What it is told to show it reads from the files: whoever
// records does not know of it. If show is so slow that the log gets far ahead, lost
// is told of how many records are left out. idle is called now and then.
//
// A session that began long before is told with its id alone.
func (d *Folder) Tail(ctx context.Context, after int64, show func(*Statement, *Summary) error, lost func(records int64) error, idle func() error) error {
	t := tailing{folder: d, after: after, show: show, waiting: map[waits]*Statement{}}
	t.telling = telling{sessions: map[string]*Session{}, strangers: true, visit: func(e *Event) error { t.event = e; return nil }}
	if err := t.begin(); err != nil {
		return err
	}
	ticks := time.NewTicker(tailEvery)
	defer ticks.Stop()
	for {
		skipped, err := t.catchUp(ctx)
		if err == nil && skipped > 0 {
			err = lost(skipped)
		}
		if err == nil {
			err = idle()
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
	}
}

// A tailing is a log that is followed.
type tailing struct {
	folder  *Folder
	telling telling
	event   *Event // the one just told, nil if the record was none
	after   int64
	show    func(*Statement, *Summary) error
	waiting map[waits]*Statement

	segment, offset int64 // where the next record is
	index           int64 // and which that is
}

// waits names a statement that has no outcome yet.
type waits struct {
	session string
	seq     uint64
}

// begin goes back as far as is read for what later records refer to.
func (t *tailing) begin() error {
	w, err := t.folder.walk()
	if err != nil {
		return err
	}
	w.close()
	sizes, err := segmentSizes(t.folder.open.dir, w.numbers)
	if err != nil {
		return err
	}
	back := int64(0)
	for i := len(w.numbers) - 1; i >= 0; i-- {
		t.segment = w.numbers[i]
		if back += sizes[i]; back >= tailBack {
			break
		}
	}
	if t.after < 0 {
		t.after = 1 << 62 // nothing is shown of what is there
		if _, err := t.catchUp(context.Background()); err != nil {
			return err
		}
		t.after = t.index
		clear(t.waiting)
	}
	return nil
}

// catchUp reads what was recorded since, and returns how many records it left out
// because it was too far behind.
func (t *tailing) catchUp(ctx context.Context) (skipped int64, err error) {
	w, err := t.folder.walk()
	if err != nil {
		return 0, err
	}
	defer w.close()
	sizes, err := segmentSizes(t.folder.open.dir, w.numbers)
	if err != nil {
		return 0, err
	}
	behind := -t.offset
	for i, n := range w.numbers {
		if n >= t.segment {
			behind += sizes[i]
		}
	}
	leapt := behind > tailLag && t.index > 0
	for len(w.numbers) > 0 && (w.numbers[0] < t.segment || leapt && len(w.numbers) > 1) {
		w.numbers = w.numbers[1:]
	}
	if leapt && len(w.numbers) > 0 && w.numbers[0] > t.segment {
		clear(t.waiting)
	}
	for {
		s, err := w.next()
		if err == io.EOF {
			return skipped, nil
		}
		if err != nil {
			return skipped, err
		}
		if s.start() && s.err == nil {
			number, _ := segmentNumber(s.segment)
			if number == t.segment && t.offset > 0 {
				if err := w.seg.seek(t.offset); err != nil {
					return skipped, err
				}
			}
			if number != t.segment {
				t.segment, t.offset = number, 0
			}
			continue
		}
		if errors.Is(s.err, errTorn) && w.last() {
			return skipped, nil // it is being written
		}
		if s.err != nil {
			continue // Verify names it
		}
		if s.link.index < t.index {
			continue // where records are hidden, reading goes on a little before
		}
		if t.index > 0 && s.link.index > t.index {
			skipped += s.link.index - t.index
		}
		t.offset, t.index = w.seg.place(), s.link.index+1
		if s.hidden() {
			continue
		}
		if err := errors.Join(ctx.Err(), t.record(s.payload, s.link.index)); err != nil {
			return skipped, err
		}
	}
}

func segmentSizes(dir string, numbers []int64) ([]int64, error) {
	sizes := make([]int64, len(numbers))
	for i, n := range numbers {
		size, err := segmentSize(dir, n)
		if err != nil {
			return nil, err
		}
		sizes[i] = size
	}
	return sizes, nil
}

// record takes the next record.
func (t *tailing) record(payload []byte, index int64) error {
	t.event = nil
	if err := t.telling.add(payload); err != nil || t.event == nil {
		return err
	}
	e := t.event
	key := waits{e.Session.ID, e.Seq}
	s := t.waiting[key]
	if len(e.Session.facts)+len(e.Session.texts) > tailMost {
		clear(e.Session.facts)
		clear(e.Session.texts)
	}
	switch e.Kind {
	case "prepare", "request":
		if e.Kind == "prepare" && (e.Verdict == "" || e.Verdict == "allow") {
			return nil
		}
		s = t.asked(e, index)
		if e.Verdict != "hold" {
			return nil
		}
	case "result":
		if s != nil && e.Verdict != "" && e.Verdict != "allow" {
			s.Verdict, s.Rule, s.Approval = e.Verdict, e.Rule, e.Approval
		}
		return nil
	case "outcome":
		if s == nil || e.Done.Own {
			return nil
		}
		s.Rows, s.Took, s.Code = e.Done.Rows, e.Done.Took, e.Done.Code
		delete(t.waiting, key)
	case "close":
		return t.closed(e.Session)
	default:
		return nil
	}
	return t.tell(s, e.Session)
}

func (t *tailing) asked(e *Event, index int64) *Statement {
	s := &Statement{
		Cursor: index, Seq: e.Seq, Time: e.Time, Kind: e.Kind, Text: e.Text.Text,
		Verdict: e.Verdict, Rule: e.Rule, Approval: e.Approval,
	}
	if e.Facts != nil {
		s.Verbs, _ = e.Facts.Field("sql.verbs").([]string)
		s.Tables, _ = e.Facts.Field("sql.tables").([]string)
	}
	if s.Text == "" && e.Ref != 0 {
		s.Unreadable = "it was prepared before what is followed"
	}
	s.Of(&e.Session.Summary, e.Claims)
	if len(t.waiting) >= tailMost {
		clear(t.waiting)
	}
	t.waiting[waits{e.Session.ID, e.Seq}] = s
	return s
}

// closed tells what a session left without an outcome.
func (t *tailing) closed(o *Session) error {
	for key, s := range t.waiting {
		if key.session != o.ID {
			continue
		}
		delete(t.waiting, key)
		if err := t.tell(s, o); err != nil {
			return err
		}
	}
	return nil
}

func (t *tailing) tell(s *Statement, o *Session) error {
	if s.Cursor < t.after {
		return nil
	}
	return t.show(s, &o.Summary)
}
