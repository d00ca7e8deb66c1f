package recorder

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// A waiting is a checkpoint that the tree has not come to yet.
type waiting struct {
	checkpoint
	elsewhere bool   // it was given to Verify, or witnessed, not one of the folder's own
	by        string // the witness that cosigned it
}

// from says where a checkpoint was kept that is not of the folder.
func (w *waiting) from() string {
	if w.by != "" {
		return "the checkpoint that " + w.by + " has witnessed"
	}
	return "the checkpoint kept elsewhere"
}

// notes gives the checkpoints of a folder in order, and among them those that
// were kept elsewhere.
type notes struct {
	f         *os.File
	scan      *bufio.Scanner
	ring      *keyring
	elsewhere []waiting // by size
	own       *waiting
	n         int // checkpoints read
	bad       *Finding
	skip      int64 // those of fewer records are passed over
}

// newNotes opens the checkpoints in dir as they are now: what is appended
// later is not seen.
func newNotes(dir string, ring *keyring, elsewhere [][]byte) (*notes, error) {
	n := &notes{ring: ring}
	for _, file := range elsewhere {
		if err := n.keep(file); err != nil {
			return nil, fmt.Errorf("the checkpoint kept elsewhere: %w", err)
		}
	}
	n.sort()
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
	n.scan = scanNotes(io.LimitReader(f, stat.Size()))
	return n, nil
}

func (n *notes) sort() {
	slices.SortStableFunc(n.elsewhere, func(a, b waiting) int { return cmp.Compare(a.Size, b.Size) })
}

// keep reads checkpoints that were kept elsewhere: all of them, or it is an
// error, because one that is left out finds nothing.
func (n *notes) keep(file []byte) error {
	for rest := slices.Concat(bytes.TrimLeft(file, "\n"), []byte("\n\n")); len(bytes.Trim(rest, "\n")) > 0; {
		signed, after, ok := nextNote(rest)
		if !ok {
			return errors.New("not a checkpoint: no signature")
		}
		c, err := n.ring.open(signed)
		if errors.Is(err, errRotatedAway) && n.bad == nil {
			n.bad = &Finding{Kind: Forked, First: n.ring.since[1], Detail: "the checkpoint kept elsewhere: " + err.Error()}
		}
		if errors.Is(err, errRotatedAway) {
			rest = bytes.TrimLeft(after, "\n")
			continue
		}
		if err != nil {
			return err
		}
		n.elsewhere = append(n.elsewhere, waiting{checkpoint: c, elsewhere: true})
		rest = bytes.TrimLeft(after, "\n")
	}
	return nil
}

// split looks among the checkpoints kept elsewhere for two that cannot be of
// one log.
func (n *notes) split() *Finding {
	if n.ring.forked != nil {
		return n.ring.forked
	}
	if n.bad != nil {
		n.bad.Last = max(n.bad.Last, n.bad.First)
		return n.bad
	}
	for i := 1; i < len(n.elsewhere); i++ {
		a, b := &n.elsewhere[i-1], &n.elsewhere[i]
		if a.Size == b.Size && a.Root != b.Root {
			return &Finding{
				Kind: Forked, Last: a.Size - 1, Want: a.Root.String(), Got: b.Root.String(),
				Detail: fmt.Sprintf("two checkpoints kept elsewhere are of %d records each, and differ: the node's key signed two histories", a.Size),
			}
		}
	}
	return nil
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
	if len(n.elsewhere) > 0 && (n.own == nil || n.elsewhere[0].Size <= n.own.Size) {
		return &n.elsewhere[0]
	}
	return n.own
}

// advance goes on after the checkpoint that waits was dealt with.
func (n *notes) advance() (*Finding, error) {
	if w := n.waiting(); w != nil && w.elsewhere {
		n.elsewhere = n.elsewhere[1:]
		return nil, nil
	}
	return n.read()
}

// read reads the folder's next checkpoint. Of those that were signed before the
// log was handed on to the key that is trusted, nothing can be said.
func (n *notes) read() (*Finding, error) {
	n.own = nil
	for n.scan != nil && n.scan.Scan() {
		n.n++
		signed := n.scan.Bytes()
		c, err := parseCheckpoint(string(signed))
		if err != nil {
			return n.forged(err), nil
		}
		if c.Size < n.ring.began || c.Size < n.skip {
			continue
		}
		key := n.ring.at(c.Size)
		if c, err = openCheckpoint(signed, key); err != nil {
			return n.forged(err), nil
		}
		if c.Next != "" && !slices.Contains(n.ring.since, c.Size) && c.Size != n.ring.began {
			return n.badRotation(), nil
		}
		n.own = &waiting{checkpoint: c}
		return nil, nil
	}
	if n.scan != nil && errors.Is(n.scan.Err(), bufio.ErrTooLong) {
		return n.forged(n.scan.Err()), nil
	}
	if n.scan != nil && n.scan.Err() != nil {
		return nil, fmt.Errorf("read checkpoints: %w", n.scan.Err())
	}
	return nil, nil
}

func (n *notes) badRotation() *Finding {
	return &Finding{
		Kind: RotationForged, Detail: fmt.Sprintf("checkpoint %d hands the log on to another key, and is not signed with both", n.n),
	}
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
