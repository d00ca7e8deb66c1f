package postgres

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"unicode/utf8"
)

// A kind is what agentd knows of a type: how its values read, and what can
// stand for one. A type that it knows nothing of has the zero kind: its values
// are searched as they are, and what is to be replaced becomes NULL.
type kind struct {
	// plain: a value is its text, in both formats, and any text is a value.
	plain bool
	// read appends the text of a value in binary form, write the binary form
	// of a text; each is false if that is none.
	read, write func(dst, from []byte) ([]byte, bool)
	// canon appends the text that finders and ways see, from a value in text
	// format, and shown the value in text format from that. Nil: they are alike.
	canon, shown func(dst, text []byte) ([]byte, bool)
	// fit makes a replacement of digits one of the type, in place.
	fit func(replacement, was []byte)
	// digest appends the text of the value that is made of a digest.
	digest func(dst []byte, sum *[16]byte) []byte
	// dull: there is nothing to be found in a value but by expressions of users.
	dull bool
	// document: a value is JSON.
	document bool
	// opaque: a part of a value tells nearly as much as all of it, so that no
	// part of it may be kept.
	opaque bool
	// element is the kind of an array's elements.
	element *kind
}

// OIDs of built-in types (pg_type.dat) by what is known of them.
var kinds = map[uint32]*kind{
	25: &text, 1042: &text, 1043: &text, nameType: &text, 705: &text, 142: &text, 2275: &text,
	16: {read: readBool, write: writeBool, dull: true},
	20: whole(8), 21: whole(2), 23: whole(4),
	700: {read: readFloat4, write: writeFloat4, dull: true}, 701: {read: readFloat8, write: writeFloat8, dull: true},
	1700: &numeric,
	1082: {read: readDate, write: writeDate, dull: true},
	1114: {read: readTimestamp, write: writeTimestamp, shown: showTimestamp, dull: true},
	1184: {read: readZoned, write: writeZoned, shown: showZoned, dull: true},
	2950: {read: readUUID, write: writeUUID, digest: digestUUID, opaque: true},
	17:   {read: same, write: same, canon: readBytea, shown: showBytea, digest: digestBytes},
	869:  {read: readInet, write: writeInet}, 650: {read: readInet, write: writeCIDR},
	114: &document, 3802: {read: readJSONB, write: writeJSONB, document: true},
	// Arrays of these.
	1009: {element: &text}, 1014: {element: &text}, 1015: {element: &text}, 1003: {element: &text},
	1016: {element: whole(8)}, 1231: {element: &numeric}, 199: {element: &document},
	3807: {element: &kind{read: readJSONB, write: writeJSONB, document: true}},
}

var (
	text     = kind{plain: true}
	numeric  = kind{read: readNumeric, write: writeNumeric, fit: fitDigits}
	document = kind{read: same, write: writeJSON, document: true}
	anyKind  kind
)

// kindOf returns what is known of a type.
func kindOf(oid uint32) *kind {
	if k := kinds[oid]; k != nil {
		return k
	}
	return &anyKind
}

func same(dst, from []byte) ([]byte, bool) { return append(dst, from...), true }

// whole is the kind of integers of so many bytes.
func whole(size int) *kind {
	return &kind{
		dull: size < 8,
		read: func(dst, b []byte) ([]byte, bool) {
			if len(b) != size {
				return dst, false
			}
			var n int64
			switch size {
			case 2:
				n = int64(int16(binary.BigEndian.Uint16(b)))
			case 4:
				n = int64(int32(binary.BigEndian.Uint32(b)))
			default:
				n = int64(binary.BigEndian.Uint64(b))
			}
			return strconv.AppendInt(dst, n, 10), true
		},
		write: func(dst, text []byte) ([]byte, bool) {
			n, err := strconv.ParseInt(string(text), 10, 8*size)
			if err != nil {
				return dst, false
			}
			b := binary.BigEndian.AppendUint64(nil, uint64(n))
			return append(dst, b[8-size:]...), true
		},
		fit: func(replacement, was []byte) {
			fitDigits(replacement, was)
			if _, err := strconv.ParseInt(string(replacement), 10, 8*size); err != nil && sameForm(replacement, was) {
				replacement[bytes.IndexAny(replacement, "0123456789")] = '1' // no type ends below that
			}
		},
		digest: func(dst []byte, sum *[16]byte) []byte {
			n := binary.BigEndian.Uint64(sum[:]) >> (64 - 8*size + 1) // not negative
			return strconv.AppendUint(dst, n, 10)
		},
	}
}

// fitDigits keeps a number as long as it was: it does not begin with 0 unless
// it did.
func fitDigits(replacement, was []byte) {
	if !sameForm(replacement, was) {
		return
	}
	i := bytes.IndexAny(was, "0123456789")
	if i >= 0 && was[i] != '0' && replacement[i] == '0' {
		replacement[i] = '9'
	}
}

// sameForm reports whether a differs from b in digits alone.
func sameForm(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if isDigit(a[i]) != isDigit(b[i]) || !isDigit(a[i]) && a[i] != b[i] {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func readBool(dst, b []byte) ([]byte, bool) {
	if len(b) != 1 {
		return dst, false
	}
	return append(dst, "ft"[b[0]&1]), true
}

func writeBool(dst, text []byte) ([]byte, bool) {
	switch string(text) {
	case "t":
		return append(dst, 1), true
	case "f":
		return append(dst, 0), true
	}
	return dst, false
}

func readFloat4(dst, b []byte) ([]byte, bool) {
	if len(b) != 4 {
		return dst, false
	}
	return strconv.AppendFloat(dst, float64(math.Float32frombits(binary.BigEndian.Uint32(b))), 'g', -1, 32), true
}

func readFloat8(dst, b []byte) ([]byte, bool) {
	if len(b) != 8 {
		return dst, false
	}
	return strconv.AppendFloat(dst, math.Float64frombits(binary.BigEndian.Uint64(b)), 'g', -1, 64), true
}

func writeFloat4(dst, text []byte) ([]byte, bool) {
	f, err := strconv.ParseFloat(string(text), 32)
	if err != nil || !decimal(text) {
		return dst, false
	}
	return binary.BigEndian.AppendUint32(dst, math.Float32bits(float32(f))), true
}

func writeFloat8(dst, text []byte) ([]byte, bool) {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !decimal(text) {
		return dst, false
	}
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(f)), true
}

// decimal reports whether text has nothing that only Go takes for a number.
func decimal(text []byte) bool {
	for _, c := range text {
		if !isDigit(c) && bytes.IndexByte([]byte("+-.eE"), c) < 0 {
			return false
		}
	}
	return true
}

func readUUID(dst, b []byte) ([]byte, bool) {
	if len(b) != 16 {
		return dst, false
	}
	for i, part := range [][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst, true
}

func writeUUID(dst, text []byte) ([]byte, bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return dst, false
	}
	from := len(dst)
	for _, part := range [][]byte{text[:8], text[9:13], text[14:18], text[19:23], text[24:]} {
		var err error
		if dst, err = hex.AppendDecode(dst, part); err != nil {
			return dst[:from], false
		}
	}
	return dst, true
}

// digestUUID makes a UUID of version 8, which says nothing of how it was made
// (RFC 9562).
func digestUUID(dst []byte, sum *[16]byte) []byte {
	b := *sum
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	dst, _ = readUUID(dst, b[:])
	return dst
}

// readBytea appends the bytes of a value in text format, in hex unless the
// session has bytea_output = escape.
func readBytea(dst, text []byte) ([]byte, bool) {
	digits, ok := bytes.CutPrefix(text, []byte(`\x`))
	if !ok {
		return append(dst, text...), true
	}
	dst, err := hex.AppendDecode(dst, digits)
	return dst, err == nil
}

func showBytea(dst, value []byte) ([]byte, bool) {
	return hex.AppendEncode(append(dst, `\x`...), value), true
}

func digestBytes(dst []byte, sum *[16]byte) []byte { return append(dst, sum[:]...) }

// Address families of inet, which are the server's own.
const (
	inetFamily4 = 2
	inetFamily6 = 3
)

func readInet(dst, b []byte) ([]byte, bool) {
	if len(b) < 4 || len(b) != 4+int(b[3]) {
		return dst, false
	}
	addr, ok := netip.AddrFromSlice(b[4:])
	if !ok {
		return dst, false
	}
	dst = addr.AppendTo(dst)
	if int(b[1]) != addr.BitLen() || b[2] == 1 {
		dst = strconv.AppendInt(append(dst, '/'), int64(b[1]), 10)
	}
	return dst, true
}

func writeInet(dst, text []byte) ([]byte, bool) { return address(dst, text, 0) }
func writeCIDR(dst, text []byte) ([]byte, bool) { return address(dst, text, 1) }

func address(dst, text []byte, cidr byte) ([]byte, bool) {
	s := string(text)
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return dst, false
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if cidr == 1 && prefix.Masked() != prefix {
		return dst, false
	}
	family := byte(inetFamily4)
	if prefix.Addr().Is6() {
		family = inetFamily6
	}
	bytes := prefix.Addr().AsSlice()
	dst = append(dst, family, byte(prefix.Bits()), cidr, byte(len(bytes)))
	return append(dst, bytes...), true
}

func writeJSON(dst, text []byte) ([]byte, bool) {
	if !json.Valid(text) {
		return dst, false
	}
	return append(dst, text...), true
}

// jsonbVersion is in front of a jsonb in binary form, which goes on as text.
const jsonbVersion = 1

func readJSONB(dst, b []byte) ([]byte, bool) {
	if len(b) == 0 || b[0] != jsonbVersion {
		return dst, false
	}
	return append(dst, b[1:]...), true
}

func writeJSONB(dst, text []byte) ([]byte, bool) {
	if !json.Valid(text) {
		return dst, false
	}
	return append(append(dst, jsonbVersion), text...), true
}

// quoteJSON appends text as a string of JSON.
func quoteJSON(dst, text []byte) []byte {
	dst = append(dst, '"')
	dst = escapeJSON(dst, text)
	return append(dst, '"')
}

// escapeJSON appends text as the inside of a string of JSON.
func escapeJSON(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(dst, `\ufffd`...)
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ':
			dst = append(dst, `\u00`...)
			dst = hex.AppendEncode(dst, text[:1])
		default:
			dst = append(dst, text[:n]...)
		}
		text = text[n:]
	}
	return dst
}

// cut returns what of text a type with that modifier holds: varchar(n) and
// char(n) have n + 4, name has room for 63 bytes.
func cut(text []byte, oid uint32, modifier int32) []byte {
	switch {
	case oid == nameType && len(text) > maxName:
		end := maxName
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		return text[:end]
	case (oid == 1042 || oid == 1043) && modifier >= 4:
		end := 0
		for range modifier - 4 {
			if end >= len(text) {
				break
			}
			_, n := utf8.DecodeRune(text[end:])
			end += n
		}
		return text[:end]
	}
	return text
}
