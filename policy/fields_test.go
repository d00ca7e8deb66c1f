package policy_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/all"
	"agentd.dev/policy"
)

var update = flag.Bool("update", false, "write docs/fields.md anew")

func TestThePageOfFieldsIsTheTableOfFields(t *testing.T) {
	const page = "../docs/fields.md"
	want := fieldsPage()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what the tables say (%v): run go test ./policy -run Fields -update", page, err)
	}
}

func fieldsPage() string {
	var b strings.Builder
	b.WriteString("# What conditions can ask\n\n" +
		"Written by `go test ./policy -run Fields -update` from the tables in the code.\n\n" +
		"A field that is not known has no value: a `deny` or `mask` that asks for it applies, an `allow` does not.\n\n" +
		"## Every session\n\n| name | type |\n|---|---|\n")
	for _, v := range policy.Variables() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", v[0], v[1])
	}
	b.WriteString("\n## The time\n\nIn the `timezone` of the rule's file, UTC if it has none.\n\n| name | type | |\n|---|---|---|\n")
	for _, h := range policy.Hands() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", h[0], h[1], h[2])
	}
	b.WriteString("\n## What was used before\n\nBy the workload of the session, at its target ([decision 25](decisions/0025-webhooks-callback-counters-drift.md)).\n" +
		"A window is never shorter than it is called. What is `first` is so until it is let through once, after `drift.learn`.\n\n| name | type | |\n|---|---|---|\n")
	for _, u := range policy.Usages() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", u[0], u[1], u[2])
	}
	for _, p := range all.Protocols {
		if len(p.Fields) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\nWhere a rule asks for a field with a star, agentd asks the server, too, what names mean\n"+
			"([decision 15](decisions/0015-names-as-the-server-resolves-them.md)).\n\n| name | type | of | |\n|---|---|---|---|\n", p.Name)
		for _, f := range p.Fields {
			if f.Noted {
				continue
			}
			name := "`" + f.Name + "`"
			if f.Learned {
				name += " *"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, types[f.Type], kindsOf(f.Kinds), strings.ReplaceAll(f.Doc, "|", "\\|"))
		}
	}
	return b.String()
}

var types = map[decoders.Type]string{decoders.String: "string", decoders.Strings: "list(string)", decoders.Int: "int", decoders.Bool: "bool"}

func kindsOf(kinds decoders.Kinds) string {
	var list []string
	for _, e := range []struct {
		name  string
		kinds decoders.Kinds
	}{{"login", decoders.Login}, {"request", decoders.Prepare | decoders.Request}, {"result", decoders.Columns}, {"cancel", decoders.Cancel}} {
		if kinds&e.kinds != 0 {
			list = append(list, e.name)
		}
	}
	return strings.Join(list, ", ")
}
