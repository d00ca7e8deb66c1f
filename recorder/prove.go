package recorder

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/tlog"
)

// A Bundle is one session's records with the proof that a node signed for
// them. It needs no log to be checked, only the node's public key: CheckBundle.
type Bundle struct {
	Format  string `json:"format"` // BundleFormat
	Session string `json:"session"`
	// Key is the text of the verifier key, for convenience: who trusts it
	// trusts whoever sent the bundle.
	Key        string `json:"key"`
	Checkpoint string `json:"checkpoint"` // the signed note
	// Rotations are the checkpoints that handed the log on to other keys, from
	// Key to the one that signed Checkpoint.
	Rotations []string `json:"rotations,omitempty"`
	// Records are the session's, and what the log says between them of
	// records that were lost, in order.
	Records []ProvenRecord `json:"records"`
}

// BundleFormat names what FORMAT.md describes.
const BundleFormat = "agentd session proof v1"

// A ProvenRecord is a record and its audit path, RFC 6962 section 2.1.1.
type ProvenRecord struct {
	Index  int64       `json:"index"`
	Record string      `json:"record"` // the exact bytes
	Proof  []tlog.Hash `json:"proof"`
}

// Prove makes the bundle of the only session in dir whose id begins with
// prefix, for the latest checkpoint. The records up to that are read twice, and
// have to be whole. The identities read what is encrypted to them.
func Prove(dir, verifierKey, prefix string, progress func(done, total int64), identities ...age.Identity) (*Bundle, error) {
	folder, err := OpenFolder(dir, identities...)
	if err != nil {
		return nil, err
	}
	id, err := folder.resolve(prefix)
	if err != nil {
		return nil, err
	}
	signed, err := LastCheckpoint(dir, verifierKey)
	if err != nil {
		return nil, err
	}
	ring, err := openKeyring(dir, verifierKey)
	if err != nil {
		return nil, err
	}
	c, err := ring.open(signed)
	if err != nil {
		return nil, err
	}
	b := &Bundle{Format: BundleFormat, Session: id, Key: strings.TrimSpace(verifierKey), Rotations: ring.notes, Checkpoint: string(signed)}
	if err := b.gather(dir, identities, c.Size); err != nil {
		return nil, err
	}
	return b, b.prove(dir, c, progress)
}

// gather finds the records.
func (b *Bundle) gather(dir string, ids []age.Identity, size int64) error {
	var index int64
	last := 0       // records up to the session's last
	hidden := false // some since its first are
	err := leaves(dir, ids, size, nil, func(payload []byte, _ tlog.Hash) error {
		if payload == nil {
			hidden = hidden || last > 0
			index++
			return nil
		}
		mine := string(sessionOf(payload)) == b.Session
		if mine || last > 0 && recordType(payload[1:]) == "gap" {
			if !utf8.Valid(payload) {
				return fmt.Errorf("%w: record %d is no text", errUnsound, index)
			}
			b.Records = append(b.Records, ProvenRecord{Index: index, Record: string(bytes.Clone(payload[1:]))})
		}
		if mine && hidden {
			return fmt.Errorf("some of its records cannot be read: %w", ErrHidden)
		}
		if mine {
			last = len(b.Records)
		}
		index++
		return nil
	})
	b.Records = b.Records[:last]
	if err == nil && last == 0 {
		err = errors.New("no checkpoint covers the session yet: try again in a second")
	}
	return err
}

// prove finds the hashes that lead from each record to the root.
func (b *Bundle) prove(dir string, c checkpoint, progress func(done, total int64)) error {
	var p proving
	all := func(r tlog.HashReader) (err error) {
		for i := range b.Records {
			if b.Records[i].Proof, err = tlog.ProveRecord(c.Size, b.Records[i].Index, r); err != nil {
				return err
			}
		}
		return nil
	}
	if err := p.want(all); err != nil {
		return err
	}
	err := leaves(dir, nil, c.Size, progress, func(_ []byte, leaf tlog.Hash) error {
		p.add(leaf)
		return nil
	})
	if err != nil {
		return err
	}
	if p.tree.root() != c.Root {
		return fmt.Errorf("%w: the records are not what the last checkpoint is of", errUnsound)
	}
	return all(&p)
}
