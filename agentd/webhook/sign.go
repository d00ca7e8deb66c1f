package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Header is the header that holds the signature: t=TIME,v1=SIGNATURE. TIME is
// when it was made, in seconds since 1970; SIGNATURE is the HMAC-SHA-256, in
// hex, by the hook's secret, of TIME, a dot, and the body as it was sent.
const Header = "Agentd-Signature"

// maxSignature bounds what is read of a header.
const maxSignature = 1 << 10

// Sign returns the Header of a body that is sent now.
func Sign(secret, body []byte, now time.Time) string {
	t := strconv.FormatInt(now.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac(secret, t, body))
}

func mac(secret []byte, t string, body []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(t))
	h.Write([]byte{'.'})
	h.Write(body)
	return h.Sum(nil)
}

// Verify says what is wrong with a signature, nil if nothing is: it must have
// been made with the secret, of this body, and no further from now than within.
// A receiver that wants each notice once looks at its id besides. It fails
// closed, and does not tell by its time where signatures differ.
func Verify(secret, body []byte, header string, now time.Time, within time.Duration) error {
	if len(secret) == 0 {
		return errors.New("no secret to verify with")
	}
	if len(header) > maxSignature {
		return fmt.Errorf("a %s of %d bytes", Header, len(header))
	}
	var t string
	var signed bool
	var signatures [][]byte
	for part := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			if signed {
				return errors.New("more than one time")
			}
			t, signed = value, true
		case "v1":
			if s, err := hex.DecodeString(value); err == nil {
				signatures = append(signatures, s)
			}
		}
	}
	seconds, err := strconv.ParseInt(t, 10, 64)
	if err != nil {
		return errors.New("no time in the signature")
	}
	want, good := mac(secret, t, body), false
	for _, s := range signatures {
		good = hmac.Equal(s, want) || good
	}
	switch age := now.Sub(time.Unix(seconds, 0)); {
	case !good:
		return errors.New("it is not signed with this secret")
	case age > within || age < -within:
		return fmt.Errorf("it was signed %s ago", age.Round(time.Second))
	}
	return nil
}
