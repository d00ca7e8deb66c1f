package approvals

import (
	"crypto/rand"
	"time"
)

// alphabet is Crockford's base 32 in lower case: no i, l, o or u. Its order is
// that of its bytes, so that ids sort as their times.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

const (
	timeDigits   = 6  // seconds since epoch: enough to 2058
	randomDigits = 10 // 50 bits
)

var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// newID returns an id that is short, sorts by the second it was made in, and
// cannot be guessed.
func newID(now time.Time) string {
	var id [timeDigits + randomDigits]byte
	rand.Read(id[timeDigits:])
	for i := timeDigits; i < len(id); i++ {
		id[i] = alphabet[id[i]%32]
	}
	seconds := max(0, now.Sub(epoch)/time.Second)
	for i := timeDigits - 1; i >= 0; i-- {
		id[i] = alphabet[seconds%32]
		seconds /= 32
	}
	return string(id[:])
}
