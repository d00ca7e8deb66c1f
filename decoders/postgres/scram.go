package postgres

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
)

// The names of the mechanisms, as servers list them.
const (
	scramPlain = "SCRAM-SHA-256"
	scramPlus  = "SCRAM-SHA-256-PLUS" // bound to the server's certificate
)

const (
	maxNonce = 1 << 10
	maxSalt  = 1 << 10
	// minIterations is what RFC 7677 asks for: with fewer, whoever plays the
	// server could guess passwords from an answer too cheaply.
	minIterations = 4096
	maxIterations = 1_000_000
)

// A scram is the client's side of one exchange of SCRAM-SHA-256 (RFC 5802, RFC
// 7677): first, challenge, final, verify, in this order.
type scram struct {
	header  string // of GS2: whether and how the channel is bound
	binding []byte // what it is bound to
	nonce   string // the client's, then the whole
	salt    []byte
	rounds  int

	firstBare, serverFirst []byte
	signature              []byte // that the server must show
}

// newSCRAM begins an exchange. A binding that is there and not used (plus is
// false) is told of, so that a server which offered to use it knows that its
// offer was cut out on the way.
func newSCRAM(plus bool, binding []byte, nonce string) *scram {
	s := &scram{header: "n,,", nonce: nonce}
	switch {
	case plus:
		s.header, s.binding = "p=tls-server-end-point,,", binding
	case len(binding) > 0:
		s.header = "y,,"
	}
	return s
}

// scramNonce is one of agentd's own.
func scramNonce() string { return rand.Text() }

// first returns the client-first-message. The user's name is empty: the server
// goes by the StartupMessage.
func (s *scram) first() []byte {
	s.firstBare = []byte("n=,r=" + s.nonce)
	return append([]byte(s.header), s.firstBare...)
}

// challenge reads the server-first-message.
func (s *scram) challenge(msg []byte) error {
	nonce, rest, ok := scramAttribute(msg, 'r')
	if !ok || !bytes.HasPrefix(nonce, []byte(s.nonce)) || len(nonce) == len(s.nonce) || len(nonce) > maxNonce || !printable(nonce) {
		return errors.New("the server's nonce does not go on from agentd's")
	}
	encoded, rest, ok := scramAttribute(rest, 's')
	if !ok || len(encoded) > base64.StdEncoding.EncodedLen(maxSalt) || !printable(encoded) {
		return errors.New("the server's challenge has no salt that can be used")
	}
	salt, err := base64.StdEncoding.Strict().AppendDecode(nil, encoded)
	if err != nil || len(salt) == 0 {
		return errors.New("the server's challenge has no salt that can be used")
	}
	digits, rest, ok := scramAttribute(rest, 'i')
	rounds, err := strconv.ParseUint(string(digits[:min(len(digits), 16)]), 10, 32)
	switch {
	case !ok || err != nil || rest != nil:
		return errors.New("the server's challenge does not end with a number of iterations")
	case rounds < minIterations:
		return fmt.Errorf("the server asks for %d iterations, which makes passwords cheap to guess: at least %d are done", rounds, minIterations)
	case rounds > maxIterations:
		return fmt.Errorf("the server asks for %d iterations: at most %d are done", rounds, maxIterations)
	}
	s.nonce, s.salt, s.rounds = string(nonce), salt, int(rounds)
	s.serverFirst = bytes.Clone(msg)
	return nil
}

// key makes what the password is worth to this server. It takes a millisecond
// for each few thousand rounds.
func (s *scram) key(password string) []byte {
	key, err := pbkdf2.Key(sha256.New, password, s.salt, s.rounds, sha256.Size)
	if err != nil {
		return make([]byte, sha256.Size) // FIPS 140 minds the lengths: the server will say no
	}
	return key
}

// final returns the client-final-message.
func (s *scram) final(key []byte) []byte {
	bound := base64.StdEncoding.EncodeToString(append([]byte(s.header), s.binding...))
	msg := []byte("c=" + bound + ",r=" + s.nonce)
	auth := bytes.Join([][]byte{s.firstBare, s.serverFirst, msg}, []byte{','})

	client := mac(key, []byte("Client Key"))
	stored := sha256.Sum256(client)
	proof := mac(stored[:], auth)
	for i := range proof {
		proof[i] ^= client[i]
	}
	s.signature = mac(mac(key, []byte("Server Key")), auth)
	return base64.StdEncoding.AppendEncode(append(msg, ",p="...), proof)
}

// verify reads the server-final-message, with which the server shows that it
// knows the password, too.
func (s *scram) verify(msg []byte) error {
	if why, _, ok := scramAttribute(msg, 'e'); ok {
		return fmt.Errorf("the server says %q", why[:min(len(why), maxName)])
	}
	encoded, rest, ok := scramAttribute(msg, 'v')
	var shown [sha256.Size + 4]byte
	if !ok || rest != nil || !printable(encoded) || base64.StdEncoding.DecodedLen(len(encoded)) > len(shown) {
		return errors.New("the server's last word is not a signature")
	}
	n, err := base64.StdEncoding.Strict().Decode(shown[:], encoded)
	if err != nil || !hmac.Equal(shown[:n], s.signature) {
		return errors.New("the server does not know the password itself: it is not the one it is taken for")
	}
	return nil
}

func mac(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(nil)
}

// scramAttribute cuts "name=value" off the front of msg, and the comma behind it;
// without a comma rest is nil.
func scramAttribute(msg []byte, name byte) (value, rest []byte, ok bool) {
	if len(msg) < 2 || msg[0] != name || msg[1] != '=' {
		return nil, nil, false
	}
	value, rest, _ = bytes.Cut(msg[2:], []byte{','})
	return value, rest, true
}

// printable reports whether b is ASCII without blanks and control characters.
func printable(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
