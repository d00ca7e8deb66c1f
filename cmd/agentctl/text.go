package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Statements, names and messages come from workloads and servers, and a
// terminal obeys what it is sent. Nothing of theirs is printed but through
// this file.

// printable returns s with everything a terminal could obey, or that could
// make text look other than it is, written as an escape: control characters,
// those that change the direction of writing, bytes that are not UTF-8. Only
// line feeds stay.
func printable(s string) string {
	return escape(s, func(r rune) bool { return r == '\n' || unicode.IsPrint(r) })
}

// oneLine returns s printable in one line, each run of white space one space.
func oneLine(s string) string {
	return escape(strings.Join(strings.Fields(s), " "), unicode.IsPrint)
}

// escape writes every rune that does not stand as an escape.
func escape(s string, stands func(rune) bool) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case stands(r):
			b.WriteRune(r)
		case r == '\t':
			b.WriteString("    ")
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// escapeJSON escapes, in JSON, what encoding/json lets stand and a terminal
// may obey. Such runes are only ever inside strings.
func escapeJSON(text []byte) []byte {
	return escapeEncoded(text, func(out []byte, r rune) []byte {
		if r < 0x10000 {
			return fmt.Appendf(out, `\u%04x`, r)
		}
		high, low := utf16.EncodeRune(r)
		return fmt.Appendf(out, `\u%04x\u%04x`, high, low)
	})
}

// escapeYAML does the same for YAML, where unquote has seen to it that such
// runes are in double quotes.
func escapeYAML(text []byte) []byte {
	return escapeEncoded(text, func(out []byte, r rune) []byte { return fmt.Appendf(out, `\U%08x`, r) })
}

func escapeEncoded(text []byte, escape func(out []byte, r rune) []byte) []byte {
	var out []byte
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == '\n' || unicode.IsPrint(r) {
			out = append(out, text[:n]...)
		} else {
			out = escape(out, r)
		}
		text = text[n:]
	}
	return out
}

// cut shortens s to width columns, with an ellipsis if something is missing.
func cut(s string, width int) string {
	if width <= 0 || utf8.RuneCountInString(s) <= width {
		return s
	}
	runes := []rune(s)
	return string(runes[:width-1]) + "…"
}

// indent puts prefix before every line of s but the first.
func indent(s, prefix string) string { return strings.ReplaceAll(s, "\n", "\n"+prefix) }

// plural returns n with its noun, as "1 record" or "2 records".
func plural[N ~int | ~int64 | ~uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
