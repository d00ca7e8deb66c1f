package recorder

import (
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A proving gathers, in one pass through a log, the hashes that proofs are made
// of. Only those are kept, so that memory goes with the proofs and not with
// the log.
type proving struct {
	wanted map[int64]tlog.Hash // by index, as package tlog stores hashes
	tree   tree
}

// want makes prove's proofs possible: it is called once to learn which hashes
// it reads, and with what those are after the pass.
func (p *proving) want(prove func(tlog.HashReader) error) error {
	if p.wanted == nil {
		p.wanted = map[int64]tlog.Hash{}
	}
	return prove(tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		for _, i := range indexes {
			p.wanted[i] = tlog.Hash{}
		}
		return make([]tlog.Hash, len(indexes)), nil
	}))
}

// ReadHashes implements tlog.HashReader, after the pass.
func (p *proving) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = p.wanted[index]
	}
	return hashes, nil
}

// add appends a leaf, and keeps those subtrees that end with it and are wanted.
func (p *proving) add(leaf tlog.Hash) {
	hash := leaf
	for level, n := 0, p.tree.size; ; level, n = level+1, n>>1 {
		index := tlog.StoredHashIndex(level, n)
		if _, ok := p.wanted[index]; ok {
			p.wanted[index] = hash
		}
		if n&1 == 0 {
			break
		}
		hash = tlog.NodeHash(p.tree.roots[level], hash)
	}
	p.tree.add(leaf)
}

// What cannot be proven because the log is not whole wraps these.
var (
	errUnsound = errors.New("the log is not whole: run `agentctl audit verify`")
	errEnds    = errors.New("the log ends")
)

// leaves calls f with the first size records in dir, checking that each is
// where it says and follows the one before. Of those that are hidden the payload
// is nil.
func leaves(dir string, ids []age.Identity, size int64, progress func(done, total int64), f func(payload []byte, leaf tlog.Hash) error) error {
	w, err := newWalk(dir, ids...)
	if err != nil {
		return err
	}
	defer w.close()
	var log chain
	var told int64
	for log.tree.size < size {
		s, err := w.next()
		switch {
		case err == io.EOF:
			return fmt.Errorf("%w after %d of the %d records that the checkpoint is of", errEnds, log.tree.size, size)
		case err != nil:
			return err
		case s.start() && s.err == nil:
			continue
		case s.err != nil:
			return fmt.Errorf("%w: %s at byte %d: %v", errUnsound, s.segment, s.offset, s.err)
		case !s.link.follows(&log):
			return fmt.Errorf("%w: record %d does not follow the one before it", errUnsound, log.tree.size)
		}
		if progress != nil && w.position() >= told {
			told = w.position() + progressBytes
			progress(w.position(), w.total)
		}
		log.add(s.link.leaf)
		if err := f(s.payload, s.link.leaf); err != nil {
			return err
		}
	}
	return nil
}

// keyName says which key v is.
func keyName(v note.Verifier) string { return fmt.Sprintf("%s+%08x", v.Name(), v.KeyHash()) }
