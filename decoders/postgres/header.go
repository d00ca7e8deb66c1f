package postgres

import (
	"bytes"
	"encoding/binary"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// A header is what a RowDescription says, for whoever reads rows of the result
// for the record.
type header struct {
	body    []byte
	names   [][]byte
	oids    []uint32
	secret  []bool // by its name or place, each
	loose   []bool // it is no column of a table, and of a type that can hold a secret, each
	formats formats
}

// secrets are the columns of the server's own catalogues that hold what one can
// log in with, by the names under which they are there. secretPlaces are those
// by table and number, whatever they are called in a result.
var (
	secrets = map[string]bool{"rolpassword": true, "passwd": true, "subconninfo": true, "umoptions": true, "srvoptions": true, "fdwoptions": true}

	secretPlaces = map[[2]uint32]bool{
		{1260, 11}: true, // pg_authid.rolpassword
		{1418, 4}:  true, // pg_user_mapping.umoptions
		{1417, 8}:  true, // pg_foreign_server.srvoptions
	}
)

// countable are types whose values are no secrets: bool, numbers, dates and
// times.
var countable = map[uint32]bool{
	16: true, 20: true, 21: true, 23: true, 26: true, 700: true, 701: true, 1700: true,
	1082: true, 1083: true, 1114: true, 1184: true, 1186: true, 1266: true,
}

// learn reads the body of a RowDescription; h is empty if that is none.
func (h *header) learn(body []byte) {
	if len(h.names) > 0 && bytes.Equal(h.body, body) {
		return
	}
	h.body = append(h.body[:0], body...)
	h.clear()
	if len(body) < 2 {
		return
	}
	rest := h.body[2:]
	for range int(binary.BigEndian.Uint16(h.body)) {
		name, after, ok := cstring(rest)
		if !ok || len(after) < 18 {
			h.clear()
			return
		}
		h.names = append(h.names, name)
		h.oids = append(h.oids, binary.BigEndian.Uint32(after[6:]))
		place := [2]uint32{binary.BigEndian.Uint32(after), uint32(binary.BigEndian.Uint16(after[4:]))}
		h.secret = append(h.secret, secrets[string(name)] || secretPlaces[place] || sql.TellsSecret(name))
		h.loose = append(h.loose, place[0] == 0 && !countable[binary.BigEndian.Uint32(after[6:])])
		h.formats.each = append(h.formats.each, byte(code(after[16:])))
		rest = after[18:]
	}
}

// clear makes h one that knows nothing.
func (h *header) clear() {
	h.names, h.oids, h.secret, h.loose = h.names[:0], h.oids[:0], h.secret[:0], h.loose[:0]
	h.formats.all, h.formats.each = unknownFormat, h.formats.each[:0]
}

// learnHeader keeps what a Describe in slot s was answered, for the rows to come.
func (d *decoder) learnHeader(s *slot, body []byte) {
	switch {
	case s.portal != nil:
		p := s.portal
		p.header = &p.ownHeader
		p.header.learn(body)
	case s.statement == nil:
	case s.statement.header == nil:
		st := s.statement
		st.header = &st.ownHeader
		st.header.learn(body)
	case !bytes.Equal(s.statement.header.body, body): // portals may still go by the other
		s.statement.header = new(header)
		s.statement.header.learn(body)
	}
}

// verifiers are what passwords are kept as, which can be guessed from and, one
// of them, logged in with.
var (
	scramVerifier = []byte("SCRAM-SHA-256$")
	md5Verifier   = []byte("md5")
)

const md5Digits = 32

// hasVerifier reports whether text has in it what a server keeps of a password.
func hasVerifier(text []byte) bool {
	if len(text) < len(md5Verifier)+md5Digits {
		return false
	}
	if bytes.Contains(text, scramVerifier) {
		return true
	}
	for {
		at := bytes.Index(text, md5Verifier)
		if at < 0 {
			return false
		}
		before := at == 0 || !wordy(text[at-1])
		text = text[at+len(md5Verifier):]
		n := 0
		for n < len(text) && hexDigit(text[n]) {
			n++
		}
		if before && n == md5Digits && (n == len(text) || !wordy(text[n])) {
			return true
		}
	}
}

func wordy(c byte) bool {
	return c == '_' || isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0x80
}

func hexDigit(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' }

// withheld stands in records for values that are secrets.
var withheld = decoders.Value{Kind: decoders.Plain, Text: []byte("[withheld]")}
