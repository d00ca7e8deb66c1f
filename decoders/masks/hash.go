package masks

import (
	"encoding/base32"
	"encoding/hex"
)

// Hash replaces a value by the front half of its HMAC-SHA-256. Equal values
// become equal, others do not, so that joins and counts still work; who does
// not have the key cannot find out which value it was by trying them all.
type Hash struct {
	Key    *Key // nil: no value has a replacement
	Base32 bool // 26 lower-case letters and digits in place of 32 hexadecimal digits
}

var lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Append implements decoders.Way.
func (h Hash) Append(dst, value []byte) ([]byte, bool) {
	if h.Key == nil {
		return dst, false
	}
	sum := h.Sum(value)
	if h.Base32 {
		return lower32.AppendEncode(dst, sum[:]), true
	}
	return hex.AppendEncode(dst, sum[:]), true
}

// Sum implements decoders.Digest.
func (h Hash) Sum(value []byte) (sum [16]byte) {
	if h.Key == nil {
		return sum
	}
	s := h.Key.take()
	s.of(forHash, value)
	copy(sum[:], s.sum[:])
	h.Key.give(s)
	return sum
}
