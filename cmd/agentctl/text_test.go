package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func TestPrintableLeavesNothingForATerminalToObey(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"select 'grün €'", "select 'grün €'"},
		{"a\nb", "a\nb"},
		{"a\tb", "a    b"},
		{"a\rb", `a\x0db`},
		{"\x1b[2J", `\x1b[2J`},
		{"\u009b2J", `\x9b2J`},
		{"\x7f\x00", `\x7f\x00`},
		{"\xc3(", `\xc3(`},
		{"a\u202eb\u2066c\u200d", `a\u202eb\u2066c\u200d`},
		{"\U000e0041", `\ue0041`},
		{"\ufeff", `\ufeff`},
	} {
		if got := printable(tt.text); got != tt.want {
			t.Errorf("printable(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestEveryFormatKeepsEveryText(t *testing.T) {
	for _, want := range []string{
		"", " ", "plain", "two\nlines\n", "  led\n by spaces", "yes", "12", "0x1f", "~", "null", "- x", "a: b # c",
		"\x1b[2J", "tab\tand\rreturn", "\u009b\u202e\u2028", "\U000e0041", `"quoted" \ 'too'`, "<&>", strings.Repeat("long ", 100),
	} {
		v := map[string]string{"text": want}
		for _, format := range []string{"json", "yaml"} {
			var out bytes.Buffer
			a := &app{out: &out, format: format}
			if err := a.show(v, nil); err != nil {
				t.Fatal(err)
			}
			if p := printable(out.String()); p != out.String() {
				t.Errorf("%s of %q is not printable: %q", format, want, out.String())
			}
			got := map[string]string{}
			decode := map[string]func([]byte, any) error{"json": json.Unmarshal, "yaml": yaml.Unmarshal}[format]
			if err := decode(out.Bytes(), &got); err != nil || got["text"] != want {
				t.Errorf("%s of %q reads as %q, %v: %s", format, want, got["text"], err, out.String())
			}
		}
	}
}

func TestSinceTakesDurationsAndTimes(t *testing.T) {
	now := time.Date(2026, 3, 8, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		text string
		want time.Time
	}{
		{"", time.Time{}},
		{"1h", now.Add(-time.Hour)},
		{"90s", now.Add(-90 * time.Second)},
		{"7d", now.AddDate(0, 0, -7)},
		{"2026-03-01", now.AddDate(0, 0, -7).Add(-12 * time.Hour)},
		{"2026-03-01 12:00:00", now.AddDate(0, 0, -7)},
		{"2026-03-01T13:00:00+01:00", now.AddDate(0, 0, -7)},
	} {
		if got, err := parseTime("since", tt.text, now); err != nil || !got.Equal(tt.want) {
			t.Errorf("parseTime(%q) = %v, %v, want %v", tt.text, got, err, tt.want)
		}
	}
	for _, text := range []string{"d", "-1h", "-1d", "soon", "7", "2026-13-01", "99999999d"} {
		if got, err := parseTime("since", text, now); err == nil {
			t.Errorf("parseTime(%q) = %v, want an error", text, got)
		}
	}
}

func TestIDsAreCutToWhereTheyDiffer(t *testing.T) {
	for _, tt := range []struct{ ids, want string }{
		{"ABCDEFGHIJ", "ABCDEFGH"},
		{"ABCDEFGHIJ XBCDEFGHIJ", "ABCDEFGH XBCDEFGH"},
		{"ABCDEFGHIJ ABCDEFGHXJ", "ABCDEFGHI ABCDEFGHX"},
		{"AB ABC", "AB ABC"},
		{"SAMESAMESAME SAMESAMESAME", "SAMESAMESAME SAMESAMESAME"},
	} {
		if got := strings.Join(shorten(strings.Fields(tt.ids)), " "); got != tt.want {
			t.Errorf("shorten(%s) = %s, want %s", tt.ids, got, tt.want)
		}
	}
}

func TestProgressIsShownOnTerminalsWhenWorkTakesLong(t *testing.T) {
	long := time.Now().Add(-time.Hour)
	for _, tt := range []struct {
		width int
		begun time.Time
		want  string
	}{
		{40, long, "\rverifying  50% of 2 KiB ███████░░░░░░░░\r\x1b[K"},
		{10, long, "\rverifying  50% of 2 KiB \r\x1b[K"},
		{40, time.Now(), ""},
		{0, long, ""},
	} {
		var out strings.Builder
		p := &progress{out: &out, width: tt.width, what: "verifying", begun: tt.begun}
		p.to(1024, 2048)
		p.clear()
		if got := out.String(); got != tt.want {
			t.Errorf("%d columns: %q, want %q", tt.width, got, tt.want)
		}
	}
}
