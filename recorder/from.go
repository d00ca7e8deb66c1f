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
	w, err := d.walk()
	if err != nil {
		return err
	}
	defer w.close()
	for len(w.numbers) > 0 && w.numbers[0] < segment {
		if stat, err := os.Stat(filepath.Join(d.open.dir, segmentName(w.numbers[0]))); err == nil {
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
			if err := w.seg.seek(offset); err != nil {
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
		place := Position{Segment: number, Offset: s.offset, Index: s.link.index, Leaf: s.link.leaf}
		if !s.hidden() {
			if err := t.bare(s.payload); err != nil {
				return err
			}
			place.Kind, place.Session = recordType(s.payload[1:]), string(sessionOf(s.payload))
		}
		if err := visit(told, place); err != nil {
			return err
		}
	}
}

// ErrElsewhere is returned by TextAt if the record is not there.
var ErrElsewhere = errors.New("the record is not where it was")

// TextAt returns the text of a session's record that EventsFrom told the place of.
func (d *Folder) TextAt(segment, offset int64, session string) (Text, error) {
	payload, err := d.open.record(segment, offset)
	if err != nil {
		return Text{}, fmt.Errorf("%w: %w", ErrElsewhere, err)
	}
	if string(sessionOf(payload)) != session {
		return Text{}, ErrElsewhere
	}
	r, err := parseRecord(payload)
	if err != nil {
		return Text{}, fmt.Errorf("%w: %w", ErrElsewhere, err)
	}
	return r.Text, nil
}

// ErrHidden is wrapped by ErrElsewhere where a record is in the log, and only its
// hash can be read.
var ErrHidden = errors.New("the record is encrypted, or was emptied")

// record returns the record at a place.
func (o *opener) record(segment, offset int64) ([]byte, error) {
	form, err := o.formOf(segment)
	if err != nil {
		return nil, err
	}
	if form == plainForm {
		return o.framed(segment, offset)
	}
	s, err := o.open(segment)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if s.hidden {
		return nil, ErrHidden
	}
	if err := s.seek(offset); err != nil {
		return nil, err
	}
	if s.place() != offset {
		return nil, errors.New("no record begins there")
	}
	payload, _, err := s.next()
	if err != nil {
		return nil, err
	}
	return payload, nil
}

// framed returns the record at a place in a plain segment, and reads no more of
// it.
func (o *opener) framed(segment, offset int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(o.dir, segmentName(segment)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var head [frameHead]byte
	if _, err := f.ReadAt(head[:], offset); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n < uint32(1+len(recordHead)) || n > maxFrame {
		return nil, errDamaged
	}
	payload := make([]byte, n)
	if _, err := f.ReadAt(payload, offset+frameHead); err != nil {
		return nil, err
	}
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, errDamaged
	}
	return payload, nil
}
