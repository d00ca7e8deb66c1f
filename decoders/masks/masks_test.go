package masks_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"agentd.dev/decoders"
	"agentd.dev/decoders/masks"
)

var key = masks.NewKey([]byte("the key of these tests"))

func TestPartialKeepsAtMostHalf(t *testing.T) {
	for _, tt := range []struct {
		way         masks.Partial
		value, want string
	}{
		{masks.Partial{Last: 4}, "4111111111111234", "************1234"},
		{masks.Partial{Last: 4}, "4111-1111-1111-1234", "****-****-****-1234"},
		{masks.Partial{First: 2, Last: 4}, "4111111111111234", "41**********1234"},
		{masks.Partial{First: 2}, "ada@example.com", "ad*@*******.***"},
		{masks.Partial{First: 1, Last: 3}, "ada@example.com", "a**@*******.com"},
		{masks.Partial{Last: 4}, "1234567", "*******"},
		{masks.Partial{Last: 4}, "12345678", "****5678"},
		{masks.Partial{Last: 4}, "1234", "****"},
		{masks.Partial{Last: 4}, "", ""},
		{masks.Partial{Last: 4}, "--", "--"},
		{masks.Partial{}, "no-one 7", "**-*** *"},
		{masks.Partial{Last: 2}, "Zoë Müller", "*** ****er"},
		{masks.Partial{First: 1}, "日本語です", "日****"},
		{masks.Partial{First: 1}, "\xff\xfe\xfd", "\xff**"},
		{masks.Partial{Last: 4, Stars: 3}, "4111-1111-1111-1234", "***1234"},
		{masks.Partial{First: 2, Stars: 3}, "ada@example.com", "ad***"},
		{masks.Partial{First: 2, Last: 2, Stars: 3}, "abc", "***"},
		{masks.Partial{Last: 4, Stars: 2}, "", "**"},
	} {
		got, ok := tt.way.Append([]byte("> "), []byte(tt.value))
		if string(got) != "> "+tt.want || !ok {
			t.Errorf("%+v of %q = %q, want %q", tt.way, tt.value, got, "> "+tt.want)
		}
	}
}

func TestHashesAreEqualForEqualValuesAndOneKeyAlone(t *testing.T) {
	hash := func(h masks.Hash, value string) string {
		got, ok := h.Append(nil, []byte(value))
		if !ok {
			t.Fatalf("no hash of %q", value)
		}
		return string(got)
	}
	h := masks.Hash{Key: key}
	a, b := hash(h, "ada@example.com"), hash(h, "bob@example.com")
	if again := hash(masks.Hash{Key: masks.NewKey([]byte("the key of these tests"))}, "ada@example.com"); a != again || a == b || len(a) != 32 {
		t.Errorf("got %s, %s for the same and %s for another", a, again, b)
	}
	if other := hash(masks.Hash{Key: masks.NewKey([]byte("another key"))}, "ada@example.com"); other == a {
		t.Errorf("another key gives %s, too", other)
	}
	if got := hash(masks.Hash{Key: key, Base32: true}, "ada@example.com"); len(got) != 26 || strings.ToLower(got) != got {
		t.Errorf("base32: got %s, want 26 lower-case characters", got)
	}
	if got, ok := (masks.Hash{}).Append(nil, []byte("x")); ok || len(got) > 0 {
		t.Errorf("without a key: got %q, want none", got)
	}
}

func TestDigitsKeepTheForm(t *testing.T) {
	d := masks.Digits{Key: key}
	get := func(value string) string {
		got, ok := d.Append(nil, []byte(value))
		if !ok {
			t.Fatalf("no digits for %q", value)
		}
		return string(got)
	}
	for _, value := range []string{"4111111111111111", "4111-1111-1111-1111", "+49 (89) 1234-567", "", "-12.50", strings.Repeat("7", 5000)} {
		got := get(value)
		if len(got) != len(value) || get(value) != got {
			t.Errorf("%q became %q, then %q", value, got, get(value))
		}
		for i := range value {
			digit, was := got[i] >= '0' && got[i] <= '9', value[i] >= '0' && value[i] <= '9'
			if digit != was || !was && got[i] != value[i] {
				t.Errorf("%q became %q, which differs in form at %d", value, got, i)
				break
			}
		}
		if was := strings.ContainsAny(value, "0123456789"); was && got == value {
			t.Errorf("%q stayed", value)
		}
	}
	if a, b := get("4111111111111111"), strings.ReplaceAll(get("4111-1111-1111-1111"), "-", ""); a != b {
		t.Errorf("the same number became %s and, with dashes, %s", a, b)
	}
	if got := get("4111111111111112"); got[:4] == get("4111111111111111")[:4] {
		t.Errorf("numbers that differ in their last digit begin alike: %s", got)
	}
	if _, ok := (masks.Digits{}).Append(nil, []byte("1")); ok {
		t.Error("without a key there are digits")
	}
	if got, ok := d.Append(nil, []byte("no digits")); ok {
		t.Errorf("without digits: got %q, want none", got)
	}
}

var ways = map[string]decoders.Way{
	"text": masks.Text("[masked]"), "keep": masks.Partial{Last: 4}, "stars": masks.Partial{First: 1, Last: 1, Stars: 5},
	"hash": masks.Hash{Key: key}, "base32": masks.Hash{Key: key, Base32: true}, "digits": masks.Digits{Key: key},
}

func TestWaysAllocateNothing(t *testing.T) {
	dst := make([]byte, 0, 256)
	value := []byte("4111-1111-1111-1111")
	for name, way := range ways {
		if n := testing.AllocsPerRun(100, func() { dst, _ = way.Append(dst[:0], value) }); n > 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func FuzzWays(f *testing.F) {
	f.Add([]byte("ada@example.com"))
	f.Add([]byte("4111 1111 1111 1111"))
	f.Add([]byte("\xffé日\x00"))
	f.Fuzz(func(t *testing.T, value []byte) {
		for name, way := range ways {
			was := bytes.Clone(value)
			got, ok := way.Append([]byte("x"), value)
			again, _ := way.Append([]byte("x"), was)
			switch {
			case !ok && name == "digits":
			case !ok || got[0] != 'x' || !bytes.Equal(got, again):
				t.Errorf("%s of %q: %q, %v, then %q", name, value, got, ok, again)
			case !bytes.Equal(value, was):
				t.Errorf("%s changed the value %q", name, was)
			case utf8.Valid(value) && !utf8.Valid(got):
				t.Errorf("%s of %q: %q is not UTF-8", name, value, got)
			}
		}
	})
}

func BenchmarkWays(b *testing.B) {
	value := []byte("4111-1111-1111-1111")
	for name, way := range ways {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 256)
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = way.Append(dst[:0], value)
			}
		})
	}
}
