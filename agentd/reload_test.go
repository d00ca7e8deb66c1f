package agentd_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
)

const denyOther = `
rules:
  - {name: no-other, on: request, when: 'sql.normalized.contains("other_name")', do: deny, message: Not that.}
`

// A new rule holds for the next statement of a session that goes on, and the
// session is as usable as before.
func TestANewRuleBitesInASessionThatGoesOn(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers)
	a := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server})
	rules := filepath.Join(a.Dir, "policies", "policy.yaml")
	c := converse(t, a, server)
	if got := c.say(t, "select 'other' as other_name;"); got != "other\n" {
		t.Fatalf("got %q, want it served", got)
	}

	before := status(t, a)
	write(t, rules, denyOther)
	eventually(t, a, "a rule is new", func(s control.Status) bool { return s.Policy.Rules == 1 && s.Policy.Loaded.After(before.Policy.Loaded) })
	if got := c.say(t, "select 'other' as other_name;"); !strings.Contains(got, "Not that.") || !strings.Contains(got, "no-other") {
		t.Errorf("got %q, want it refused", got)
	}
	if got := c.say(t, "select 'mine';"); got != "mine\n" {
		t.Errorf("after a refusal: got %q, want it served", got)
	}

	// What is wrong does not come into force, and is told.
	write(t, rules, "rules:\n  - {name: x, on: request, do: refuse}\n")
	s := eventually(t, a, "a rule is wrong", func(s control.Status) bool { return s.Policy.Error != "" })
	if !strings.Contains(s.Policy.Error, "policy.yaml:2:") || s.Policy.Rules != 1 {
		t.Errorf("got %+v, want the place of the mistake and the last good rules", s.Policy)
	}
	if got := c.say(t, "select 'other' as other_name;"); !strings.Contains(got, "Not that.") {
		t.Errorf("with wrong rules: got %q, want it refused as before", got)
	}
	if out, err := a.Ctl(t, "status"); err == nil || !strings.Contains(out, "not in force") {
		t.Errorf("got %v and %s, want status to say what is not in force", err, out)
	}

	// And back, by a file that replaces the other.
	write(t, rules+".new", "rules: []\n")
	if err := unix.Rename(rules+".new", rules); err != nil {
		t.Fatal(err)
	}
	eventually(t, a, "no rule", func(s control.Status) bool { return s.Policy.Rules == 0 && s.Policy.Error == "" })
	if got := c.say(t, "select 'other' as other_name;"); got != "other\n" {
		t.Errorf("without a rule: got %q, want it served", got)
	}

	// A mask is more than the session's decoder looks for.
	write(t, rules, strict)
	eventually(t, a, "a mask is new", func(s control.Status) bool { return s.Policy.Rules == 2 })
	if got := c.say(t, "select email from customers;"); strings.Contains(got, "example.com") || !strings.Contains(got, "The rules have changed") {
		t.Errorf("got %q, want the session to be ended", got)
	}
	if got := converse(t, a, server).say(t, "select email from customers where id = 1;"); got != "[masked]\n" {
		t.Errorf("a new session got %q, want it masked", got)
	}
	for _, want := range []string{`"kind":"reload"`, `"by":"a change of files"`, "sha256 " + rules, "are not in force"} {
		if err := exec.Command("grep", "-rqF", want, a.Log).Run(); err != nil {
			t.Errorf("the record has no %s", want)
		}
	}
	if out, err := a.Ctl(t, "audit", "verify", "--dir", a.Log, "--key", a.Key); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

// Configuration and policies come as ConfigMaps do, and change as they do.
func TestAConfigMapThatChangesIsInForce(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	a := lab.NewAgentd(t, lab.Setup{})
	maps := filepath.Join(a.Dir, "maps")
	policies := filepath.Join(a.Dir, "rules")
	for _, dir := range []string{maps, policies} {
		if err := unix.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var config string
	edit(t, a, func(text string) string { config = text; return text })
	config = strings.Replace(config, filepath.Join(a.Dir, "policies"), policies, 1)
	target := fmt.Sprintf("targets: [{name: orders, address: %q, protocol: postgres, default: allow, unclassified: deny}]\n", server.Addr)
	with := func(text string) { lab.ConfigMap(t, maps, map[string]string{"agentd.yaml": text}) }
	with(config)
	lab.ConfigMap(t, policies, map[string]string{"rules.yaml": "rules: []\n"})
	a.Config = filepath.Join(maps, "agentd.yaml")
	if err := a.Start(t); err != nil {
		t.Fatal(err)
	}
	if out, err := a.Captured(t, psql(server, "select 1;")).CombinedOutput(); err == nil {
		t.Errorf("without a target psql printed %s", out)
	}

	with(config + target)
	eventually(t, a, "a target is new", func(s control.Status) bool { return len(s.Targets) == 1 })
	c := converse(t, a, server)
	if got := c.say(t, "select 'other' as other_name;"); got != "other\n" {
		t.Errorf("got %q, want it served", got)
	}
	lab.ConfigMap(t, policies, map[string]string{"rules.yaml": denyOther})
	eventually(t, a, "a rule is new", func(s control.Status) bool { return s.Policy.Rules == 1 })
	if got := c.say(t, "select 'other' as other_name;"); !strings.Contains(got, "Not that.") {
		t.Errorf("got %q, want it refused", got)
	}

	with(config + target + "limitz: {}\n")
	s := eventually(t, a, "a key is wrong", func(s control.Status) bool { return s.Config.Error != "" })
	if !strings.Contains(s.Config.Error, "limitz") || len(s.Targets) != 1 {
		t.Errorf("got %+v, want the key named and the last good targets", s.Config)
	}

	// What takes effect later is said, and the rest is in force.
	with(strings.Replace(config, "node: lab", "node: other", 1) + target + "record: {segment: 1MiB}\nlimits: {loops: 3, statement: 1MiB}\n")
	s = eventually(t, a, "keys for the next start", func(s control.Status) bool { return s.Config.Error == "" && len(s.Config.Pending) > 0 })
	if got := strings.Join(s.Config.Pending, " "); got != "node record limits.loops" {
		t.Errorf("got %q to take effect at the next start, want node, record and limits.loops", got)
	}
	if out, err := a.Ctl(t, "status"); err != nil || !strings.Contains(out, "takes effect at the next start: node, record, limits.loops") {
		t.Errorf("got %v and %s, want status to say so", err, out)
	}

	// The target goes, and with it its sessions.
	with(config)
	eventually(t, a, "no target", func(s control.Status) bool { return len(s.Targets) == 0 && len(s.Config.Pending) == 0 })
	if got := c.say(t, "select 1;"); !strings.Contains(got, "was removed") {
		t.Errorf("got %q, want the session to be ended", got)
	}
}

func TestSIGHUPReadsEverythingAgain(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	a := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server})
	before := status(t, a)
	if err := a.Process.Cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, a, "a signal", func(s control.Status) bool { return s.Config.Loaded.After(before.Config.Loaded) })
	if err := exec.Command("grep", "-rqF", `"by":"SIGHUP"`, a.Log).Run(); err != nil {
		t.Error("the record does not say by what it was read again")
	}
}

// What is selected changes while the daemon runs.
func TestSelectionChangesWithoutARestart(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	a := lab.NewAgentd(t, lab.Setup{Policy: lawful, Target: server})
	agents := a.Root.Child(t, "agents")
	one, two := agents.Child(t, "one"), agents.Child(t, "two")
	var config string
	edit(t, a, func(text string) string { config = text; return text })
	selecting := func(entries string) func(string) string {
		return func(string) string {
			return strings.Replace(config, "capture: {", "capture: {select: ["+entries+"], ", 1)
		}
	}
	if err := a.Start(t); err != nil {
		t.Fatal(err)
	}
	root := below(t, a)
	for _, tt := range []struct {
		entries, workloads string
	}{
		{fmt.Sprintf("{name: first, cgroup: %q}", root+"/agents/one"), "first=one:refuse"},
		{fmt.Sprintf("{name: all, cgroup: %q, whenDown: bypass}", root+"/agents/*"), "all=one:bypass all=two:bypass"},
		{fmt.Sprintf("{name: first, cgroup: %q}, {name: all, cgroup: %q}", root+"/agents/one", root+"/agents"), "all=agents:refuse first=one:refuse"},
		{fmt.Sprintf("{name: second, cgroup: %q}", root+"/agents/two"), "second=two:refuse"},
	} {
		edit(t, a, selecting(tt.entries))
		eventually(t, a, tt.entries, func(s control.Status) bool {
			var got []string
			for _, w := range s.Workloads {
				got = append(got, w.Name+"="+filepath.Base(w.Cgroup)+":"+w.WhenDown)
			}
			return strings.Join(got, " ") == tt.workloads
		})
	}
	if got := query(t, two, server) + query(t, one, server); got != "served\nserved\n" {
		t.Errorf("got %q, want both served", got)
	}
	if got := workloadsOf(summaries(t, a)); len(got) != 1 || got[0] != "second" {
		t.Errorf("got sessions of %q, want only that of second", got)
	}
	edit(t, a, func(string) string { return config })
	eventually(t, a, "nothing", func(s control.Status) bool { return len(s.Workloads) == 0 })
}

// A session that an agentd keeps after another has taken over is judged by the
// rules of now, too.
func TestANewRuleBitesInASessionFromBeforeAnUpgrade(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	a := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server})
	c := converse(t, a, server)
	c.says(t, "before")
	old := a.Process
	if err := a.Start(t); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(a.Dir, "policies", "policy.yaml"), denyOther)
	eventually(t, a, "a rule is new", func(s control.Status) bool { return s.Policy.Rules == 1 })
	for end := time.Now().Add(20 * time.Second); ; { // the old one does not say when it has read it
		got := c.say(t, "select 'other' as other_name;")
		if strings.Contains(got, "Not that.") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got %q, want it refused\n%s", got, a.Said())
		}
	}
	c.says(t, "after")
	if err := old.Cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	c.says(t, "after SIGHUP")
	c.ends(t)
	if err := old.Wait(); err != nil {
		t.Errorf("the old agentd ended with %v\n%s", err, a.Said())
	}
	if out, err := a.Ctl(t, "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}
