package postgres

import (
	"encoding/binary"

	"agentd.dev/decoders"
)

// requestLen is how long an SSLRequest or a GSSENCRequest is.
const requestLen = 8

// secure is how PostgreSQL comes to TLS (protocol.sgml, "SSL Session
// Encryption"): a client asks with an SSLRequest and is answered with one byte,
// or, since version 17, begins TLS at once and names the protocol in it.
var secure = decoders.Secure{
	ALPN:    "postgresql",
	Open:    open,
	Enough:  requestLen,
	Request: []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}, // length, sslRequest
	Accepts: accepts,
}

// open says what a client's first bytes want. What is no PostgreSQL is left to
// the decoder to refuse.
func open(head []byte) decoders.Opening {
	switch {
	case head[0] == tlsRecord:
		return decoders.Opening{Opens: decoders.BeginsTLS}
	case head[0] != 0: // of a length that is too long
		return decoders.Opening{Opens: decoders.Unsecured}
	case len(head) < requestLen:
		return decoders.Opening{}
	}
	size, code := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:])
	switch {
	case code == sslRequest && size == requestLen:
		return decoders.Opening{Opens: decoders.AsksTLS, N: requestLen, Answer: []byte{'S'}}
	case code == gssRequest && size == requestLen:
		return decoders.Opening{Opens: decoders.AsksOther, N: requestLen, Answer: []byte{'N'}}
	case code == cancelRequest: // libpq never encrypts one before version 17
		return decoders.Opening{Opens: decoders.Exempt}
	}
	return decoders.Opening{Opens: decoders.Unsecured}
}

// accepts reads a server's answer to SSLRequest. An ErrorResponse is neither
// yes nor no, and its text is nobody's: it came in plaintext (CVE-2024-10977).
func accepts(answer byte) (yes, known bool) { return answer == 'S', answer == 'S' || answer == 'N' }

// Parting implements decoders.Parter.
func (d *decoder) Parting() string {
	if d.phase == starting && d.askedTLS && !d.want.Secured[decoders.FromClient] {
		return "it asked for TLS, which the target does not offer: set `client: offer` under its `tls`"
	}
	return ""
}
