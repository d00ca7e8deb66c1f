package postgres

import (
	"encoding/binary"
	"strconv"
)

// Signs of a numeric (numeric.c, NUMERIC_SIGN_MASK).
const (
	positive    = 0x0000
	negative    = 0x4000
	notANumber  = 0xc000
	infinite    = 0xd000
	minusInf    = 0xf000
	maxNumerals = 131072 + 16383 // digits that a numeric has at most
)

// readNumeric appends the decimal digits of a numeric: 10000-digits behind
// their count, the weight of the first, a sign, and how many decimals to show.
func readNumeric(dst, b []byte) ([]byte, bool) {
	if len(b) < 8 {
		return dst, false
	}
	n := int(binary.BigEndian.Uint16(b))
	weight := int(int16(binary.BigEndian.Uint16(b[2:])))
	sign := binary.BigEndian.Uint16(b[4:])
	scale := int(binary.BigEndian.Uint16(b[6:]))
	if len(b) != 8+2*n || scale > 0x3fff {
		return dst, false
	}
	switch sign {
	case positive:
	case negative:
		dst = append(dst, '-')
	case notANumber:
		return append(dst, "NaN"...), true
	case infinite:
		return append(dst, "Infinity"...), true
	case minusInf:
		return append(dst, "-Infinity"...), true
	default:
		return dst, false
	}
	group := func(i int) int {
		if i < 0 || i >= n {
			return 0
		}
		return int(binary.BigEndian.Uint16(b[8+2*i:]))
	}
	for i := range n {
		if group(i) > 9999 {
			return dst, false
		}
	}
	if weight < 0 {
		dst = append(dst, '0')
	}
	for i := 0; i <= weight; i++ {
		if i == 0 {
			dst = strconv.AppendInt(dst, int64(group(0)), 10)
			continue
		}
		dst = append4(dst, group(i))
	}
	if scale == 0 {
		return dst, true
	}
	dst = append(dst, '.')
	end := len(dst) + scale
	for i := weight + 1; len(dst) < end; i++ {
		dst = append4(dst, group(i))
	}
	return dst[:end], true
}

func append4(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/1000), byte('0'+n/100%10), byte('0'+n/10%10), byte('0'+n%10))
}

// writeNumeric appends a numeric from decimal digits. False: text has others,
// or too many.
func writeNumeric(dst, text []byte) ([]byte, bool) {
	switch string(text) {
	case "NaN":
		return append(dst, 0, 0, 0, 0, 0xc0, 0, 0, 0), true
	case "Infinity":
		return append(dst, 0, 0, 0, 0, 0xd0, 0, 0, 0), true
	case "-Infinity":
		return append(dst, 0, 0, 0, 0, 0xf0, 0, 0, 0), true
	}
	sign := positive
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		if text[0] == '-' {
			sign = negative
		}
		text = text[1:]
	}
	whole, decimals, dots := len(text), 0, 0
	for i, c := range text {
		switch {
		case c == '.' && dots == 0:
			whole, decimals, dots = i, len(text)-i-1, 1
		case c < '0' || c > '9':
			return dst, false
		}
	}
	if whole+decimals == 0 || whole+decimals > maxNumerals || decimals > 0x3fff {
		return dst, false
	}
	// The groups of four are aligned at the dot.
	at := func(i int) int { // i-th decimal digit from the dot, negative before it
		if i < 0 {
			if i += whole; i < 0 {
				return 0
			}
			return int(text[i] - '0')
		}
		if i >= decimals {
			return 0
		}
		return int(text[whole+1+i] - '0')
	}
	first, last := -(whole+3)/4, (decimals+3)/4 // groups before and behind the dot
	group := func(i int) int { return at(4*i)*1000 + at(4*i+1)*100 + at(4*i+2)*10 + at(4*i+3) }
	for first < last && group(first) == 0 {
		first++
	}
	for last > first && group(last-1) == 0 {
		last--
	}
	weight := -first - 1
	if first == last {
		weight, sign = 0, positive
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(last-first))
	dst = binary.BigEndian.AppendUint16(dst, uint16(int16(weight)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(sign))
	dst = binary.BigEndian.AppendUint16(dst, uint16(decimals))
	for i := first; i < last; i++ {
		dst = binary.BigEndian.AppendUint16(dst, uint16(group(i)))
	}
	return dst, true
}
