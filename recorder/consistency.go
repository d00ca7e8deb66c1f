package recorder

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// A Consistency says whether of two checkpoints the later log only adds to the
// earlier.
type Consistency struct {
	OK  bool   `json:"ok"`
	Key string `json:"key"`
	Old int64  `json:"old"` // records of the earlier
	New int64  `json:"new"` // and of the later
	// Proof is that of RFC 6962 section 2.1.2, from Old to New.
	Proof []tlog.Hash `json:"proof,omitempty"`
	Kind  string      `json:"kind,omitempty"` // what is wrong: Forked or Truncated
	Bad   string      `json:"bad,omitempty"`  // in a sentence
}

// Consistent compares two signed checkpoints of the log in dir, in whichever
// order. Of different roots for the same size no log is read: they are
// themselves the proof of a fork.
func Consistent(dir, verifierKey string, a, b []byte, progress func(done, total int64)) (Consistency, error) {
	ring, err := openKeyring(dir, verifierKey)
	if err != nil {
		return Consistency{}, err
	}
	earlier, err := ring.open(a)
	if err != nil {
		return Consistency{}, fmt.Errorf("the first checkpoint: %w", err)
	}
	later, err := ring.open(b)
	if err != nil {
		return Consistency{}, fmt.Errorf("the second checkpoint: %w", err)
	}
	if earlier.Size > later.Size {
		earlier, later = later, earlier
	}
	c := Consistency{Key: keyName(ring.keys[0]), Old: earlier.Size, New: later.Size}
	switch {
	case earlier.Size == later.Size && earlier.Root != later.Root:
		c.Kind, c.Bad = Forked, fmt.Sprintf("the node signed two histories of %d records: both checkpoints are valid, and their roots differ", c.Old)
		return c, nil
	case earlier.Size == later.Size || earlier.Size == 0:
		c.OK = true // the same, or nothing before: no hash is needed
		return c, nil
	}
	return c, c.prove(dir, earlier, later, progress)
}

func (c *Consistency) prove(dir string, earlier, later checkpoint, progress func(done, total int64)) error {
	var p proving
	var proof tlog.TreeProof
	prove := func(r tlog.HashReader) (err error) {
		proof, err = tlog.ProveTree(later.Size, earlier.Size, r)
		return err
	}
	if err := p.want(prove); err != nil {
		return err
	}
	var before tlog.Hash // root of the log here at the earlier size
	err := leaves(dir, nil, later.Size, progress, func(_ []byte, leaf tlog.Hash) error {
		p.add(leaf)
		if p.tree.size == earlier.Size {
			before = p.tree.root()
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnds):
		c.Kind, c.Bad = Truncated, err.Error()
		return nil
	case err != nil:
		return err
	}
	if err := prove(&p); err != nil {
		return err
	}
	wasIt, isIt := before == earlier.Root, p.tree.root() == later.Root
	switch {
	case wasIt && isIt && tlog.CheckTree(proof, later.Size, later.Root, earlier.Size, earlier.Root) == nil:
		c.OK, c.Proof = true, proof
	case isIt:
		c.Kind = Forked
		c.Bad = fmt.Sprintf("the log that the checkpoint of %d records is of began otherwise than the one of %d: the node signed two histories", c.New, c.Old)
	case wasIt:
		c.Kind = Forked
		c.Bad = fmt.Sprintf("this log agrees with the checkpoint of %d records, and not with the one of %d: that is of another history, or the records since were rewritten", c.Old, c.New)
	default:
		c.Kind = Forked
		c.Bad = "this log is neither what the one checkpoint is of nor the other"
	}
	return nil
}
