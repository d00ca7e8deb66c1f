package sql

import (
	"bytes"
	"net/url"
	"strings"

	"agentd.dev/decoders"
)

// maxComment bounds the comment that claims are looked for in, in bytes.
const maxComment = 4 << 10

// Claims returns what a text says of why it is sent, in a comment before or
// behind everything else as sqlcommenter writes it: key='value', separated by
// commas and URL-encoded. It allocates nothing for a text without such a
// comment. What only looks like one, as within a literal, is only a claim, too.
func Claims(text []byte) (claims []decoders.Claim) {
	text = bytes.Trim(text, " \t\r\n;")
	if rest, ok := bytes.CutPrefix(text, []byte("/*")); ok {
		if end := bytes.Index(rest[:min(len(rest), maxComment)], []byte("*/")); end >= 0 {
			claims = addClaims(claims, rest[:end])
		}
	}
	if rest, ok := bytes.CutSuffix(text, []byte("*/")); ok {
		rest = rest[max(0, len(rest)-maxComment):]
		if begin := bytes.LastIndex(rest, []byte("/*")); begin >= 0 {
			claims = addClaims(claims, rest[begin+2:])
		}
	}
	return claims
}

// addClaims reads the inside of a comment. One that is not made of pairs alone is
// for people.
func addClaims(to []decoders.Claim, comment []byte) []decoders.Claim {
	if !bytes.Contains(comment, []byte("='")) {
		return to
	}
	all := to
	for rest := strings.TrimSpace(string(comment)); rest != ""; {
		key, after, ok := strings.Cut(rest, "='")
		if !ok {
			return to
		}
		end := 0
		for end < len(after) && after[end] != '\'' {
			if after[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(after) {
			return to
		}
		k, err := url.PathUnescape(strings.TrimSpace(key))
		v, also := url.PathUnescape(strings.ReplaceAll(after[:end], `\'`, `'`))
		if err == nil && also == nil {
			all = decoders.AddClaim(all, k, v)
		}
		rest = strings.TrimSpace(after[end+1:])
		if rest != "" {
			if rest, ok = strings.CutPrefix(rest, ","); !ok {
				return to
			}
			rest = strings.TrimSpace(rest)
		}
	}
	return all
}
