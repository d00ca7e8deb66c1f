package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
)

// maxPrinted bounds the text of one value: a numeric of a few bytes can have a
// hundred thousand digits, and an array many of those.
const maxPrinted = 1 << 20

// printValue appends the text of a value in binary form, as a server prints it
// that has its settings as they come and UTC for its time zone. False: the type
// is not known, or that is none of its values.
func printValue(dst []byte, oid uint32, b []byte) ([]byte, bool) {
	if print := printers[oid]; print != nil {
		return print(dst, b)
	}
	if element := arrayTypes[oid]; element != 0 {
		return printArray(dst, element, b)
	}
	switch k := kindOf(oid); {
	case k.plain:
		return append(dst, b...), true
	case k.read != nil:
		return k.read(dst, b)
	}
	return dst, false
}

// printers are those of types of which masks see values in another form, or not
// at all. OIDs are those of pg_type.dat.
var printers = map[uint32]func(dst, b []byte) ([]byte, bool){
	17: printBytea, 18: printChar, 26: unsigned(4), 28: unsigned(4), 29: unsigned(4), 5069: unsigned(8),
	194: same, 1790: same, 2278: same,
	700: printFloat4, 701: printFloat8,
	1082: printDate, 1083: printTime, 1266: printTimeZoned, 1114: printTimestamp, 1184: printTimestampZoned, 1186: printInterval,
	869: printInet, 650: printInet, 829: printMAC(6), 774: printMAC(8),
	1560: printBits, 1562: printBits, 3220: printLSN,
}

// arrayTypes are the types of the elements of arrays.
var arrayTypes = map[uint32]uint32{
	1000: 16, 1001: 17, 1002: 18, 1003: 19, 1005: 21, 1007: 23, 1009: 25, 1014: 1042, 1015: 1043, 1016: 20,
	1021: 700, 1022: 701, 1011: 28, 1012: 29, 1028: 26, 1041: 869, 651: 650, 1040: 829, 775: 774,
	1115: 1114, 1182: 1082, 1183: 1083, 1185: 1184, 1187: 1186, 1270: 1266,
	1231: 1700, 199: 114, 3807: 3802, 2951: 2950, 1561: 1560, 1563: 1562, 143: 142, 3221: 3220,
}

func unsigned(size int) func(dst, b []byte) ([]byte, bool) {
	return func(dst, b []byte) ([]byte, bool) {
		if len(b) != size {
			return dst, false
		}
		var n uint64
		for _, c := range b {
			n = n<<8 | uint64(c)
		}
		return strconv.AppendUint(dst, n, 10), true
	}
}

// printBytea is for bytea_output = hex.
func printBytea(dst, b []byte) ([]byte, bool) { return hex.AppendEncode(append(dst, `\x`...), b), true }

func printChar(dst, b []byte) ([]byte, bool) {
	switch {
	case len(b) != 1:
		return dst, false
	case b[0] == 0:
		return dst, true
	case b[0] >= 0x80: // in octal, since 16
		return append(dst, '\\', '0'+b[0]>>6, '0'+b[0]>>3&7, '0'+b[0]&7), true
	}
	return append(dst, b[0]), true
}

func printFloat4(dst, b []byte) ([]byte, bool) {
	if len(b) != 4 {
		return dst, false
	}
	return printFloat(dst, float64(math.Float32frombits(binary.BigEndian.Uint32(b))), 32, 6), true
}

func printFloat8(dst, b []byte) ([]byte, bool) {
	if len(b) != 8 {
		return dst, false
	}
	return printFloat(dst, math.Float64frombits(binary.BigEndian.Uint64(b)), 64, 15), true
}

// printFloat appends the shortest digits that tell f from all others, with an
// exponent where it is below -4, or whole or more.
func printFloat(dst []byte, f float64, bits, whole int) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case f == 0:
		return strconv.AppendFloat(dst, f, 'f', -1, bits)
	}
	from := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, bits)
	exponent := 0
	for i := len(dst) - 1; i > from; i-- {
		if dst[i] == 'e' {
			exponent, _ = strconv.Atoi(string(dst[i+1:]))
			break
		}
	}
	if exponent >= -4 && exponent < whole {
		dst = strconv.AppendFloat(dst[:from], f, 'f', -1, bits)
	}
	return dst
}

func printInet(dst, b []byte) ([]byte, bool) {
	if len(b) != 20 || b[3] != 16 || binary.BigEndian.Uint64(b[4:]) != 0 || binary.BigEndian.Uint32(b[12:]) != 0 || b[16]|b[17] == 0 {
		return readInet(dst, b)
	}
	dst = append(dst, "::"...) // and IPv4 behind it
	for i, c := range b[16:] {
		if i > 0 {
			dst = append(dst, '.')
		}
		dst = strconv.AppendUint(dst, uint64(c), 10)
	}
	if b[1] != 128 || b[2] == 1 {
		dst = strconv.AppendUint(append(dst, '/'), uint64(b[1]), 10)
	}
	return dst, true
}

func printMAC(size int) func(dst, b []byte) ([]byte, bool) {
	return func(dst, b []byte) ([]byte, bool) {
		if len(b) != size {
			return dst, false
		}
		for i := range b {
			if i > 0 {
				dst = append(dst, ':')
			}
			dst = hex.AppendEncode(dst, b[i:i+1])
		}
		return dst, true
	}
}

// printBits appends a bit or varbit: their number, then eight in each byte.
func printBits(dst, b []byte) ([]byte, bool) {
	if len(b) < 4 {
		return dst, false
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if uint64(len(b)-4) != (n+7)/8 {
		return dst, false
	}
	for i := range n {
		dst = append(dst, '0'+b[4+i/8]>>(7-i%8)&1)
	}
	return dst, true
}

func printLSN(dst, b []byte) ([]byte, bool) {
	if len(b) != 8 {
		return dst, false
	}
	const digits = "0123456789ABCDEF"
	for half := range 2 {
		if half > 0 {
			dst = append(dst, '/')
		}
		n, begun := binary.BigEndian.Uint32(b[4*half:]), false
		for shift := 28; shift >= 0; shift -= 4 {
			d := n >> shift & 15
			if begun = begun || d != 0 || shift == 0; begun {
				dst = append(dst, digits[d])
			}
		}
	}
	return dst, true
}
