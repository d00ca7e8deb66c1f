package agentd_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed lists, for each room, the rooms of this module that it may import.
// A trailing /... stands for everything below.
var allowed = []struct {
	room string
	from []string
}{
	{"bpf", nil},
	{"decoders", nil},
	{"decoders/sql", []string{"decoders"}},
	{"decoders/all", []string{"decoders", "decoders/..."}},
	{"decoders/...", []string{"decoders", "decoders/sql"}},
	{"policy/document", nil},
	{"policy", []string{"decoders", "decoders/masks", "decoders/patterns", "policy/document"}},
	{"recorder", []string{"decoders", "policy"}},
	{"recorder/where", []string{"recorder"}},
	{"recorder/index", []string{"recorder", "recorder/where"}},
	{"agentd/cgroup", nil},
	{"agentd/names", nil},
	{"agentd/hosts", nil},
	{"agentd/pods", []string{"agentd/cgroup"}},
	{"agentd/credentials", []string{"decoders"}},
	{"agentd/approvals", []string{"policy"}},
	{"agentd/identity", []string{"decoders", "policy", "agentd/cgroup", "agentd/pods"}},
	{"agentd/capture", []string{"bpf", "agentd/identity", "agentd/cgroup"}},
	{"agentd/pods/...", []string{"agentd/pods", "agentd/cgroup"}},
	{"agentd/selection", []string{"agentd/capture", "agentd/pods"}},
	{"agentd/watch", nil},
	{"agentd/outward", nil},
	{"agentd/webhook", []string{"agentd/outward"}},
	{"agentd/sinks", []string{"recorder", "agentd/webhook"}},
	{"agentd/witness", []string{"recorder", "agentd/outward"}},
	{"agentd/usage", []string{"decoders"}},
	{"agentd/callback", []string{"agentd/approvals"}},
	{"agentd/handover", nil},
	{"agentd/certs", nil},
	{"agentd/legs", []string{"decoders", "recorder", "agentd/relay"}},
	{"agentd/probe", nil},
	{"agentd/grammar", []string{"decoders", "decoders/sql"}},
	{"agentd/grammar/walk", []string{"decoders/sql"}},
	{"agentd/synthetic", nil},
	{"agentd/doctor", []string{"agentd/cgroup", "agentd/control"}},
	{"agentd/relay", []string{"decoders", "policy", "recorder"}},
	{"agentd/replay", []string{"decoders", "policy", "recorder", "agentd/usage", "agentd/identity"}},
	{"agentd/suppose", []string{"decoders", "decoders/sql", "policy", "policy/document", "agentd/grammar"}},
	{"agentd/page", []string{"recorder"}},
	{"agentd/control", []string{"decoders", "policy", "recorder", "agentd/approvals", "agentd/cgroup"}},
	{"agentd/internal/...", []string{"..."}},
	{"agentd", []string{"..."}},
	{"cmd/...", []string{"..."}},
	{"scripts/...", []string{"..."}},
}

func TestImportsGoOneWay(t *testing.T) {
	const module = "agentd.dev/"
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "agentd.dev/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		room := strings.TrimPrefix(words[0], module)
		i := slices.IndexFunc(allowed, func(a struct {
			room string
			from []string
		},
		) bool {
			return covers(a.room, room)
		})
		if i < 0 {
			t.Errorf("%s: not in the table of rooms; add it with what it may import", room)
			continue
		}
		for _, imported := range words[1:] {
			other, ours := strings.CutPrefix(imported, module)
			if ours && !slices.ContainsFunc(allowed[i].from, func(p string) bool { return covers(p, other) }) {
				t.Errorf("%s imports %s: it may import only %q", room, other, allowed[i].from)
			}
		}
	}
}

// covers reports whether pattern names room.
func covers(pattern, room string) bool {
	prefix, wild := strings.CutSuffix(pattern, "...")
	return pattern == room || wild && strings.HasPrefix(room, prefix)
}
