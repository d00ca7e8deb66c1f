package recorder

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// keyKind is the kind of the note that says that the log is handed on to
// another key.
const keyKind = "key"

// nextSuffix is what the file of a key is called by that is not in use yet.
const nextSuffix = ".next"

// A newKey is a key that a log is handed on to.
type newKey struct {
	signer    note.Signer
	signing   string // the key's text
	verifying string // and that of its verifier
}

// RotateKey has a new key sign the log from now on, and returns the names of the
// one before and of it. A record says so, and by whose order, and the checkpoint that covers it is
// signed with both keys: who trusts the one before can trust the new one. The
// one before is then gone; its public half stays, as KeyFile.HASH.pub.
//
// A crash leaves the one key in force or the other, and the log with it.
//
// The checkpoint is returned, too: it must leave the node, or who has only later
// ones and an earlier key can do nothing with them where the folder has lost it.
func (r *Recorder) RotateKey(by string) (Rotated, error) {
	if err := r.ready(); err != nil {
		return Rotated{}, err
	}
	r.signing.Lock()
	defer r.signing.Unlock()
	next, err := makeNext(r.opts.KeyFile, r.opts.Node)
	if err != nil {
		return Rotated{}, err
	}
	old, err := os.ReadFile(r.opts.KeyFile + ".pub")
	if err != nil {
		return Rotated{}, fmt.Errorf("read verifier key: %w", err)
	}
	if err := r.announce(strings.TrimSpace(string(old)), next.verifying, by); err != nil {
		return Rotated{}, err
	}
	if err := r.sign(next); err != nil {
		return Rotated{}, err
	}
	done := Rotated{Before: keyNamed(r.signer), Now: keyNamed(next.signer), Checkpoint: r.Latest()}
	r.signer = next.signer
	// Signed with both, the log is the new key's whatever happens: a restart
	// would do what fails here.
	return done, takeNext(r.opts.KeyFile, next)
}

// Rotated is what a rotation came to.
type Rotated struct {
	Before, Now string // names of the keys
	Checkpoint  []byte // that both signed
}

// announce records that the log is handed on. It waits for no handover: that
// waits for signing, which we hold.
func (r *Recorder) announce(old, now, by string) error {
	var t Turn
	noteRecord(&t, time.Now(), keyKind, "the log is signed with another key from here on", []any{"old", old, "new", now, "by", by})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.frozen || r.away != nil {
		return errors.New("the log is being handed over, or was: rotate the key with the agentd that has it")
	}
	return r.commit(&t)
}

func keyNamed(s note.Signer) string { return fmt.Sprintf("%s+%08x", s.Name(), s.KeyHash()) }

// makeNext makes a key that is not in use yet.
func makeNext(file, node string) (*newKey, error) {
	signing, verifying, err := note.GenerateKey(rand.Reader, node)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(signing)
	if err != nil {
		return nil, err
	}
	if err := writeFile(file+nextSuffix, strings.NewReader(signing+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("a new key cannot be written beside the one in use: %w", err)
	}
	return &newKey{signer, signing, verifying}, nil
}

// takeNext makes a new key the one in use.
func takeNext(file string, next *newKey) error {
	old, err := os.ReadFile(file + ".pub")
	if err != nil {
		return fmt.Errorf("read verifier key: %w", err)
	}
	if v, err := note.NewVerifier(strings.TrimSpace(string(old))); err == nil && v.KeyHash() != next.signer.KeyHash() {
		kept := fmt.Sprintf("%s.%08x.pub", file, v.KeyHash())
		if err := writeFile(kept, strings.NewReader(string(old)), 0o644); err != nil {
			return err
		}
	}
	if err := writeFile(file+".pub", strings.NewReader(next.verifying+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.Rename(file+nextSuffix, file); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(file))
}

// settleKey ends a rotation that a crash has cut short: the new key is in force
// if the last checkpoint is signed with it, and else is forgotten.
func settleKey(file string, last []byte) error {
	text, err := readPrivate(file + nextSuffix)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	next, err := parseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("read %s: %w", file+nextSuffix, err)
	}
	verifier, err := note.NewVerifier(next.verifying)
	if err != nil {
		return err
	}
	if last != nil {
		if _, err := openCheckpoint(last, verifier); err == nil {
			return takeNext(file, next)
		}
	}
	return errors.Join(os.Remove(file+nextSuffix), syncFolder(filepath.Dir(file)))
}

// parseKey reads a signing key, and makes the verifier key that is its other
// half.
func parseKey(signing string) (*newKey, error) {
	signer, err := note.NewSigner(signing)
	if err != nil {
		return nil, err
	}
	fields := strings.SplitN(signing, "+", 5) // PRIVATE+KEY+NAME+HASH+KEY
	raw, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, errors.New("it is no Ed25519 key")
	}
	public := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	verifying, err := note.NewEd25519VerifierKey(signer.Name(), public)
	return &newKey{signer, signing, verifying}, err
}
