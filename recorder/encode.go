package recorder

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	maxText  = 64 << 10 // bytes of a statement that are kept
	maxField = 4 << 10  // bytes of any other string that are kept
)

// text appends a field unless its value is empty. The value may be any bytes:
// what is not UTF-8 shows as U+FFFD in the field and exactly, in base64, in a
// second field named key + "_raw". Of a value longer than limit the front is
// kept, and its whole length and SHA-256 are given in key + "_bytes" and
// key + "_sha256".
func (t *Turn) text(key string, value []byte, limit int) {
	if len(value) == 0 {
		return
	}
	kept := value
	if len(kept) > limit {
		kept = cutText(kept, limit)
	}
	t.key(key, "")
	t.buf = append(t.buf, '"')
	var valid bool
	t.buf, valid = appendEscaped(t.buf, kept)
	t.buf = append(t.buf, '"')
	if !valid {
		t.key(key, "_raw")
		t.buf = append(t.buf, '"')
		t.buf = base64.StdEncoding.AppendEncode(t.buf, kept)
		t.buf = append(t.buf, '"')
	}
	if len(kept) == len(value) {
		return
	}
	t.key(key, "_bytes")
	t.buf = strconv.AppendInt(t.buf, int64(len(value)), 10)
	t.key(key, "_sha256")
	sum := sha256.Sum256(value)
	t.buf = append(t.buf, '"')
	t.buf = hex.AppendEncode(t.buf, sum[:])
	t.buf = append(t.buf, '"')
}

// cutText returns at most limit bytes from the front of s, not ending within a
// character.
func cutText(s []byte, limit int) []byte {
	end := limit
	for end > limit-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	if !utf8.RuneStart(s[end]) {
		end = limit // not UTF-8 anyway
	}
	return s[:end]
}

// str is text for strings that rarely need escaping, which then costs an
// allocation.
func (t *Turn) str(key, value string) {
	if value == "" {
		return
	}
	if plain(value) && len(value) <= maxField {
		t.key(key, "")
		t.buf = append(t.buf, '"')
		t.buf = append(t.buf, value...)
		t.buf = append(t.buf, '"')
		return
	}
	t.text(key, []byte(value), maxField)
}

// int appends a field unless its value is 0.
func (t *Turn) int(key string, value int64) {
	if value != 0 {
		t.key(key, "")
		t.buf = strconv.AppendInt(t.buf, value, 10)
	}
}

// flag appends a field if its value is true.
func (t *Turn) flag(key string, value bool) {
	if value {
		t.key(key, "")
		t.buf = append(t.buf, "true"...)
	}
}

// time appends a field unless its value is the zero time.
func (t *Turn) time(key string, value time.Time) {
	if value.IsZero() {
		return
	}
	t.key(key, "")
	t.buf = append(t.buf, '"')
	t.appendTime(value)
	t.buf = append(t.buf, '"')
}

// key appends a comma and a field's name.
func (t *Turn) key(name, suffix string) {
	t.buf = append(t.buf, `,"`...)
	t.buf = append(t.buf, name...)
	t.buf = append(t.buf, suffix...)
	t.buf = append(t.buf, `":`...)
}

// plain reports whether s means itself within a JSON string.
func plain(s string) bool {
	for i := range len(s) {
		if escape[s[i]] != 0 {
			return false
		}
	}
	return true
}

// Entries of escape that are not the letter after a backslash.
const (
	asHex   = 1 // \u00XX
	asIs    = 2 // part of a character of several bytes
	unknown = 0 // itself
)

// escape says how each byte is written within a JSON string.
var escape = func() (table [256]byte) {
	for b := range table {
		switch {
		case b < ' ' || b == 0x7f:
			table[b] = asHex
		case b >= utf8.RuneSelf:
			table[b] = asIs
		}
	}
	table['"'], table['\\'] = '"', '\\'
	table['\n'], table['\r'], table['\t'] = 'n', 'r', 't'
	return table
}()

// appendEscaped appends s as the inside of a JSON string, and reports whether
// it was UTF-8 throughout.
func appendEscaped(dst, s []byte) ([]byte, bool) {
	valid := true
	start := 0
	for i := 0; i < len(s); {
		e := escape[s[i]]
		if e == unknown {
			i++
			continue
		}
		if e == asIs {
			r, n := utf8.DecodeRune(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch e {
		case asIs:
			valid = false
			dst = append(dst, `\ufffd`...)
		case asHex:
			dst = append(dst, `\u00`...)
			dst = hex.AppendEncode(dst, s[i:i+1])
		default:
			dst = append(dst, '\\', e)
		}
		i++
		start = i
	}
	return append(dst, s[start:]...), valid
}
