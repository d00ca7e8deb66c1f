package decoders

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Claim is something that a client says of why it asks, as the task it works
// on. Nobody has verified it: it may be a lie, and lets nothing through.
type Claim struct{ Key, Value string }

// Trace is the key of a claim that is the id of a W3C trace.
const Trace = "trace"

const (
	maxClaims     = 16
	maxClaimKey   = 64  // bytes
	maxClaimValue = 256 // bytes
)

// AddClaim appends a claim, unless there are too many, the key is there, or one
// of the two is not plain text. A traceparent becomes the trace it is of.
func AddClaim(to []Claim, key, value string) []Claim {
	if strings.EqualFold(key, "traceparent") {
		trace, ok := TraceOf(value)
		if !ok {
			return to
		}
		key, value = Trace, trace
	}
	if len(to) >= maxClaims || !claimKey(key) || value == "" || len(value) > maxClaimValue || !utf8.ValidString(value) ||
		strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return to
	}
	for _, c := range to {
		if c.Key == key {
			return to
		}
	}
	return append(to, Claim{key, value})
}

// Told are the claims of e that may be recorded and shown, and whether that is
// all of them. Where its text is not recorded as it was sent, because something
// in it is to stay out of records, claims could be just that: of those, only
// what is sure to be the id of a trace is told.
func (e *Event) Told() (claims []Claim, all bool) {
	if len(e.Claims) == 0 || e.Kind == Login || len(e.Text) > 0 && len(e.Record) == len(e.Text) && &e.Record[0] == &e.Text[0] {
		return e.Claims, true
	}
	for _, c := range e.Claims {
		if _, ok := TraceOf("00-" + c.Value + "-1000000000000000-00"); ok && c.Key == Trace {
			claims = append(claims, c)
		}
	}
	return claims, false
}

func claimKey(key string) bool {
	for i := range len(key) {
		c := key[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.') {
			return false
		}
	}
	return key != "" && len(key) <= maxClaimKey
}

// traceparent is how long one of version 00 is: 00-<32 digits>-<16>-<2>.
const traceparent = 2 + 1 + 32 + 1 + 16 + 1 + 2

// TraceOf finds the first traceparent (https://www.w3.org/TR/trace-context/) in
// text, and returns the id of its trace.
func TraceOf(text string) (id string, ok bool) {
	for i := 0; i+traceparent <= len(text); i++ {
		if text[i+2] == '-' && isTraceparent(text[i:i+traceparent]) && (i == 0 || !hex(text[i-1])) {
			return text[i+3 : i+35], true
		}
	}
	return "", false
}

func isTraceparent(s string) bool {
	for i := range len(s) {
		if dash := i == 2 || i == 35 || i == 52; dash != (s[i] == '-') || !dash && !hex(s[i]) {
			return false
		}
	}
	return s[:2] != "ff" && strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}

func hex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }
