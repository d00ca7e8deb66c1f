package sinks

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"agentd.dev/recorder"
)

const (
	maxBatch      = 500 // records
	maxBatchBytes = 1 << 20
	saveEvery     = time.Second // at most; and a position takes at most a fiftieth of the time
	saveShare     = 50
)

// A follower reads the log behind the recorder and has a sender bring it.
type follower struct {
	*sink
	folder *recorder.Folder
	to     sender
	file   string
	known  known

	at    position
	saved time.Time
	took  time.Duration // to save it
	dirty bool
}

func newFollower(k *sink, folder *recorder.Folder, to sender) (*follower, error) {
	f := &follower{sink: k, folder: folder, to: to, file: k.opts.file(k.config.Name)}
	at, found, err := readPosition(f.file)
	if err != nil {
		return nil, err
	}
	f.at = at
	f.known.sessions.fill(at.Sessions)
	f.at.Sessions = nil
	if !found {
		if err := f.begin(); err != nil {
			return nil, err
		}
	}
	f.came(f.at.Next, time.Time{})
	return f, nil
}

// begin says where a new sink begins, and keeps that: from then on it misses
// nothing.
func (f *follower) begin() error {
	if !f.config.FromStart {
		f.at.Next = f.opts.Signed()
		numbers, err := f.folder.Segments()
		if err != nil {
			return err
		}
		if n := len(numbers); n > 0 {
			f.at.Segment = numbers[max(0, n-2)] // the last may begin with what is not signed yet
		}
	}
	return f.save()
}

// pass brings all that is signed.
func (f *follower) pass(ctx context.Context) error {
	for {
		signed := f.opts.Signed()
		if signed < f.at.Next {
			f.anew("the log is shorter than it was: it was put back, or replaced")
		}
		if f.at.Next >= signed {
			f.came(f.at.Next, time.Time{})
			return f.saveSoon()
		}
		batch, to, err := f.read(ctx, signed)
		if errors.Is(err, errOther) {
			f.anew(err.Error())
			continue
		}
		if err != nil {
			return err
		}
		if to.Next == f.at.Next {
			return errors.New("the next records cannot be read: run `agentctl audit verify`")
		}
		if len(batch) > 0 {
			f.came(f.at.Next, batch[0].Time)
		}
		if err := f.bring(ctx, batch); err != nil {
			return err
		}
		f.count(func(s *State) { s.Missed += to.missed })
		f.at, f.dirty = to.position, true
		if err := f.saveSoon(); err != nil {
			return err
		}
	}
}

// anew has the sink begin with the log's first record: what it was in is gone.
func (f *follower) anew(why string) {
	f.opts.Logger.Warn("sink begins anew with the first record", "sink", f.config.Name, "why", why)
	f.at = position{}
	f.known = known{}
}

// errOther: the record that was brought last is not where it was.
var errOther = errors.New("the log has another record where the last was that was brought")

// A reach is where a batch ends.
type reach struct {
	position
	missed int64 // records that could not be read
}

// read reads the next batch of signed records.
func (f *follower) read(ctx context.Context, signed int64) (batch []Record, to reach, err error) {
	to.position = f.at
	size, seen := 0, 0
	first := f.at.Leaf == "" // else the record before is read, too
	err = f.folder.RecordsFrom(ctx, f.at.Segment, f.at.Offset, func(payload []byte, at recorder.Position) error {
		switch {
		case at.Index >= signed:
			return recorder.ErrStop
		case at.Index == f.at.Next-1 && !first && hex.EncodeToString(at.Leaf[:]) != f.at.Leaf:
			return errOther
		case at.Index < f.at.Next:
			return nil
		}
		if seen++; seen > 50*maxBatch { // much that is not wanted is no reason to read for ever
			return recorder.ErrStop
		}
		to.missed += at.Index - to.Next
		to.Next, to.Segment, to.Offset, to.Leaf = at.Index+1, at.Segment, at.Offset, hex.EncodeToString(at.Leaf[:])
		r, ok := f.record(payload[1:], at)
		if !ok {
			return nil
		}
		batch = append(batch, r)
		if size += len(r.JSON) + len(r.SQL); len(batch) >= maxBatch || size >= maxBatchBytes {
			return recorder.ErrStop
		}
		return nil
	})
	return batch, to, err
}

// record makes a record of what the log has; false if the sink does not want it.
func (f *follower) record(text []byte, at recorder.Position) (Record, bool) {
	r := Record{Index: at.Index, Leaf: at.Leaf}
	if at.Kind == "rows" && !slices.Contains(f.config.Types, "rows") {
		return r, false // they are large, and read by nobody
	}
	fields, err := parse(text)
	if err != nil {
		return r, false // Verify names it
	}
	r.Fields = fields
	r.Session, r.SQL = f.known.learn(text, &r.Fields)
	if !f.wants(&r.Fields) {
		return r, false
	}
	if f.config.NoText {
		r.SQL = ""
		r.JSON, err = without(text, &r.Fields)
		return r, err == nil
	}
	r.JSON = slices.Clone(text)
	return r, true
}

func (f *follower) wants(r *Fields) bool {
	c := &f.config
	if c.Types == nil && r.Type == "rows" || c.Types != nil && !slices.Contains(c.Types, r.Type) {
		return false
	}
	return c.Verdicts == nil || r.Verdict == "" || slices.Contains(c.Verdicts, r.Verdict)
}

// bring has a batch sent. Where the receiver will not have it, the halves are
// tried, and a record that it will not have by itself is passed over.
func (f *follower) bring(ctx context.Context, batch []Record) error {
	if len(batch) == 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, attempt)
	err := f.to.send(limited, batch)
	cancel()
	var refused refusedError
	switch {
	case err == nil:
		f.count(func(s *State) { s.Delivered += int64(len(batch)) })
		return nil
	case !errors.As(err, &refused):
		return err
	case len(batch) == 1:
		f.opts.Logger.Warn("sink passes a record over", "sink", f.config.Name, "record", batch[0].Index, "error", err)
		f.count(func(s *State) { s.Refused++ })
		return nil
	}
	half := len(batch) / 2
	if err := f.bring(ctx, batch[:half]); err != nil {
		return err
	}
	return f.bring(ctx, batch[half:])
}

// saveSoon saves the position unless it was saved just before.
func (f *follower) saveSoon() error {
	if !f.dirty || time.Since(f.saved) < max(saveEvery, saveShare*f.took) {
		return nil
	}
	return f.save()
}

func (f *follower) save() error {
	began := time.Now()
	at := f.at
	at.Sessions = f.known.sessions.list()
	if err := at.write(f.file); err != nil {
		return err
	}
	f.saved, f.took, f.dirty = time.Now(), time.Since(began), false
	return nil
}

func (f *follower) close() {
	if f.dirty {
		if err := f.save(); err != nil {
			f.opts.Logger.Warn("sink", "sink", f.config.Name, "error", err)
		}
	}
	f.to.close()
}
