package patterns

import (
	"bytes"

	"agentd.dev/decoders"
)

// maxIP6 is how long an address can be: eight groups, the last two as a
// dotted address.
const maxIP6 = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")

// ip6s finds addresses of version 6 by their colons. One needs a digit, or
// a::b of a program would be one.
func ip6s(dst []decoders.Span, text []byte, kind int) []decoders.Span {
	for end := 0; ; {
		i := bytes.IndexByte(text[end:], ':')
		if i < 0 {
			return dst
		}
		from := end + i
		if !is(text, from+1, hexa|digit) && !joined(text, from+1, ":") {
			end = from + 1 // as the colon of a sentence
			continue
		}
		for from > end && is(text, from-1, hexa|digit) {
			from--
		}
		to := end + i
		for is(text, to, hexa|digit) || joined(text, to, ":.") {
			to++
		}
		end, from, to = to, opening(text, from, to), closing(text, from, to)
		if to-from < 3 || to-from > maxIP6 || is(text, from-1, alnum) || is(text, to, alnum) || joined(text, from-1, "_") || joined(text, to, "_") {
			continue
		}
		if address6(text[from:to]) {
			dst = append(dst, decoders.Span{From: from, To: to, Kind: kind})
		}
	}
}

// opening leaves out a colon that belongs to the word before.
func opening(text []byte, from, to int) int {
	if to-from > 1 && text[from] == ':' && text[from+1] != ':' {
		return from + 1
	}
	return from
}

// closing leaves out a colon or dots that belong to the sentence.
func closing(text []byte, from, to int) int {
	for to > from && text[to-1] == '.' {
		to--
	}
	if to-from > 1 && text[to-1] == ':' && text[to-2] != ':' {
		to--
	}
	return to
}

// address6 reports whether all of text is an address (RFC 4291, 2.2).
func address6(text []byte) bool {
	groups, gap, digits := 0, false, false
	for i := 0; i < len(text); {
		if text[i] == ':' {
			// The first of two, or of one behind a group.
			if joined(text, i+1, ":") {
				if gap {
					return false
				}
				gap = true
				i += 2
				continue
			}
			if i == 0 || groups == 0 || i+1 == len(text) || text[i-1] == ':' {
				return false
			}
			i++
			continue
		}
		from := i
		for is(text, i, hexa|digit) {
			digits = digits || class[text[i]]&digit != 0
			i++
		}
		if joined(text, i, ".") {
			groups += 2
			return dotted(text, from) == len(text) && (gap && groups < 8 || groups == 8)
		}
		if i == from || i-from > 4 {
			return false
		}
		groups++
	}
	return digits && (gap && groups < 8 || groups == 8)
}
