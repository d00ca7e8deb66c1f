package recorder

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// A Position is where a record is.
type Position struct {
	Segment, Offset int64 // the number of its segment; of its frame in there
	Index           int64
	Leaf            [32]byte // its hash
	Kind, Session   string
}

// EventsFrom is Events from a record's place on, or from the start of a segment
// if offset is 0, with the place of each record. It tells each record as it
// stands: what others refer to is not looked up, and a session is told only what
// the record says of it. Of records that are no event visit is told the place
// and a nil event.
func (d *Folder) EventsFrom(ctx context.Context, segment, offset int64, progress func(done, total int64), visit func(*Event, Position) error) error {
	w, err := newWalk(d.dir)
	if err != nil {
		return err
	}
	defer w.close()
	for len(w.numbers) > 0 && w.numbers[0] < segment {
		if stat, err := os.Stat(filepath.Join(d.dir, segmentName(w.numbers[0]))); err == nil {
			w.total -= stat.Size()
		}
		w.numbers = w.numbers[1:]
	}
	var told *Event
	t := telling{visit: func(e *Event) error { told = e; return nil }}
	var bad error
	var followed bool
	for next := int64(0); ; {
		s, err := w.next()
		if err == io.EOF {
			if !followed {
				return nil // at most the tail is torn: still being written
			}
			return bad
		}
		if err != nil {
			return err
		}
		followed = bad != nil
		if s.err != nil && bad == nil {
			bad = fmt.Errorf("%w: %s at byte %d: %v", ErrDamaged, s.segment, s.offset, s.err)
		}
		if number, _ := segmentNumber(s.segment); s.err == nil && s.start() && number == segment && offset > 0 {
			if err := w.skip(offset); err != nil {
				return err
			}
		}
		if s.err != nil || s.start() {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if progress != nil && w.position() >= next {
			next = w.position() + progressBytes
			progress(w.position(), w.total)
		}
		number, _ := segmentNumber(s.segment)
		told = nil
		if err := t.bare(s.payload); err != nil {
			return err
		}
		place := Position{number, s.offset, s.link.index, s.link.leaf, recordType(s.payload[1:]), string(sessionOf(s.payload))}
		if err := visit(told, place); err != nil {
			return err
		}
	}
}

// skip goes on at offset in the segment that was opened.
func (w *walk) skip(offset int64) error {
	if _, err := w.file.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	w.frames.r.Reset(w.file)
	w.frames.offset = offset
	return nil
}

// ErrElsewhere is returned by TextAt if the record is not there.
var ErrElsewhere = errors.New("the record is not where it was")

// TextAt returns the text of a session's record that EventsFrom told the place of.
func (d *Folder) TextAt(segment, offset int64, session string) (Text, error) {
	f, err := os.Open(filepath.Join(d.dir, segmentName(segment)))
	if err != nil {
		return Text{}, fmt.Errorf("%w: %v", ErrElsewhere, err)
	}
	defer f.Close()
	var head [frameHead]byte
	if _, err := f.ReadAt(head[:], offset); err != nil {
		return Text{}, fmt.Errorf("%w: %v", ErrElsewhere, err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n < uint32(1+len(recordHead)) || n > maxFrame {
		return Text{}, ErrElsewhere
	}
	payload := make([]byte, n)
	if _, err := f.ReadAt(payload, offset+frameHead); err != nil {
		return Text{}, fmt.Errorf("%w: %v", ErrElsewhere, err)
	}
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(head[4:]) || string(sessionOf(payload)) != session {
		return Text{}, ErrElsewhere
	}
	r, err := parseRecord(payload)
	if err != nil {
		return Text{}, fmt.Errorf("%w: %v", ErrElsewhere, err)
	}
	return r.Text, nil
}
