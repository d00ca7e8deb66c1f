package policy

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The page about policies has every key of a file and of a rule, in the words of
// the schema.
func TestThePageOfKeysIsTheSchema(t *testing.T) {
	const page, begin, end = "../docs/policy.md", "-update -->\n", "<!-- end -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), begin)
	_, after, found := strings.Cut(rest, end)
	if !found {
		t.Fatalf("%s has no place for the keys", page)
	}
	want := before + begin + keysTable(t) + end + after
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Errorf("%s is not what the schema says: run go test ./policy -run PageOfKeys -update", page)
	}
	for _, key := range new(source).keys() {
		if !strings.Contains(before, "\n"+key.Name+":") {
			t.Errorf("%s says nothing of %s", page, key.Name)
		}
	}
}

func keysTable(t *testing.T) string {
	t.Helper()
	var schema struct {
		Properties struct {
			Rules struct {
				Items struct {
					Properties map[string]struct {
						Description string `json:"description"`
					} `json:"properties"`
				} `json:"items"`
			} `json:"rules"`
		} `json:"properties"`
	}
	text, err := os.ReadFile("../docs/schema/policy.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("\n| key | for | |\n|---|---|---|\n")
	for _, key := range ruleKeys(new(rule), nil) {
		var of []string
		for i := range actions {
			if _, has := actions[i].keys[key.Name]; has {
				of = append(of, actions[i].name)
			}
		}
		if of == nil {
			of = []string{"all"}
		}
		slices.Sort(of)
		said := schema.Properties.Rules.Items.Properties[key.Name].Description
		if said == "" {
			t.Errorf("the schema says nothing of %q", key.Name)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", key.Name, strings.Join(of, ", "), said)
	}
	b.WriteString("\n")
	return b.String()
}
