package recorder

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"
)

// A waiting is a checkpoint that the tree has not come to yet.
type waiting struct {
	checkpoint
	elsewhere bool // it was given to Verify, not found in the folder
}

// notes gives the checkpoints of a folder in order, and among them the one
// that was kept elsewhere.
type notes struct {
	f         *os.File
	scan      *bufio.Scanner
	key       note.Verifier
	elsewhere *waiting
	own       *waiting
	n         int // checkpoints read
}

// newNotes opens the checkpoints in dir as they are now: what is appended
// later is not seen.
func newNotes(dir string, key note.Verifier, elsewhere []byte) (*notes, error) {
	n := &notes{key: key}
	if len(elsewhere) > 0 {
		c, err := openCheckpoint(elsewhere, key)
		if err != nil {
			return nil, fmt.Errorf("the checkpoint kept elsewhere: %w", err)
		}
		n.elsewhere = &waiting{c, true}
	}
	f, err := os.Open(filepath.Join(dir, checkpointsName))
	if errors.Is(err, os.ErrNotExist) {
		return n, nil // Verify says that it is missing
	}
	if err != nil {
		return nil, err
	}
	stat, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	n.f = f
	n.scan = bufio.NewScanner(io.LimitReader(f, stat.Size()))
	n.scan.Split(splitNotes)
	return n, nil
}

// splitNotes is a bufio.SplitFunc for nextNote. What is not a whole note at
// the end is a torn write and left out.
func splitNotes(data []byte, atEOF bool) (advance int, token []byte, err error) {
	signed, rest, ok := nextNote(data)
	if ok {
		return len(data) - len(rest), signed, nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}

// waiting returns the next checkpoint by size, nil after the last.
func (n *notes) waiting() *waiting {
	if n.own == nil || n.elsewhere != nil && n.elsewhere.Size <= n.own.Size {
		return n.elsewhere
	}
	return n.own
}

// advance goes on after the checkpoint that waits was dealt with.
func (n *notes) advance() (*Finding, error) {
	if w := n.waiting(); w != nil && w.elsewhere {
		n.elsewhere = nil
		return nil, nil
	}
	return n.read()
}

// read reads the folder's next checkpoint.
func (n *notes) read() (*Finding, error) {
	n.own = nil
	if n.scan == nil || !n.scan.Scan() {
		if n.scan != nil && errors.Is(n.scan.Err(), bufio.ErrTooLong) {
			return n.forged(n.scan.Err()), nil
		}
		if n.scan != nil && n.scan.Err() != nil {
			return nil, fmt.Errorf("read checkpoints: %w", n.scan.Err())
		}
		return nil, nil
	}
	n.n++
	c, err := openCheckpoint(n.scan.Bytes(), n.key)
	if err != nil {
		return n.forged(err), nil
	}
	n.own = &waiting{c, false}
	return nil, nil
}

func (n *notes) forged(err error) *Finding {
	f := &Finding{Kind: CheckpointForged, Detail: fmt.Sprintf("checkpoint %d: %v", n.n, err)}
	if errors.Is(err, errOtherKey) {
		f.Kind = CheckpointWrongKey
	}
	return f
}

func (n *notes) close() {
	if n.f != nil {
		n.f.Close()
	}
}
