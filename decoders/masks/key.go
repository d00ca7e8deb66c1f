package masks

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// KeySize is how many bytes a key should have.
const KeySize = 32

// A Key makes replacements that nobody can make, or guess values by, without
// it. It may be used by any number of goroutines.
type Key struct{ states sync.Pool }

// NewKey returns the key that secret is.
func NewKey(secret []byte) *Key {
	secret = append([]byte(nil), secret...)
	k := new(Key)
	k.states.New = func() any { return &state{mac: hmac.New(sha256.New, secret)} }
	return k
}

// A state is what one computation needs, kept so that the next allocates
// nothing.
type state struct {
	mac    hash.Hash
	use    [1]byte
	sum    [sha256.Size]byte
	used   int // bytes of sum that digits were made from
	digits []byte
}

// Uses keep apart what one key makes of one value for different ways.
const (
	forHash   = 'h'
	forDigits = 'd'
)

// of makes sum the HMAC-SHA-256 of value, for one use.
func (s *state) of(use byte, value []byte) {
	s.mac.Reset()
	s.use[0] = use
	s.mac.Write(s.use[:])
	s.mac.Write(value)
	s.mac.Sum(s.sum[:0])
	s.used = 0
}
