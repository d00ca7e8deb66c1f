package patterns

// Classes of bytes.
const (
	digit   = 1 << iota // counted as 1
	upper               // A to Z
	lower               // a to z
	hexa                // a to f, A to F
	joint               // what stands between the digits of a number
	local               // may be in front of the @ of an address, beyond letters and digits
	joiner              // - and _, beyond letters and digits
	beyond              // not ASCII
	alpha   = upper | lower
	alnum   = alpha | digit
	mailbox = alnum | local | beyond
	urlsafe = alnum | joiner
	number  = digit | joint
)

// class says what each byte may be part of.
var class = func() (table [256]uint8) {
	for c := range table {
		switch {
		case '0' <= c && c <= '9':
			table[c] = digit
		case 'A' <= c && c <= 'Z':
			table[c] = upper
		case 'a' <= c && c <= 'z':
			table[c] = lower
		case c >= 0x80:
			table[c] = beyond
		}
		if 'A' <= c && c <= 'F' || 'a' <= c && c <= 'f' {
			table[c] |= hexa
		}
	}
	for _, c := range []byte(" -.()+/") {
		table[c] |= joint
	}
	for _, c := range []byte(".!#$%&'*+/=?^_`{|}~-") {
		table[c] |= local
	}
	table['-'] |= joiner
	table['_'] |= joiner
	return table
}()

// is reports whether text[i] is there and of a class.
func is(text []byte, i int, of uint8) bool {
	return uint(i) < uint(len(text)) && class[text[i]]&of != 0
}
