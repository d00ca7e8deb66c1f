package postgres

import (
	"strings"

	"github.com/jackc/pgproto3/v2"
)

// maxError is how much of an ErrorResponse is looked at. The fields that
// matter come first.
const maxError = 64 << 10

// A failure is what an ErrorResponse says.
type failure struct {
	severity, code, message []byte
	position                bool // it points into the statement's text: parse analysis failed
}

func (f *failure) fatal() bool {
	return string(f.severity) == "FATAL" || string(f.severity) == "PANIC"
}

// parseFailure reads the fields of an ErrorResponse or NoticeResponse, of which the
// end may be missing.
func parseFailure(body []byte) (f failure) {
	for len(body) > 1 && body[0] != 0 {
		field := body[0]
		value, rest, ok := cstring(body[1:])
		if !ok {
			return f
		}
		switch field {
		case 'S':
			if f.severity == nil {
				f.severity = value
			}
		case 'V': // not translated, since 9.6
			f.severity = value
		case 'C':
			f.code = value
		case 'M':
			f.message = value
		case 'P':
			f.position = true
		}
		body = rest
	}
	return f
}

// complaint returns an ErrorResponse in agentd's words, appended to dst.
func complaint(dst []byte, severity, code, message, hint string) []byte {
	return encode(dst, &pgproto3.ErrorResponse{
		Severity: severity, SeverityUnlocalized: severity, Code: code, Message: plain(message), Hint: plain(hint),
	})
}

// encode appends a message. None that agentd writes can be too long, which is
// all that could go wrong.
func encode(dst []byte, m interface {
	Encode(dst []byte) ([]byte, error)
},
) []byte {
	out, err := m.Encode(dst)
	if err != nil {
		return dst
	}
	return out
}

// plain returns s up to the first byte that would end a field.
func plain(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s
}
