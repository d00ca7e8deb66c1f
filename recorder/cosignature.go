package recorder

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Types of Ed25519 keys, as c2sp.org/signed-note numbers them. Witnesses are
// known by either, and cosign as the latter.
const (
	algNote        = 1
	algCosignature = 4
)

// A WitnessKey verifies what a witness signs: that it has seen a checkpoint,
// and when. It is a note.Verifier for cosignature/v1 of c2sp.org/tlog-cosignature
// with Ed25519.
type WitnessKey struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

// ParseWitnessKey reads a verifier key, NAME+HASH+KEY as witnesses print it.
func ParseWitnessKey(text string) (*WitnessKey, error) {
	name, rest, _ := strings.Cut(strings.TrimSpace(text), "+")
	hash, encoded, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || name == "" || len(raw) == 0 || strings.ContainsAny(name, " \t\n") {
		return nil, errors.New("that is no witness's key: write NAME+HASH+KEY, as the witness gives it")
	}
	if raw[0] != algNote && raw[0] != algCosignature || len(raw) != 1+ed25519.PublicKeySize {
		return nil, fmt.Errorf("the key of %s is of type %d: agentd knows those of Ed25519, which are 1 and 4", name, raw[0])
	}
	if want := fmt.Sprintf("%08x", keyHash(name, raw)); hash != want {
		return nil, fmt.Errorf("the key of %s has the hash %s, and says %s: part of it was lost or changed", name, want, hash)
	}
	raw[0] = algCosignature
	k := &WitnessKey{name: name, key: raw[1:], hash: keyHash(name, raw)}
	return k, nil
}

// keyHash is what names a key in signatures; key begins with its type.
func keyHash(name string, key []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return binary.BigEndian.Uint32(sum[:])
}

// String returns the name and hash of the key, as they are in signatures.
func (k *WitnessKey) String() string { return fmt.Sprintf("%s+%08x", k.name, k.hash) }

// Name implements note.Verifier.
func (k *WitnessKey) Name() string { return k.name }

// KeyHash implements note.Verifier.
func (k *WitnessKey) KeyHash() uint32 { return k.hash }

// Verify implements note.Verifier.
func (k *WitnessKey) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(signature)
	if at > math.MaxInt64 {
		return false
	}
	message := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text)
	return ed25519.Verify(k.key, message, signature[8:])
}

// Cosigned returns when the witness cosigned a signed note, checking the
// signature; an error if it did not.
func (k *WitnessKey) Cosigned(signed []byte) (time.Time, error) {
	line, err := k.cosignature(signed)
	if err != nil {
		return time.Time{}, err
	}
	raw, err := base64.StdEncoding.DecodeString(line.Base64)
	if err != nil || len(raw) < 12 {
		return time.Time{}, errors.New("its cosignature is malformed")
	}
	return time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0).UTC(), nil
}

// Cosign returns a signed note with the witness's cosignature from what it
// answered (lines of signatures), and without all else that is there.
func (k *WitnessKey) Cosign(signed, answer []byte) ([]byte, error) {
	line, err := k.cosignature(append(signed[:len(signed):len(signed)], answer...))
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(signed[:len(signed):len(signed)], "— %s %s\n", line.Name, line.Base64), nil
}

// cosignature returns the witness's signature of a signed note.
func (k *WitnessKey) cosignature(signed []byte) (note.Signature, error) {
	n, err := note.Open(signed, note.VerifierList(k))
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		return note.Signature{}, fmt.Errorf("it is not cosigned by %s", k)
	}
	if err != nil {
		return note.Signature{}, err
	}
	return n.Sigs[0], nil
}
