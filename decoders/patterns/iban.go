package patterns

import (
	"strings"

	"agentd.dev/decoders"
)

const (
	minIBAN = 15 // Norway
	maxIBAN = 34
)

// ibans finds account numbers, in one piece or with single spaces between
// groups. Of each, every twelfth byte and the one behind it are capitals,
// digits, or one space: only where that is so is looked at closely.
func ibans(dst []decoders.Span, text []byte, kind int) []decoders.Span {
	const stride = 12
	for i, end := stride-1, 0; i+1 < len(text); i += stride {
		if !accounted(text[i]) || !accounted(text[i+1]) || text[i] == ' ' && text[i+1] == ' ' {
			continue
		}
		from, to := i, i+2
		for from > end && accounted(text[from-1]) {
			from--
		}
		for to < len(text) && accounted(text[to]) {
			to++
		}
		for at := from; at+minIBAN <= to; at++ {
			if class[text[at]]&upper == 0 || class[text[at+1]]&upper == 0 || class[text[at+2]]&digit == 0 || class[text[at+3]]&digit == 0 || is(text, at-1, alnum) {
				continue
			}
			if n := account(text[at:to]); n > 0 && !is(text, at+n, alnum) {
				dst = append(dst, decoders.Span{From: at, To: at + n, Kind: kind})
				at += n - 1
			}
		}
		end, i = to, to
	}
	return dst
}

func accounted(c byte) bool { return class[c]&(upper|digit) != 0 || c == ' ' }

// account returns how long the account number is that text begins with, 0 if
// it does with none.
func account(text []byte) int {
	left := lengths(text[0], text[1])
	if left == 0 {
		return 0
	}
	// The first four characters count as the last (ISO 7064, mod 97-10).
	rest, front := 0, 0
	i := 0
	for seen := 0; seen < left; i++ {
		if i >= len(text) {
			return 0
		}
		c := text[i]
		if c == ' ' {
			if text[i-1] == ' ' {
				return 0
			}
			continue
		}
		if seen < 4 {
			front = front*mod97Scale(c) + mod97Value(c)
		} else {
			rest = (rest*mod97Scale(c) + mod97Value(c)) % 97
		}
		seen++
	}
	if (rest*1_000_000+front)%97 != 1 { // two letters and two digits make six digits
		return 0
	}
	return i
}

func mod97Scale(c byte) int {
	if class[c]&digit != 0 {
		return 10
	}
	return 100
}

func mod97Value(c byte) int {
	if class[c]&digit != 0 {
		return int(c - '0')
	}
	return int(c-'A') + 10
}

// lengths returns how long the numbers of a country are, 0 if it has none.
func lengths(a, b byte) int {
	i := 0
	for i+4 <= len(countries) && (countries[i] != a || countries[i+1] != b) {
		i += 5
	}
	if i+4 > len(countries) {
		return 0
	}
	return int(countries[i+2]-'0')*10 + int(countries[i+3]-'0')
}

// countries are those of the SWIFT registry, with how long their numbers are.
var countries = strings.Join([]string{
	"AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28",
	"EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26",
	"IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28",
	"NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25",
	"SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30",
}, " ")
