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
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// keyLine begins the line of a checkpoint that hands the log on to another key.
// Such a checkpoint is signed with both, and below it is a record that says the
// same.
const keyLine = "key "

// A keyring is the keys that a log was signed with, from one that is trusted on:
// each was signed for with the one before it.
type keyring struct {
	keys  []note.Verifier
	since []int64 // records under the checkpoint that handed on to the key, 0 of the first
	// began is since for the first, if the log was handed on to it: what was
	// signed before, with other keys, it does not verify.
	began  int64
	forked *Finding
	notes  []string // the checkpoints that handed on, of all keys but the first
}

// newKeyring follows the rotations in the checkpoints of dir, and in those that
// were kept elsewhere: the folder may have lost some.
func newKeyring(dir string, key note.Verifier, elsewhere ...[]byte) (*keyring, error) {
	ring := &keyring{keys: []note.Verifier{key}, since: []int64{0}}
	var handing []handingOn
	f, err := os.Open(filepath.Join(dir, checkpointsName))
	switch {
	case err == nil:
		defer f.Close()
		if handing, err = handings(handing, f); err != nil {
			return nil, err
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	for _, file := range elsewhere {
		if handing, err = handings(handing, bytes.NewReader(slices.Concat(bytes.TrimLeft(file, "\n"), []byte("\n\n")))); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(handing, func(a, b handingOn) int { return cmp.Compare(a.size, b.size) })
	for _, h := range handing {
		ring.follow(h.signed)
	}
	return ring, nil
}

// A handingOn is a checkpoint that may hand a log on to another key.
type handingOn struct {
	size   int64
	signed []byte
}

// handings adds those of a file.
func handings(all []handingOn, r io.Reader) ([]handingOn, error) {
	scan := scanNotes(r)
	for scan.Scan() {
		if !bytes.Contains(scan.Bytes(), []byte("\n"+keyLine)) {
			continue
		}
		if c, err := parseCheckpoint(scan.Text()); err == nil && c.Next != "" {
			all = append(all, handingOn{c.Size, bytes.Clone(scan.Bytes())})
		}
	}
	if err := scan.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) { // Verify says that it is forged
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	return all, nil
}

// scanNotes scans the notes of a file.
func scanNotes(r io.Reader) *bufio.Scanner {
	scan := bufio.NewScanner(r)
	scan.Split(splitNotes)
	return scan
}

// follow takes the key that a checkpoint hands on to, if it does so rightly.
func (r *keyring) follow(signed []byte) {
	last := r.keys[len(r.keys)-1]
	c, err := parseCheckpoint(string(signed))
	if err != nil || c.Next == "" {
		return
	}
	next, err := note.NewVerifier(c.Next)
	if err != nil || next.Name() != c.Origin {
		return
	}
	if len(r.keys) == 1 && r.began == 0 && keyName(next) == keyName(last) {
		if _, err := openCheckpoint(signed, last); err == nil {
			r.began = c.Size
		}
		return
	}
	n, err := note.Open(signed, note.VerifierList(last, next))
	if err != nil || len(n.Sigs) != 2 || keyName(next) == keyName(last) {
		r.doubt(signed, &c, next)
		return
	}
	r.keys, r.since, r.notes = append(r.keys, next), append(r.since, c.Size), append(r.notes, string(signed))
}

// doubt looks whether a checkpoint hands on from a key that had handed on to
// another already.
func (r *keyring) doubt(signed []byte, c *checkpoint, next note.Verifier) {
	if slices.ContainsFunc(r.keys, func(k note.Verifier) bool { return keyName(k) == keyName(next) }) {
		return
	}
	for _, key := range r.keys[:len(r.keys)-1] {
		if _, err := openCheckpoint(signed, key); err == nil && r.forked == nil {
			r.forked = &Finding{
				Kind: Forked, First: r.since[1], Last: max(r.since[1], c.Size-1),
				Detail: fmt.Sprintf("%s handed the log on to two keys, one of them %s: it signed two histories", keyName(key), keyName(next)),
			}
		}
	}
}

// at returns the key that signs checkpoints after one of size records: what
// hands on is signed with the one before it, too.
func (r *keyring) at(size int64) note.Verifier {
	i := len(r.keys) - 1
	for i > 0 && size <= r.since[i] {
		i--
	}
	return r.keys[i]
}

// errRotatedAway is a checkpoint that is younger than its key: if the log here is
// the one that was signed, another was signed, too.
var errRotatedAway = errors.New("the node's key signed two histories")

// open checks a checkpoint that was kept anywhere. It must be signed with the
// key that signed the log then.
func (r *keyring) open(signed []byte) (checkpoint, error) {
	c, err := parseCheckpoint(string(signed))
	if err != nil {
		c.Size = 0 // openCheckpoint says what is wrong
	}
	key := r.at(c.Size)
	c, err = openCheckpoint(signed, key)
	if errors.Is(err, errOtherKey) {
		for i, other := range r.keys {
			if _, e := openCheckpoint(signed, other); e == nil && i+1 < len(r.keys) {
				return c, fmt.Errorf("%w: it is signed with %s, which was rotated away at %d records", errRotatedAway, keyName(other), r.since[i+1])
			}
		}
	}
	return c, err
}

// openKeyring is newKeyring of a key's text.
func openKeyring(dir, verifierKey string, elsewhere ...[]byte) (*keyring, error) {
	key, err := note.NewVerifier(strings.TrimSpace(verifierKey))
	if err != nil {
		return nil, fmt.Errorf("verifier key: %w", err)
	}
	return newKeyring(dir, key, elsewhere...)
}
