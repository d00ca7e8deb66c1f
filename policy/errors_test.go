package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"agentd.dev/policy"
)

// Each file of testdata/wrong holds policy files and, as "want", what is
// wrong with them.
func TestEveryProblemHasItsPlaceAndAdvice(t *testing.T) {
	cases, err := filepath.Glob("testdata/wrong/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			var want string
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err = policy.Load([]string{dir}, protocols)
			got := "none\n"
			if err != nil {
				got = strings.ReplaceAll(err.Error(), dir+"/", "") + "\n"
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestFilesThatCannotBeReadAreProblems(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.yaml")
	_, err := policy.Load([]string{missing, file(t, "")}, protocols)
	problems, ok := err.(policy.Errors)
	if !ok || len(problems) != 2 {
		t.Fatalf("got %v, want two problems", err)
	}
	for i, want := range []string{"no such file: check the path, or create the file", "empty"} {
		if got := problems[i].Message; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
