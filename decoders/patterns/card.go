package patterns

const (
	minCard = 13
	maxCard = 19
)

// card finds the longest run of 13 to 19 digits, in groups with single spaces
// or dashes between them, that is a card's number. A card is told by how its
// issuer numbers cards, and by the Luhn digit.
func card(text []byte, at int) (from, to int) {
	var digits [maxCard]byte
	n := 0
	var joint byte
	for i := at; ; i++ {
		end := group(text, i)
		if n+end-i > maxCard {
			return at, to
		}
		n += copy(digits[n:], text[i:end])
		if n >= minCard && issued(digits[:n]) && luhn(digits[:n]) {
			to = end
		}
		if i = end; !joined(text, i, " -") || joint != 0 && text[i] != joint || !is(text, i+1, digit) {
			return at, to
		}
		joint = text[i]
	}
}

// issued reports whether an issuer's cards begin like that and are so long
// (ISO/IEC 7812, and what the issuers publish).
func issued(digits []byte) bool {
	four := 0
	for _, c := range digits[:4] {
		four = 10*four + int(c-'0')
	}
	for _, i := range issuers {
		if i.first <= four && four <= i.last && len(digits) >= i.min && len(digits) <= i.max {
			return true
		}
	}
	return false
}

// issuers are by the first four digits of their cards.
var issuers = []struct{ first, last, min, max int }{
	{2200, 2204, 16, 19}, // Mir
	{2221, 2720, 16, 16}, // Mastercard
	{3000, 3059, 14, 19}, // Diners Club
	{3095, 3095, 14, 19},
	{3400, 3499, 15, 15}, // American Express
	{3528, 3589, 16, 19}, // JCB
	{3600, 3699, 14, 19}, // Diners Club
	{3700, 3799, 15, 15}, // American Express
	{3800, 3999, 14, 19}, // Diners Club
	{4000, 4999, 13, 13}, // Visa
	{4000, 4999, 16, 16},
	{4000, 4999, 19, 19},
	{5000, 5099, 13, 19}, // Maestro and others
	{5100, 5599, 16, 16}, // Mastercard
	{5600, 5899, 13, 19}, // Maestro
	{6000, 6999, 13, 19}, // Discover, UnionPay, RuPay, Maestro
	{8100, 8171, 16, 19}, // UnionPay
	{9792, 9792, 16, 16}, // Troy
}

// luhn reports whether the last of digits is the check digit of the others.
func luhn(digits []byte) bool {
	sum := 0
	for i, c := range digits {
		d := int(c - '0')
		if (len(digits)-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
