package decoders

// A Secure says how the connections of a protocol come to TLS. Like a decoder
// it is pure: whoever owns the sockets reads, answers and shakes hands.
type Secure struct {
	// ALPN is what the protocol is called within TLS (RFC 7301).
	ALPN string
	// Open says what the first bytes of a client want. It is called again
	// with more of them after Undecided, and with what comes next after
	// AsksOther. Head is not empty.
	Open func(head []byte) Opening
	// Enough is how many bytes Open never needs more than.
	Enough int
	// Request is sent to a server to ask for TLS.
	Request []byte
	// Accepts says whether a server's answer to Request, of one byte, is yes,
	// and whether it is an answer at all. Nothing may come behind it before
	// TLS begins.
	Accepts func(answer byte) (yes, known bool)
}

// An Opens is what a client wants.
type Opens uint8

const (
	Undecided Opens = iota // more bytes are needed to tell
	Unsecured              // the protocol itself, in plaintext
	Exempt                 // likewise, and clients may not be able to use TLS for it
	AsksTLS                // TLS begins after the answer
	AsksOther              // what agentd does not have: the answer says no, and more comes
	BeginsTLS              // TLS has begun, and must name the protocol
)

// An Opening is what the first bytes of a client want.
type Opening struct {
	Opens  Opens
	N      int    // bytes to take, which are not for the decoder
	Answer []byte // to be sent once they are taken
}
