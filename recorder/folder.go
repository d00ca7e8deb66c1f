package recorder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
)

// A Folder is a recording to read, whether or not a recorder is writing it.
// Reading does not check signatures: Verify does.
type Folder struct{ open opener }

// OpenFolder opens the recording in dir. The identities read what is encrypted
// to them.
func OpenFolder(dir string, identities ...age.Identity) (*Folder, error) {
	stat, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !stat.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", dir)
	}
	return &Folder{opener{dir: dir, identities: identities}}, nil
}

func (d *Folder) walk() (*walk, error) { return newWalk(d.open.dir, d.open.identities...) }

// ErrDamaged is wrapped by what reading returns, beside all that could be
// read, when something in the middle could not.
var ErrDamaged = errors.New("some records cannot be read: run `agentctl audit verify`")

// each calls f with every record that can be read, in order, leaving out those
// that are hidden. A torn tail is a
// record still being written, or never finished, and no error.
func (d *Folder) each(f func(payload []byte) error) error {
	w, err := d.walk()
	if err != nil {
		return err
	}
	defer w.close()
	var bad error
	for {
		s, err := w.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if bad != nil { // and something follows it
			return errors.Join(bad, d.rest(w, s, f))
		}
		switch {
		case s.err != nil:
			bad = fmt.Errorf("%w: %s at byte %d: %v", ErrDamaged, s.segment, s.offset, s.err)
		case !s.start() && !s.hidden():
			if err := f(s.payload); err != nil {
				return err
			}
		}
	}
}

// rest is each for what follows a damaged record.
func (d *Folder) rest(w *walk, s step, f func([]byte) error) error {
	for {
		if s.err == nil && !s.start() && !s.hidden() {
			if err := f(s.payload); err != nil {
				return err
			}
		}
		var err error
		if s, err = w.next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// sessionOf returns the session of a record, without parsing it: nil if it
// belongs to none.
func sessionOf(payload []byte) []byte {
	const field = `,"session":"`
	front := payload[:min(len(payload), 1+len(recordHead)+128)]
	i := bytes.Index(front, []byte(field))
	if i < 0 {
		return nil
	}
	id, _, ok := bytes.Cut(payload[i+len(field):], []byte(`"`))
	if !ok {
		return nil
	}
	return id
}
