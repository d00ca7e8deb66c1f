package policy

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

func TestTheSchemaListsTheKeysAndWordsOfARule(t *testing.T) {
	text, err := os.ReadFile("../docs/schema/policy.json")
	if err != nil {
		t.Fatal(err)
	}
	type property struct {
		Enum []string `json:"enum"`
	}
	var file struct {
		Properties struct {
			Rules struct {
				Items struct {
					Properties map[string]property `json:"properties"`
					Required   []string            `json:"required"`
				} `json:"items"`
			} `json:"rules"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	schema := file.Properties.Rules.Items
	var got, want, required, on, do []string
	for name := range schema.Properties {
		got = append(got, name)
	}
	for _, key := range ruleKeys(new(rule), nil) {
		want = append(want, key.Name)
		if key.Required {
			required = append(required, key.Name)
		}
	}
	for _, e := range events {
		on = append(on, e.name)
	}
	for _, a := range actions {
		do = append(do, a.name)
	}
	var top, keys []string
	for _, key := range new(source).keys() {
		keys = append(keys, key.Name)
	}
	var all struct {
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for name := range all.Properties {
		top = append(top, name)
	}
	for _, list := range [][]string{got, want, top, keys} {
		slices.Sort(list)
	}
	for _, tt := range []struct {
		name      string
		got, want []string
	}{
		{"keys of a file", top, keys},
		{"keys", got, want},
		{"mode", schema.Properties["mode"].Enum, modes},
		{"required", schema.Required, required},
		{"on", schema.Properties["on"].Enum, on},
		{"do", schema.Properties["do"].Enum, do},
	} {
		if !slices.Equal(tt.got, tt.want) {
			t.Errorf("%s: got %q in the schema, want %q", tt.name, tt.got, tt.want)
		}
	}
}
