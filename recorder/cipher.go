package recorder

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// A segment is encrypted with a key of its own, which is encrypted to the age
// recipients in the file: only who has one of their identities reads it. Each
// block is sealed by itself, so that one is read without the others.
// docs/decisions/0028-seal.md says why it is not one age stream.

const segmentKey = 32 // bytes of a segment's key

// newCipher makes a key, and returns it encrypted to the recipients.
func newCipher(recipients []age.Recipient) (cipher.AEAD, []byte, error) {
	key := make([]byte, segmentKey)
	rand.Read(key) // never an error
	aead, err := cipherOf(key)
	if err != nil {
		return nil, nil, err
	}
	var wrapped bytes.Buffer
	w, err := age.Encrypt(&wrapped, recipients...)
	if err != nil {
		return nil, nil, fmt.Errorf("encrypt to record.encrypt: %w", err)
	}
	if _, err := w.Write(key); err != nil {
		return nil, nil, err
	}
	if err := w.Close(); err != nil {
		return nil, nil, err
	}
	return aead, wrapped.Bytes(), nil
}

// openCipher decrypts a segment's key; nil if none of the identities does.
func openCipher(wrapped []byte, identities []age.Identity) (cipher.AEAD, error) {
	if len(identities) == 0 {
		return nil, nil
	}
	r, err := age.Decrypt(bytes.NewReader(wrapped), identities...)
	var other *age.NoIdentityMatchError
	if errors.As(err, &other) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("its key: %w", err)
	}
	key, err := io.ReadAll(io.LimitReader(r, segmentKey+1))
	if err != nil {
		return nil, fmt.Errorf("its key: %w", err)
	}
	if len(key) != segmentKey {
		return nil, errors.New("its key is of another length")
	}
	return cipherOf(key)
}

func cipherOf(key []byte) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, key, nil, "agentd segment blocks", segmentKey)
	if err != nil {
		return nil, err
	}
	c, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(c)
}

// nonce is that of a block: no key is of two segments, so its number will do.
func nonce(block int) []byte {
	return binary.LittleEndian.AppendUint64(make([]byte, 4, 12), uint64(block))
}

// ParseRecipient reads an age recipient, age1... or age1pq1...
func ParseRecipient(text string) (age.Recipient, error) {
	if r, err := age.ParseHybridRecipient(text); err == nil {
		return r, nil
	}
	r, err := age.ParseX25519Recipient(text)
	if err != nil {
		return nil, fmt.Errorf("%.80q is no age recipient: give what `age-keygen -y` prints, which begins with age1", text)
	}
	return r, nil
}

// ParseIdentities reads an age identity file.
func ParseIdentities(r io.Reader) ([]age.Identity, error) {
	all, err := age.ParseIdentities(r)
	if err != nil {
		return nil, errors.New("no age identities in it: give what `age-keygen` wrote, with a line that begins with AGE-SECRET-KEY-1")
	}
	return all, nil
}
