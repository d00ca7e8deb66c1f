package recorder

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// RecordsFrom calls visit with the records from a place on that can be read, or
// from the start of a segment if offset is 0, in order, until it returns an error
// (with ErrStop, no error). A payload is the record's JSON behind a zero byte, and
// valid until visit returns. Those that cannot be read are left out: the next one's
// index tells.
func (d *Folder) RecordsFrom(ctx context.Context, segment, offset int64, visit func(payload []byte, at Position) error) error {
	w, err := newWalk(d.open.dir)
	if err != nil {
		return err
	}
	defer w.close()
	for len(w.numbers) > 0 && w.numbers[0] < segment {
		w.numbers = w.numbers[1:]
	}
	for {
		s, err := w.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		number, _ := segmentNumber(s.segment)
		switch {
		case s.err != nil || s.hidden():
			continue
		case s.start():
			if number == segment && offset > 0 {
				if err := w.seg.seek(offset); err != nil {
					return err
				}
			}
			continue
		}
		err = visit(s.payload, Position{number, s.offset, s.link.index, s.link.leaf, recordType(s.payload[1:]), string(sessionOf(s.payload))})
		if errors.Is(err, ErrStop) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Segments are the numbers of the segments, ascending.
func (d *Folder) Segments() ([]int64, error) { return segmentNumbers(d.open.dir) }

// A Header is what is before the records of a segment.
type Header struct {
	Path   string
	First  int64    // index of the first record
	Before [32]byte // leaf hash of the record before that
}

// Header reads the front of a segment.
func (d *Folder) Header(number int64) (Header, error) {
	h := Header{Path: filepath.Join(d.open.dir, segmentName(number))}
	f, err := os.Open(h.Path)
	if err != nil {
		return h, err
	}
	defer f.Close()
	buf := make([]byte, maxHeader)
	n, err := io.ReadFull(f, buf)
	if err != nil && err != io.ErrUnexpectedEOF {
		return h, err
	}
	before, _, err := parseHeader(buf[:n])
	if err != nil {
		return h, err
	}
	h.First, h.Before = before.tree.size, before.last
	return h, nil
}

// Settled reports whether a segment has the form that it is kept in: compressed,
// and encrypted if the log is, or emptied.
func (d *Folder) Settled(number int64, encrypted bool) bool {
	form, err := d.open.formOf(number)
	if encrypted {
		return err == nil && form >= encryptedForm
	}
	return err == nil && form > plainForm
}
