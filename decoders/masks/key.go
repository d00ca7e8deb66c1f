package masks

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
)

// KeySize is how many bytes a key should have.
const KeySize = 32

// A Key makes replacements that nobody can make, or guess values by, without
// it. It may be used by any number of goroutines.
type Key struct {
	secret []byte
	idle   chan *state
}

// maxIdle bounds the states that a key keeps, which are as many as goroutines
// that made replacements at one moment. A list of our own, as a sync.Pool may
// drop what it is given.
const maxIdle = 64

// NewKey returns the key that secret is.
func NewKey(secret []byte) *Key {
	return &Key{secret: append([]byte(nil), secret...), idle: make(chan *state, maxIdle)}
}

// take returns a state that nobody else has.
func (k *Key) take() *state {
	select {
	case s := <-k.idle:
		return s
	default:
		return &state{mac: hmac.New(sha256.New, k.secret)}
	}
}

// give takes back a state.
func (k *Key) give(s *state) {
	select {
	case k.idle <- s:
	default:
	}
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
