package patterns_test

import (
	"slices"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/patterns"
)

// Keys of services are put together here, so that nobody who looks for keys in
// this repository finds one.
var (
	alnum   = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6a7B8c9D0e1F2g3H4"
	header  = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
	payload = "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ"
	private = "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEpAIBAAKCAQEA\nabc\n-----END RSA PRIVATE KEY-----"
)

// cases are texts in which what is between « and » must be found, and nothing
// else.
var cases = map[string][]string{
	"email": {
		"«ada@example.com»", "write to «ada.lovelace+x@mail.example.co.uk», please", "<«ada@example.com»>", "mailto:«ada@example.com».",
		"«o'brien@example.ie»", "=«ada@example.com»", "«user=ada@example.com»", `{"e":"«ada@example.com»","f":1}`, "«a@b.io»,«c@d.io»", "«müller@exämple.de»",
		"«ada@xn--exmple-cua.com»", "«ada@a-b.example.com»-", "«1@2.com»", "(«ada@example.com»)", "ada@«ada@example.com»", "«ada@example.museum»/x", "'«ada@example.com»'",
		"«_x@example.com»", "«ADA@EXAMPLE.COM»",
		"ada@example", "@example.com", "ada@", "ada@.com", "ada@-.com", "ada@1.2", "ada@10.0.0.1", "@", "@@", "a@b@", "ada @example.com", "ada@ example.com", "user@host:22", "3@4.5",
		"look @ this.com", "ada@example.c", "git@host",
	},
	"card": {
		"«4111111111111111»", "«4111 1111 1111 1111»", "«4111-1111-1111-1111»", "card «5500000000000004».", "«340000000000009»", "«3400 000000 00009»", "«30000000000004»",
		"«6011000000000004»", "«2221000000000009»", "«4222222222222»", "«3566002020360505»", `{"pan":"«4111111111111111»"}`, `{"pan":«4111111111111111»}`,
		"x«4111111111111111»y", "«4111111111111111» 12/27", "12 «4111111111111111»", "«4111111111111111»,«5500000000000004»", "«4000000000000000006»",
		"«4111111111111111»\t«4111111111111111»", "no «4111 1111 1111 1111» 123",
		"4111111111111112", "411111111111111", "41111111111111111111111", "0000000000000000", "4111 1111-1111 1111", "4111  1111 1111 1111", "1234567890123456",
		"4111.1111.1111.1111", "2024-05-17 12:30:45", "4111 1111 1111", "9999999999999995", "4111/1111/1111/1111", "550000000000004", "20240517123045123", "(4111) 1111 1111 1111",
		"1.4111111111111112",
	},
	"ssn": {
		"«123-45-6789»", "«123 45 6789»", "ssn:«123-45-6789».", "(«123-45-6789»)", `"«001-01-0001»"`, "«899-99-9999»", "«123-45-6789»,«123-45-6780»", "x«123-45-6789»y",
		"«665-12-3456»", "«667-12-3456»", "«078-05-1120»", "\t«123-45-6789»\n", "«123-45-6789» 1", "é«123-45-6789»é", "=«123-45-6789»",
		"000-12-3456", "666-12-3456", "900-12-3456", "123-00-6789", "123-45-0000", "123456789", "123-45-678", "1123-45-6789", "123-45-67890", "123-456789", "123-45 6789", "123 45-6789",
		"1-123-45-6789", "123-45-6789-1", "12-345-6789", "123.45.6789", "123--45-6789",
	},
	"iban": {
		"«GB82WEST12345698765432»", "«GB82 WEST 1234 5698 7654 32»", "«DE89370400440532013000»", "IBAN: «DE89 3704 0044 0532 0130 00».", "«FR1420041010050500013M02606»", "«NO9386011117947»",
		"«MT84MALT011000012345MTLCAST001S»", "«CH9300762011623852957»", "(«NL91ABNA0417164300»)", "«BE68539007547034»,«AT611904300234573201»", `"«ES9121000418450200051332»"`,
		"TO «NL91ABNA0417164300» NOW", "PAY «GB82 WEST 1234 5698 7654 32» TODAY", "x «IT60X0542811101000000123456»", "«PL61109010140000071219812874»\n", "«SA0380000000608010167519»",
		"GB82WEST12345698765433", "GB82WEST1234569876543", "XX82WEST12345698765432", "GB82  WEST 1234 5698 7654 32", "gb82west12345698765432", "AGB82WEST12345698765432", "GB82WEST123456987654321",
		"GB82-WEST-1234-5698-7654-32", "THE QUICK BROWN FOX JUMPS OVER 13 LAZY DOGS", "AB12", "GB82", "NL91ABNA041716430", "DE00370400440532013000", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "1234567890123456789012",
	},
	"phone": {
		"«+12125550187»", "«+1 212 555 0187»", "«+1 (212) 555-0187»", "«+49 89 1234567»", "«+44 (0)20 7946 0958»", "tel:«+4989123456»", "«212-555-0187»", "«212.555.0187»", "«(212) 555-0187»",
		"«(212)555-0187»", "«1-212-555-0187»", "«1 (212) 555-0187»", "call «212-555-0187».", "«(089) 1234567»", "«(030) 123 456-78»", "(«+1 212 555 0187»)", "«212 555-0187»", `"«+33 1 42 68 53 00»"`,
		"«+12125550187», 5",
		"2125550187", "212 555 0187", "112-555-0187", "212-155-0187", "212-555-018", "212-555-01877", "12-555-0187", "+1234567", "+0123456789", "a+12345678901", "1.212.555", "1234-212-555-0187",
		"212-555-0187-1", "(1) 234 5678", "(12) 34", "++12125550187", "+1", "555-0187", "2024-05-17", "192.168.100.200",
	},
	"ip": {
		"«10.0.0.1»", "«192.168.1.254»:5432", "at «127.0.0.1».", "«0.0.0.0»/0", "(«1.1.1.1»)", "«255.255.255.255»", "«fe80::1»", "«::1»", "[«2001:db8::8:800:200c:417a»]:80", "«2001:db8:0:0:8:800:200c:417a»",
		"«::ffff:10.0.0.1»", "«2001:DB8::1»/64", "ip=«10.1.2.3»,«10.1.2.4»", "«1::»", `"«fe80::1»"`, "«fe80::1»%eth0", "«1:2:3:4:5:6:7:8».", "ip:«fe80::1»", "«64:ff9b::1.2.3.4»",
		"1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "v1.2.3.4", "1.2.3.4444", "12:30:45", "::", "std::string", "a::b", "00:1a:2b:3c:4d:5e", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::1",
		"x1::2", "1::2x", ":1:2", "http://a:80", "1:::2", "2024-05-17 12:30:45.123456", "::g1", "1.2.3.", "...", ":::::::",
	},
	"jwt": {
		"«" + header + "." + payload + ".abc-_123»", "Bearer «" + header + "." + payload + ".sig»", "«" + header + "." + payload + ".»", `"«` + header + "." + payload + `.sig»"`,
		"token=«" + header + "." + payload + ".sig»;", "token_«" + header + "." + payload + ".sig»", "«" + header + ".a.b.c.d»", "(«" + header + "." + payload + ".sig»)",
		"«eyJhbGciOiJub25lIn0.e30.»", "«ewogImFsZyI6Im5vbmUiCn0.e30.x»", "«eyAiYWxnIjogIm5vbmUiIH0.e30.x»", "«" + header + "." + payload + ".x» «" + header + "." + payload + ".y»",
		"jwt:«" + header + "." + payload + ".sig»", "\n«" + header + "." + payload + ".sig»\n", "«" + header + "." + strings.Repeat("a", 5000) + ".sig»", "x-«" + header + "." + payload + ".sig»",
		header, header + ".", header + "." + payload, "a.b.c", "www.example.com", "eyJ.eyJ.eyJ", "eyJhbGciOiJIUzI1NiIsInR5c.a.b", "e30a.b.c", header + " ." + payload + ".x", header + "..x", ".a.b", "1.2.3",
		"eyXhbGciOiJIUzI1NiJ9.a.b", "eyJhbGciOiJIUzI1NiJ9x.a.b", "example.eyJ.com",
	},
	"key": {
		"«AKIA" + "IOSFODNN7EXAMPLE»", "aws «ASIA" + "IOSFODNN7EXAMPLE».", "«AIza" + "SyA1234567890abcdefghijklmnopqrstuv-»", "«ghp_" + alnum[:36] + "»", "«github_pat_" + alnum[:22] + "_" + alnum[:59] + "»",
		"«xoxb-" + "123456789012-abcdefghijkl»", "«sk_live_" + alnum[:24] + "»", "«" + private + "»", "x\n«" + private + "»\ny", "«-----BEGIN PRIVATE " + "KEY-----\nMIIE»",
		"AccountName=x;AccountKey=«" + alnum[:43] + "+/a=»;EndpointSuffix=core", "SharedAccessKey=«" + alnum[:43] + "=»", "«glpat-" + alnum[:20] + "»", "«sk-ant-" + alnum[:40] + "»",
		"«npm_" + alnum[:36] + "»", `{"k":"«gho_` + alnum[:36] + `»"}`, "a «sk-" + alnum[:48] + "» b", "«ghp_" + alnum[:36] + "» «ghp_" + alnum[:36] + "»", "_«ghp_" + alnum[:36] + "»",
		"AKIA", "AKIAIOSFODNN7EXAMPL", "AKIAiosfodnn7example", "XAKIA" + "IOSFODNN7EXAMPLE", "AIzaSyA", "ghp_short", "xghp_" + alnum[:36], "snake_case_name", "a-b-c", "sk_live_x", "xoxb-1", "-----", "----------",
		"-----BEGIN CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----\nabc", "AccountKey=short", "Key=" + alnum[:43], "task-" + alnum[:48], "_", "desk-chair", "2024-05-17",
	},
}

// split takes the marks out of a case.
func split(marked string) (text string, spans []decoders.Span) {
	for {
		before, rest, ok := strings.Cut(marked, "«")
		text += before
		if !ok {
			return text, spans
		}
		inside, after, _ := strings.Cut(rest, "»")
		spans = append(spans, decoders.Span{From: len(text), To: len(text) + len(inside)})
		text += inside
		marked = after
	}
}

func TestPatternsFindWhatTheyAreOfAndNothingElse(t *testing.T) {
	for _, p := range patterns.All {
		found, none := 0, 0
		for _, marked := range cases[p.Name] {
			text, want := split(marked)
			if got := patterns.New(p).Find(nil, []byte(text)); !slices.Equal(got, want) {
				t.Errorf("%s in %q: got %v, want %v", p.Name, marked, got, want)
			}
			if len(want) > 0 {
				found++
			} else {
				none++
			}
		}
		if found < 15 || none < 15 {
			t.Errorf("%s has %d cases with and %d without", p.Name, found, none)
		}
	}
}

// TestPlaceDoesNotMatter: what is found is found wherever it stands in a long
// text, although most of its bytes are never looked at.
func TestPlaceDoesNotMatter(t *testing.T) {
	for _, p := range patterns.All {
		set := patterns.New(p)
		for _, marked := range cases[p.Name] {
			text, want := split(marked)
			if strings.HasSuffix(marked, "MIIE»") {
				continue // a key that does not end goes on to the end of the text
			}
			for shift := range 40 {
				for _, filler := range []string{"x ", "the ", ". ", "\u00e9 ", "\n", "ab\t"} {
					front := strings.Repeat(filler, shift+1)
					long := front + text + strings.Repeat(" the", 20)
					got := set.Find(nil, []byte(long))
					if len(got) != len(want) || len(want) > 0 && (got[0].From != want[0].From+len(front) || got[0].To != want[0].To+len(front)) {
						t.Fatalf("%s in %q: got %v, want %v and %d on", p.Name, long, got, want, len(front))
					}
				}
			}
		}
	}
}

func TestASetFindsWhatEachFindsAlone(t *testing.T) {
	set := patterns.New(patterns.All...)
	for kind, p := range patterns.All {
		for _, marked := range cases[p.Name] {
			text, want := split(marked)
			got := set.Find(nil, []byte(text))
			for _, w := range want {
				covered := w.From
				for _, g := range got {
					if g.From <= covered {
						covered = max(covered, g.To)
					}
				}
				if covered < w.To {
					t.Errorf("%s (%d) in %q: got %v, want all of %v", p.Name, kind, text, got, w)
				}
			}
		}
	}
}

func TestExpressionsOfUsers(t *testing.T) {
	badge, err := patterns.Regexp("badge", `B-[0-9]{6}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, marked := range []string{"«B-123456»", "x«B-123456»7 «B-000000»", "B-12345", ""} {
		text, want := split(marked)
		if got := patterns.New(badge).Find(nil, []byte(text)); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", marked, got, want)
		}
	}
	long := []byte(strings.Repeat("x", 300<<10))
	if got, want := patterns.New(badge).Find(nil, long), []decoders.Span{{To: len(long)}}; !slices.Equal(got, want) {
		t.Errorf("a long text: got %v, want %v", got, want)
	}
	for _, wrong := range []string{"(", "a*", "", "(?=x)", strings.Repeat("x", 2000), `\1`} {
		if _, err := patterns.Regexp("x", wrong); err == nil {
			t.Errorf("%.20q: got no error", wrong)
		}
	}
}

func TestFindingNothingAllocatesNothing(t *testing.T) {
	set := patterns.New(patterns.All...)
	text := []byte(prose)
	dst := make([]decoders.Span, 0, 8)
	if n := testing.AllocsPerRun(100, func() { dst = set.Find(dst[:0], text) }); n > 0 || len(dst) > 0 {
		t.Errorf("got %v allocations and %v, want none", n, dst)
	}
	text = []byte("write to ada@example.com, 4111 1111 1111 1111, or 10.0.0.1")
	if n := testing.AllocsPerRun(100, func() { dst = set.Find(dst[:0], text) }); n > 0 || len(dst) != 3 {
		t.Errorf("got %v allocations and %v, want none for three", n, dst)
	}
}
