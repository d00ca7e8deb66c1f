package recorder

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// An opener opens the segments of a folder, in whichever form they are. All
// that reads a log reads it through one.
type opener struct {
	dir        string
	identities []age.Identity
	inflate    *zstd.Decoder // made for the first sealed segment
}

// A source gives the records of a segment in order.
type source interface {
	// next returns the next record, valid until the next call, and io.EOF after
	// the last. A record that is hidden here is nil, with its link. With errLink
	// and errDamaged the record is not what was written, and the next can be
	// read, unless lost.
	next() (payload []byte, l link, err error)
	// place is where the record is that next returns.
	place() int64
	// seek goes on with the record at offset or, where that is hidden, with one
	// before it.
	seek(offset int64) error
	// lost reports whether nothing can be read after an error.
	lost() bool
}

// An opened is a segment that was opened.
type opened struct {
	source
	file   *os.File
	form   form
	before chain // the log before it, as its header says
	head   int64 // bytes of its header
	size   int64 // of the file
	foot   *foot // nil of a plain one
	hidden bool  // its records cannot be read here, only their hashes
}

// unreadable reports whether err says that a segment is not as it was written.
func unreadable(err error) bool {
	return errors.Is(err, errShort) || errors.Is(err, errHeader) || errors.Is(err, errFoot) || errors.Is(err, errDamaged)
}

// open opens a segment by its number.
func (o *opener) open(number int64) (*opened, error) {
	f, err := os.Open(filepath.Join(o.dir, segmentName(number)))
	if err != nil {
		return nil, err
	}
	s, err := o.read(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// read reads what is before the records of a segment.
func (o *opener) read(f *os.File) (*opened, error) {
	stat, err := f.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, maxHeader)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	before, at, err := parseHeader(head[:n])
	if err != nil {
		return nil, err
	}
	s := &opened{file: f, form: formOf(head), before: before, head: int64(at), size: stat.Size()}
	if s.form == plainForm {
		frames, err := openFrames(f)
		s.source = frames
		return s, err
	}
	return s, o.unseal(s, head[:at])
}

// unseal prepares to read a sealed segment.
func (o *opener) unseal(s *opened, head []byte) (err error) {
	if s.foot, err = readFoot(s.file, s.size, s.head); err != nil {
		return err
	}
	if o.inflate == nil {
		if o.inflate, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock)); err != nil {
			return err
		}
	}
	r := &sealed{r: s.file, foot: s.foot, head: head, before: s.before, inflate: o.inflate}
	s.source = r
	switch s.form {
	case encryptedForm:
		if r.open, err = openCipher(s.foot.Key, o.identities); err != nil {
			return fmt.Errorf("%w: %v", errFoot, err)
		}
		s.hidden = r.open == nil
	case emptiedForm:
		s.hidden = true
	}
	if (s.foot.Key != nil) != (s.form == encryptedForm) || s.form == emptiedForm && len(s.foot.blocks) > 0 {
		return errFoot
	}
	if s.hidden {
		err = r.hide()
	}
	r.enter(0)
	return err
}

func (s *opened) close() error { return s.file.Close() }

// Hidden counts segments whose records cannot be read.
type Hidden struct {
	Encrypted int // and no identity that was given reads them
	Emptied   int // by a rule of record.retention
}

// String says so to people.
func (h Hidden) String() string {
	var all []string
	if h.Encrypted > 0 {
		all = append(all, fmt.Sprintf("%d segments are encrypted (agentctl --identity FILE reads them)", h.Encrypted))
	}
	if h.Emptied > 0 {
		all = append(all, fmt.Sprintf("the contents of %d were deleted by rules of retention", h.Emptied))
	}
	return strings.Join(all, ", ")
}

// Hidden says of how many segments only the hashes can be read.
func (d *Folder) Hidden() (Hidden, error) {
	var h Hidden
	numbers, err := segmentNumbers(d.open.dir)
	if err != nil {
		return h, err
	}
	for _, n := range numbers {
		form, err := d.open.formOf(n)
		if err != nil {
			return h, err
		}
		switch {
		case form == emptiedForm:
			h.Emptied++
		case form == encryptedForm && !d.open.reads(n):
			h.Encrypted++
		}
	}
	return h, nil
}

// Encrypted reports whether some of the log is encrypted.
func (d *Folder) Encrypted() (bool, error) {
	numbers, err := segmentNumbers(d.open.dir)
	for _, n := range numbers {
		if form, err := d.open.formOf(n); err != nil || form == encryptedForm {
			return form == encryptedForm, err
		}
	}
	return false, err
}

// formOf returns the form of a segment, by its first bytes alone; 0 if it has
// none.
func (o *opener) formOf(number int64) (form, error) {
	f, err := os.Open(filepath.Join(o.dir, segmentName(number)))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	head := make([]byte, len(segmentMagic))
	if _, err := io.ReadFull(f, head); err == io.EOF || err == io.ErrUnexpectedEOF {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	return formOf(head), nil
}

// reads reports whether an identity decrypts the segment.
func (o *opener) reads(number int64) bool {
	if len(o.identities) == 0 {
		return false
	}
	s, err := o.open(number)
	if err != nil {
		return false
	}
	defer s.close()
	return !s.hidden
}
