package document_test

import (
	"fmt"
	"strings"
	"testing"

	"agentd.dev/policy/document"
)

// at returns where needle stands in yaml, as found by its place in the text
// of the value "key".
func at(t *testing.T, yaml, needle string) string {
	t.Helper()
	var report document.Report
	v, ok := document.Parse("f", []byte(yaml), &report)
	if !ok {
		t.Fatal(report.Err())
	}
	v.Map([]document.Key{{Name: "key", Read: func(v document.Value) {
		text, _ := v.Text()
		before, _, found := strings.Cut(text, needle)
		if !found {
			t.Fatalf("no %q in %q", needle, text)
		}
		v.ProblemAt(len([]rune(before)), "here")
	}}})
	p := report.Err().(document.Errors)[0]
	return fmt.Sprintf("%d:%d", p.Line, p.Column)
}

func TestPlacesAreFoundInEveryStyleOfScalar(t *testing.T) {
	for _, tt := range []struct{ name, yaml, want string }{
		{"plain", "key: a bb X c", "1:11"},
		{"plain, first", "key: X", "1:6"},
		{"plain over lines", "key: a\n  bb\n\n  c X", "4:5"},
		{"single quotes", "key: 'it''s X'", "1:13"},
		{"double quotes", `key: "a \"b\" \\ X"`, "1:18"},
		{"double quotes, an escape that hides its letter", `key: "\u0041 X"`, "1:6"},
		{"double quotes over lines", "key: \"a\n\n   X\"", "3:4"},
		{"literal", "key: |\n  a\n    b X\n", "3:7"},
		{"literal, after a comment", "# X\nkey: |- # X\n  a X\n", "3:5"},
		{"folded", "key: >-\n  a\n  b\n\n  c\n   X\n", "6:4"},
		{"letters of several bytes", "# é\nkey: é é X", "2:10"},
		{"line ends with carriage returns", "key: |\r\n  a\r\n  X\r\n", "3:3"},
		{"flow", "{key: a X}", "1:9"},
	} {
		if got := at(t, tt.yaml, "X"); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestSuggestNamesWhatIsNear(t *testing.T) {
	names := []string{"login", "request", "result", "sql.verbs", "sql.normalized"}
	for _, tt := range []struct{ written, want string }{
		{"sql.verb", `; did you mean "sql.verbs"?`},
		{"sql.nromalized", `; did you mean "sql.normalized"?`},
		{"Request", `; did you mean "request"?`},
		{"requets", `; did you mean "request"?`},
		{"frobnicate", ""},
		{"", ""},
		{strings.Repeat("x", 1000), ""},
	} {
		if got := document.Suggest(tt.written, names); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.written, got, tt.want)
		}
	}
}

func TestHugeFilesAreRefused(t *testing.T) {
	var report document.Report
	if _, ok := document.Open("/dev/zero", &report); ok || !strings.Contains(report.Err().Error(), "longer than 4 MiB") {
		t.Errorf("got %v, want that it is too long", report.Err())
	}
}
