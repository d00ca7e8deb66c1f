package masks

import (
	"unicode"
	"unicode/utf8"
)

// Partial keeps the first and the last letters and digits of a value and makes
// a star of each other one. Whatever is neither stays, so that the value looks
// like what it was.
//
// Of a short value nothing is kept: it is always at least as much hidden as
// shown.
type Partial struct {
	First, Last int
	// Stars, if not 0, is how many stars stand for all that is hidden, what is
	// between it included: they do not tell how long the value was.
	Stars int
}

// Append implements decoders.Way.
func (p Partial) Append(dst, value []byte) ([]byte, bool) {
	from, to := p.hidden(value)
	dst = append(dst, value[:from]...)
	if p.Stars > 0 {
		for range p.Stars {
			dst = append(dst, '*')
		}
		return append(dst, value[to:]...), true
	}
	for rest := value[from:to]; len(rest) > 0; {
		tells, size := telling(rest)
		if tells {
			dst = append(dst, '*')
		} else {
			dst = append(dst, rest[:size]...)
		}
		rest = rest[size:]
	}
	return append(dst, value[to:]...), true
}

// hidden returns which part of value is not kept.
func (p Partial) hidden(value []byte) (from, to int) {
	n := 0
	for rest := value; len(rest) > 0; {
		tells, size := telling(rest)
		if tells {
			n++
		}
		rest = rest[size:]
	}
	if 2*(p.First+p.Last) > n {
		return 0, len(value)
	}
	to = len(value)
	for at, seen := 0, 0; at < len(value); {
		tells, size := telling(value[at:])
		if tells {
			seen++
		}
		if tells && seen == n-p.Last+1 {
			return from, at
		}
		at += size
		if tells && seen == p.First {
			from = at
		}
	}
	return from, to
}

// telling reports whether the character at the front of b tells something of
// the value: all do but blanks and punctuation. What is not UTF-8 does.
func telling(b []byte) (tells bool, size int) {
	if c := b[0]; c < utf8.RuneSelf {
		return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z', 1
	}
	r, size := utf8.DecodeRune(b)
	if r == utf8.RuneError {
		return true, size
	}
	return !unicode.IsPunct(r) && !unicode.IsSpace(r), size
}
