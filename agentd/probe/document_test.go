package probe_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/probe"
)

// mark is where the table begins in the document; it is the end of it.
const mark = "| way | over | result | in strict mode | why |\n|---|---|---|---|---|\n"

// UPDATE_DOCS=1 go test ./agentd/probe -run Document writes the table as it is
// now, to be reviewed as a diff.
func TestTheDocumentListsEveryWay(t *testing.T) {
	path := filepath.Join(lab.Root(t), "docs", "bypass.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, got, found := strings.Cut(string(text), mark)
	if !found {
		t.Fatalf("%s has no table that begins with %q", path, mark)
	}
	want := table()
	if got == want {
		return
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Fatalf("%s lists\n%s, want\n%s: UPDATE_DOCS=1 writes it", path, got, want)
	}
	if err := os.WriteFile(path, []byte(before+mark+want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func table() string {
	var b strings.Builder
	for i := range probe.Vectors {
		v := &probe.Vectors[i]
		var over []string
		for _, f := range v.Families() {
			if f != probe.None {
				over = append(over, string(f))
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", v.Name, strings.Join(over, ", "), bold(v.Want), bold(v.Strict), v.Why)
	}
	return b.String()
}

func bold(r probe.Result) string {
	if r == probe.Open {
		return "**open**"
	}
	return string(r)
}
