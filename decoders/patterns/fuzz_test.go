package patterns_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/patterns"
)

// FuzzFind: spans are within the text, in order, and none overlaps another;
// and where the patterns are plain enough to be told by an expression and a
// check, they are where those say.
func FuzzFind(f *testing.F) {
	for _, all := range cases {
		for _, marked := range all {
			text, _ := split(marked)
			f.Add([]byte(text))
		}
	}
	set := patterns.New(patterns.All...)
	f.Fuzz(func(t *testing.T, text []byte) {
		whole := set.Find(nil, text)
		ordered(t, text, whole)
		for _, p := range patterns.All {
			got := patterns.New(p).Find(nil, text)
			ordered(t, text, got)
			if len(got) > 0 && len(whole) == 0 {
				t.Errorf("%q: %s is found alone, nothing by all", text, p.Name)
			}
			if naive := references[p.Name]; naive != nil && len(text) < 512 {
				if want := naive(string(text)); !slices.Equal(got, want) {
					t.Errorf("%s in %q: got %v, want %v", p.Name, text, got, want)
				}
			}
		}
	})
}

func ordered(t *testing.T, text []byte, spans []decoders.Span) {
	end := 0
	for _, s := range spans {
		if s.From < end || s.To <= s.From || s.To > len(text) {
			t.Fatalf("%q: spans %v", text, spans)
		}
		end = s.To
	}
}

// references find by plain means what the finders find by skipping.
var references = map[string]func(string) []decoders.Span{
	"card": naiveCards,
	"ssn":  naiveSSNs,
	"iban": naiveIBANs,
}

var groups = regexp.MustCompile(`[0-9]+`)

// naiveCards tries all ways to begin and to end.
func naiveCards(text string) (spans []decoders.Span) {
	end := 0
	for _, at := range groups.FindAllStringIndex(text, -1) {
		if at[0] < end {
			continue
		}
		best := 0
		for to := at[0] + 1; to <= len(text) && to-at[0] < 40; to++ {
			part := text[at[0]:to]
			if to < len(text) && text[to] >= '0' && text[to] <= '9' || !regexp.MustCompile(`^([0-9]+)((-[0-9]+)*|( [0-9]+)*)$`).MatchString(part) {
				continue
			}
			digits := strings.NewReplacer(" ", "", "-", "").Replace(part)
			if len(digits) >= 13 && len(digits) <= 19 && naiveIssuer(digits) && naiveLuhn(digits) {
				best = to
			}
		}
		if best > 0 {
			spans = append(spans, decoders.Span{From: at[0], To: best})
			end = best
		}
	}
	return spans
}

func naiveLuhn(digits string) bool {
	sum, twice := 0, false
	for i := len(digits) - 1; i >= 0; i-- {
		d, _ := strconv.Atoi(digits[i : i+1])
		if twice {
			d *= 2
		}
		sum += d/10 + d%10
		twice = !twice
	}
	return sum%10 == 0
}

var issuer = regexp.MustCompile(`^(220[0-4].{12,15}|222[1-9].{12}|22[3-9].{13}|2[3-6].{14}|27[01].{13}|2720.{12}|30[0-5].{11,16}|3095.{10,15}|3[47].{13}|` +
	`352[89].{12,15}|35[3-8].{13,16}|3[689].{12,17}|4.{12}|4.{15}|4.{18}|50.{11,17}|5[1-5].{14}|5[678].{11,17}|6.{12,18}|81[0-6].{13,16}|817[01].{12,15}|9792.{12})$`)

func naiveIssuer(digits string) bool { return issuer.MatchString(digits) }

var social = regexp.MustCompile(`[0-9]{3}(-[0-9]{2}-| [0-9]{2} )[0-9]{4}`)

func naiveSSNs(text string) (spans []decoders.Span) {
	for i := 0; i+11 <= len(text); i++ {
		at := social.FindStringIndex(text[i:])
		if at == nil {
			break
		}
		i += at[0]
		part, before, after := text[i:i+11], text[:i], text[i+11:]
		switch {
		case regexp.MustCompile(`[0-9]-?$`).MatchString(before), regexp.MustCompile(`^-?[0-9]`).MatchString(after):
		case strings.HasPrefix(part, "000"), strings.HasPrefix(part, "666"), part[0] == '9', part[4:6] == "00", part[7:] == "0000":
		default:
			spans = append(spans, decoders.Span{From: i, To: i + 11})
			i += 10
		}
	}
	return spans
}

var account = regexp.MustCompile(`^[A-Z]{2}[0-9]{2}( ?[A-Z0-9])+`)

func naiveIBANs(text string) (spans []decoders.Span) {
	for i := 0; i < len(text); i++ {
		if i > 0 && alphanumeric(text[i-1]) {
			continue
		}
		most := account.FindString(text[i:])
		for n := 15; n <= len(most); n++ {
			compact := strings.ReplaceAll(most[:n], " ", "")
			after := text[i+n:]
			if most[n-1] == ' ' || len(compact) != naiveLengths[compact[:2]] || after != "" && alphanumeric(after[0]) || naiveMod97(compact) != 1 {
				continue
			}
			spans = append(spans, decoders.Span{From: i, To: i + n})
			i += n - 1
			break
		}
	}
	return spans
}

// naiveLengths are of those countries alone that the fuzzer is likely to meet.
var naiveLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24,
	"DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27,
	"GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
	"LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24,
	"PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25,
	"SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

func naiveMod97(compact string) int {
	rest := 0
	for _, c := range compact[4:] + compact[:4] {
		n, err := strconv.Atoi(string(c))
		if err != nil {
			n = int(c-'A') + 10
			rest *= 10
		}
		rest = (rest*10 + n) % 97
	}
	return rest
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
