package policy_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// Two protocols with a field in common and fields of their own.
var protocols = []decoders.Protocol{
	{Name: "postgres", Fields: []decoders.Field{
		{Name: "sql.verbs", Type: decoders.Strings, Kinds: decoders.Prepare | decoders.Request},
		{Name: "sql.normalized", Type: decoders.String, Kinds: decoders.Prepare | decoders.Request},
		{Name: "sql.statements", Type: decoders.Int, Kinds: decoders.Prepare | decoders.Request},
		{Name: "sql.opaque", Type: decoders.Bool, Kinds: decoders.Prepare | decoders.Request},
		{Name: "portal.name", Type: decoders.String, Kinds: decoders.Request},
		{Name: "login.user", Type: decoders.String, Kinds: decoders.Login},
		{Name: "login.database", Type: decoders.String, Kinds: decoders.Login},
		{Name: "login.application", Type: decoders.String, Kinds: decoders.Login},
	}},
	{Name: "redis", Fields: []decoders.Field{
		{Name: "command.name", Type: decoders.String, Kinds: decoders.Request},
		{Name: "login.user", Type: decoders.String, Kinds: decoders.Login},
	}},
}

// facts are compared by address, as those of decoders are.
type facts struct{ m map[string]any }

func (f *facts) Field(name string) any { return f.m[name] }

func verbs(v ...string) *facts {
	return &facts{map[string]any{"sql.verbs": v, "sql.normalized": v[0], "sql.statements": int64(len(v)), "sql.opaque": false, "portal.name": ""}}
}

func user(name string) *facts {
	return &facts{map[string]any{"login.user": name, "login.database": "orders", "login.application": ""}}
}

func request(f decoders.Facts) *decoders.Event {
	return &decoders.Event{Kind: decoders.Request, Facts: f}
}

func login(name string) *decoders.Event {
	return &decoders.Event{Kind: decoders.Login, Facts: user(name)}
}

// orders is a session that agents have with a database.
func orders() *policy.Session {
	return &policy.Session{
		ID: "s",
		Identity: policy.Identity{
			Workload: "reporter", Source: "run", Cgroup: "/agentd-runs/reporter", Unit: "",
			Namespace: "agents", Pod: "reporter-7d9f", Container: "main", Image: "registry/reporter:1",
			ServiceAccount: "reporter", Owner: "ReplicaSet/reporter-7d", Labels: map[string]string{"app": "reporter"},
			Process: policy.Process{PID: 42, UID: 1000, Comm: "psql", Exe: "/usr/bin/psql"},
		},
		Target: policy.Target{
			Name: "orders-db", Address: netip.MustParseAddrPort("10.0.0.5:5432"), Protocol: "postgres",
			Labels: map[string]string{"env": "prod"}, Default: policy.Allowing,
		},
	}
}

// load makes an engine of rules in YAML.
func load(t testing.TB, yaml string) *policy.Engine {
	t.Helper()
	e, err := policy.Load([]string{file(t, yaml)}, protocols)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func file(t testing.TB, yaml string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(name, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
