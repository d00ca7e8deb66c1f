package patterns

import (
	"bytes"
	"encoding/base64"
	"encoding/json"

	"agentd.dev/decoders"
)

// jwts finds tokens by their first dot: a header that is a JSON object, a
// payload and a signature, which may be empty, in base64. An encrypted token
// has two parts more.
func jwts(dst []decoders.Span, text []byte, kind int) []decoders.Span {
	for end, dot := 0, 0; ; dot++ {
		i := bytes.IndexByte(text[dot:], '.')
		if i < 0 {
			return dst
		}
		dot += i
		if !is(text, dot-1, urlsafe) || !is(text, dot+1, urlsafe) {
			continue
		}
		from := dot
		for from > end && class[text[from-1]]&urlsafe != 0 {
			from--
		}
		end = dot
		if from = header(text, from, dot); from < 0 {
			continue
		}
		to := part(text, dot+1)
		if !joined(text, to, ".") {
			continue
		}
		to = part(text, to+1)
		for more := 0; more < 2 && joined(text, to, ".") && is(text, to+1, urlsafe); more++ {
			to = part(text, to+1)
		}
		dst = append(dst, decoders.Span{From: from, To: to, Kind: kind})
		end, dot = to, to-1
	}
}

// part returns where what is in base64 ends that begins at text[i].
func part(text []byte, i int) int {
	for is(text, i, urlsafe) {
		i++
	}
	return i
}

// object is how a JSON object without blanks begins in base64.
var object = []byte("eyJ")

// header returns where in text[from:to] a header begins that ends there, -1 if
// none does. A word in front of it may be joined to it.
func header(text []byte, from, to int) int {
	if opens(text[from:to]) {
		return from
	}
	for {
		i := bytes.Index(text[from:to], object)
		if i < 0 {
			return -1
		}
		if from += i; opens(text[from:to]) {
			return from
		}
		from++
	}
}

// maxHeader is how much of a header is looked at, in base64; of a longer one it
// is the beginning that must be JSON.
const maxHeader = 1024

// opens reports whether text is a JSON object in base64.
func opens(text []byte) bool {
	if len(text) < 4 || text[0] != 'e' {
		return false
	}
	// An object begins with a brace, and then a quote, a blank, or its end.
	var front [3]byte
	if _, err := base64.RawURLEncoding.Decode(front[:], text[:4]); err != nil || front[0] != '{' || !bytes.Contains([]byte("\" }\t\r\n"), front[1:2]) {
		return false
	}
	var room [maxHeader]byte
	whole := len(text) <= maxHeader
	n, err := base64.RawURLEncoding.Decode(room[:], text[:min(len(text), maxHeader)])
	if err != nil {
		return false
	}
	if whole {
		return json.Valid(room[:n])
	}
	return bytes.HasPrefix(bytes.TrimLeft(room[1:n], " \t\r\n"), []byte(`"`))
}
