package policy_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

func TestLoginsAndCancelsCanBeDenied(t *testing.T) {
	e := load(t, `
rules:
  - {name: no-admin, on: login, when: 'login.user in ["postgres", "admin"]', do: deny, message: Not as an administrator.}
  - {name: only-reads-for-reader, on: request, when: 'login.user == "reader" && sql.verbs != ["select"]', do: deny, message: The reader only reads.}
  - {name: no-cancel, on: cancel, when: workload.name == "reporter", do: deny, message: Wait.}
  - {name: portal, on: request, when: portal.name == "x", do: deny, message: No such portal.}
`)
	r := e.For(orders())
	portal := verbs("select")
	portal.m["portal.name"] = "x"
	for _, tt := range []struct {
		ev   *decoders.Event
		want string
	}{
		{login("admin"), "deny no-admin"},
		{request(verbs("delete")), "allow default"},
		{login("reader"), "allow default"},
		{request(verbs("delete")), "deny only-reads-for-reader"},
		{request(verbs("select")), "allow default"},
		{login("writer"), "allow default"}, // the newest login is what counts
		{request(verbs("delete")), "allow default"},
		{request(portal), "deny portal"},
		{&decoders.Event{Kind: decoders.Prepare, Facts: portal}, "allow default"}, // a Prepare has no portal
		{&decoders.Event{Kind: decoders.Cancel}, "deny no-cancel"},
	} {
		v := r.Decide(tt.ev)
		if got := v.Outcome.String() + " " + v.Rule; got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.ev.Kind, got, tt.want)
		}
	}
}

func TestARuleIsForTheProtocolsThatHaveItsFields(t *testing.T) {
	e := load(t, `
rules:
  - {name: sql, on: request, when: sql.opaque, do: deny, message: No.}
  - {name: both, on: login, when: login.user == "x", do: deny, message: No.}
  - {name: all, on: request, do: deny, message: No., when: target.name == "other"}
  - {name: named, on: request, do: deny, message: No., when: 'target.protocol in ["redis"]'}
`)
	var got []string
	for _, s := range e.Rules() {
		got = append(got, fmt.Sprintf("%s %s %s %s:%d", s.Name, s.On, s.Do, strings.Join(s.Protocols, ","), s.Line))
	}
	want := []string{"sql request deny postgres:3", "both login deny postgres,redis:4", "all request deny postgres,redis:5", "named request deny redis:6"}
	for i, w := range want {
		if got[i] != w {
			t.Errorf("got %s, want %s", got[i], w)
		}
	}
	redis := orders()
	redis.Target.Protocol, redis.Target.Name = "redis", "cache"
	if v := e.For(redis).Decide(request(&facts{map[string]any{"command.name": "get"}})); v.Rule != "named" {
		t.Errorf("got %q, want named", v.Rule)
	}
}

func TestSessionsShareOnlyWhatTheyHaveInCommon(t *testing.T) {
	e := load(t, `
rules:
  - {name: uid, on: request, when: workload.uid == 0, do: deny, message: Not as root.}
  - {name: label, on: request, when: 'target.labels.tier == "gold"', do: deny, message: Not there.}
`)
	var wait sync.WaitGroup
	for i := range 200 {
		wait.Go(func() {
			session := orders()
			session.Identity.Process.UID = uint32(i % 2)
			want := "uid"
			if i%2 == 1 {
				want = "default"
			}
			if i%4 == 3 {
				session.Target.Labels = map[string]string{"tier": "gold"}
				want = "label"
			}
			if got := e.For(session).Decide(request(verbs("select"))).Rule; got != want {
				t.Errorf("session %d: got %s, want %s", i, got, want)
			}
		})
	}
	wait.Wait()
}

func TestAVerdictIsRememberedAndTheMemoryBounded(t *testing.T) {
	r := load(t, noDrops).For(orders())
	all := make([]*decoders.Event, 5000)
	for i := range all {
		v := "select"
		if i%3 == 0 {
			v = "drop"
		}
		all[i] = request(verbs(v))
	}
	for range 2 {
		for i, ev := range all {
			if got, want := r.Decide(ev).Outcome == policy.Refuse, i%3 == 0; got != want {
				t.Fatalf("event %d: got refused %t, want %t", i, got, want)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { r.Decide(all[len(all)-1]) }); n != 0 {
		t.Errorf("got %v allocations for a statement seen before, want 0", n)
	}
	columns := &decoders.Event{Kind: decoders.Columns, Columns: []decoders.Column{{Table: "users", Name: "email"}}}
	r = load(t, masks).For(orders())
	r.Decide(columns)
	if n := testing.AllocsPerRun(100, func() { r.Decide(columns) }); n != 0 {
		t.Errorf("got %v allocations for a result, want 0", n)
	}
}

// thousand is a set of a thousand rules for a hundred targets.
func thousand() string {
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - {name: r%d, on: request, do: deny, message: No., when: 'target.name == \"db%d\" && sql.verbs.exists(v, v in [\"drop\", \"truncate\"])'}\n", i, i%100)
	}
	return b.String()
}

func TestAmongAThousandRulesASessionMeetsItsOwn(t *testing.T) {
	session := orders()
	session.Target.Name = "db7"
	r := load(t, thousand()).For(session)
	if got := r.Decide(request(verbs("drop"))).Rule; got != "r7" {
		t.Errorf("got %q, want the first of the target's rules", got)
	}
	if got := r.Decide(request(verbs("select"))).Rule; got != "default" {
		t.Errorf("got %q, want no rule", got)
	}
}

func TestAnEngineKnowsWhatItRead(t *testing.T) {
	before := time.Now()
	path := file(t, noDrops)
	e, err := policy.Load([]string{path, path, path + "/../rules.yaml", path[:strings.LastIndexByte(path, '/')]}, protocols)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Files(); len(got) != 1 || got[0] != path {
		t.Errorf("got files %q, want %q once", got, path)
	}
	if e.Loaded().Before(before) {
		t.Errorf("got %s, want after %s", e.Loaded(), before)
	}
}
