// Package dialogue lets tests say things to a PostgreSQL server in its own
// protocol, message by message, and keeps every byte of what comes back. It
// judges nothing: what an answer shows is for the test to find.
package dialogue

import (
	"encoding/binary"
	"time"
)

// A Session is one login and what is said after it.
type Session struct {
	Database   string // "" for whichever of the client's is free
	User       string
	Parameters map[string]string // of the start-up
	Turns      [][]byte          // messages; a turn is sent when that before it was answered
	// Until, if it is not "", is what the answer to each turn that says it ends
	// with. Of a turn that does not, nobody knows how it is answered: what comes
	// next is sent a moment later.
	Until string
}

// Heard is what came back after the login.
type Heard struct {
	Answers []Answer // to each turn that was sent; the last may be cut short
	// End says why the session ended before its last turn was answered, ""
	// if it did not.
	End string
}

// An Answer is what came back for a turn, as it came.
type Answer struct {
	Messages []byte
	Took     time.Duration
}

// headerLen is the length of a message's type and length.
const headerLen = 5

// Walk calls f with each whole message at the front of b and returns the rest.
// A length that cannot be one ends the walk.
func Walk(b []byte, f func(kind byte, body []byte)) []byte {
	for len(b) >= headerLen {
		size := uint64(binary.BigEndian.Uint32(b[1:])) + 1
		if size < headerLen || size > uint64(len(b)) {
			break
		}
		f(b[0], b[headerLen:size])
		b = b[size:]
	}
	return b
}
