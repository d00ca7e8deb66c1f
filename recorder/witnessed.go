package recorder

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
)

const witnessedName = "witnessed"

// Witnessed is the file beside the checkpoints that keeps those that witnesses
// have cosigned. It is for whoever has the folder's lock. Its methods may be
// called from any goroutine; none waits for a recorder.
type Witnessed struct {
	mu   sync.Mutex // guards file
	file *checkpointFile
}

// OpenWitnessed opens the file in a recording's folder, and makes it if need be.
// What a crash left unfinished at its end is cut off: the witness that signed
// it is asked again.
func OpenWitnessed(dir string) (*Witnessed, error) {
	f, err := os.OpenFile(filepath.Join(dir, witnessedName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	c := &checkpointFile{f: f}
	if c.size, err = f.Seek(0, 2); err == nil {
		var end int64
		if _, end, err = c.lastNote(); err == nil && end < c.size {
			c.size, err = end, f.Truncate(end)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Witnessed{file: c}, nil
}

// Add keeps a cosigned checkpoint, and returns when it is on the disk.
func (w *Witnessed) Add(cosigned []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.file.append(cosigned)
}

// Last returns how many records the last checkpoint that key has cosigned is
// of, of those at the end of the file; 0 if there is none.
func (w *Witnessed) Last(key *WitnessKey) (size int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	start := max(0, w.file.size-lastNotes)
	buf := make([]byte, w.file.size-start)
	if _, err := w.file.f.ReadAt(buf, start); err != nil {
		return 0
	}
	if start > 0 {
		buf = buf[noteStart(buf):]
	}
	for {
		signed, rest, ok := nextNote(buf)
		if !ok {
			return size
		}
		buf = rest
		if !bytes.Contains(signed, []byte("— "+key.Name()+" ")) {
			continue
		}
		if _, err := key.Cosigned(signed); err != nil {
			continue
		}
		if c, err := parseCheckpoint(string(signed)); err == nil {
			size = c.Size
		}
	}
}

// Close closes the file.
func (w *Witnessed) Close() error { return w.file.f.Close() }

// SizeOf returns how many records a checkpoint of the node's own is of.
func SizeOf(signed []byte) (int64, error) {
	c, err := parseCheckpoint(string(signed))
	return c.Size, err
}
