package agentd_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd"
	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/identity"
	"agentd.dev/agentd/selection"
	"agentd.dev/agentd/webhook"
	"agentd.dev/policy"
)

func config(t *testing.T, text string) (*agentd.Config, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agentd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := agentd.LoadConfig(path)
	return c, path, err
}

func TestConfigHasDefaults(t *testing.T) {
	got, path, err := config(t, "node: n1\n")
	if err != nil {
		t.Fatal(err)
	}
	want := &agentd.Config{
		File: path, Node: "n1", State: "/var/lib/agentd", Socket: "/run/agentd/agentd.sock", Metrics: "127.0.0.1:9464",
		Capture:   agentd.CaptureConfig{Pins: "/sys/fs/bpf/agentd", UDP: []uint16{53}},
		Record:    agentd.RecordConfig{Segment: 64 << 20, Age: agentd.Duration(24 * time.Hour), Checkpoint: agentd.Duration(time.Second), Heartbeat: agentd.Duration(time.Minute), Checkpoints: agentd.CheckpointsConfig{Journal: true}, Floor: agentd.Floor{Size: 256 << 20}},
		Limits:    agentd.LimitsConfig{Statement: 16 << 20, Drain: agentd.Duration(10 * time.Second), Handover: agentd.Duration(24 * time.Hour)},
		Approvals: agentd.ApprovalsConfig{PerWorkload: 200, Pending: 1000, Keep: 1000, KeepFor: agentd.Duration(7 * 24 * time.Hour)},
		Drift:     agentd.DriftConfig{Learn: agentd.Duration(7 * 24 * time.Hour)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, _, err := config(t, "state: /s\n"); err != nil || got.Node == "" {
		t.Errorf("got node %q, %v, want the host's name", got.Node, err)
	}
}

func TestConfigReadsEverything(t *testing.T) {
	got, path, err := config(t, `
node: n1
state: state
socket: /tmp/s.sock
metrics: ""
capture:
  root: /sys/fs/cgroup/agents
  pins: /sys/fs/bpf/mine
  onStop: hold
  whenDown: bypass
  unknown: deny
  takeover: destroy
  strict: true
  udp: [53, 443]
  runtime: cri.sock
  nri: /run/nri.sock
  workloads:
    - {name: coder, unit: coder.service}
    - {name: batch, cgroup: /agents/batch}
  select:
    - name: agents
      namespace: [agents, "team-*"]
      labels: {agentd.dev/capture: "true"}
      annotations: {note: "*"}
      container: main
      image: ["registry/x*"]
      cgroup: "/agents.slice/*"
      unit: "agent-*.service"
      whenDown: refuse
    - {namespace: others}
policies: [policies, /etc/more.yaml]
approvals: {perWorkload: 20, pending: 100, keep: 50, keepFor: 1h}
drift: {learn: 1h}
webhooks: [{name: oncall, url: "https://hooks.example/x", secret: {file: secret}, on: [approval, alert]}]
targets:
  - name: orders-db
    address: 10.0.0.5:5432
    protocol: postgres
    default: allow
    unclassified: allow
    labels: {env: prod}
  - {name: others, address: "[fd00::/8]:5432", protocol: postgres}
unlisted: observe
record: {segment: {size: 1MiB, age: 7d}, checkpoint: 250ms, heartbeat: 5m, floor: 1.5GiB, facts: all, encrypt: [age1qkep08ejtu3cvql2ncnv3sah3qpvc9r0degplrah0mnkdl2hle9sgd7dyt], retention: [{name: ninety days, after: 90d}, {name: disk, keep: 50GiB}]}
identity: {environment: [task=TASK_ID, TRACEPARENT]}
limits: {statement: 1MB, loops: 2, drain: 0s, handover: 1h}
`)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(path)
	want := &agentd.Config{
		File: path, Node: "n1", State: filepath.Join(folder, "state"), Socket: "/tmp/s.sock",
		Capture: agentd.CaptureConfig{
			Root: "/sys/fs/cgroup/agents", Pins: "/sys/fs/bpf/mine", OnStop: agentd.OnStopHold, WhenDown: capture.Bypass,
			Unknown: capture.UnknownDeny, Takeover: capture.Destroy, Strict: true, UDP: []uint16{53, 443},
			Runtime: filepath.Join(folder, "cri.sock"), NRI: "/run/nri.sock",
			Select: []selection.Rule{
				{
					Name: "agents", Namespace: []string{"agents", "team-*"}, Labels: map[string]string{"agentd.dev/capture": "true"},
					Annotations: map[string]string{"note": "*"}, Container: []string{"main"}, Image: []string{"registry/x*"},
					Cgroup: []string{"/agents.slice/*"}, Unit: []string{"agent-*.service"}, WhenDown: new(capture.Refuse),
				},
				{Namespace: []string{"others"}},
			},
			Workloads: []agentd.WorkloadConfig{{Name: "coder", Unit: "coder.service"}, {Name: "batch", Cgroup: "/agents/batch"}},
		},
		Policies: []string{filepath.Join(folder, "policies"), "/etc/more.yaml"},
		Targets: agentd.Targets{
			{
				Name: "orders-db", Prefix: netip.MustParsePrefix("10.0.0.5/32"), Port: 5432, Protocol: "postgres",
				Default: policy.Allowing, Unclassified: policy.Allowing, Labels: map[string]string{"env": "prod"},
			},
			{Name: "others", Prefix: netip.MustParsePrefix("fd00::/8"), Port: 5432, Protocol: "postgres"},
		},
		Unlisted:    agentd.UnlistedObserve,
		Environment: []identity.Variable{{Key: "task", Name: "TASK_ID"}, {Key: "traceparent", Name: "TRACEPARENT"}},
		Record: agentd.RecordConfig{
			Segment: 1 << 20, Age: agentd.Duration(7 * 24 * time.Hour),
			Encrypt:    []string{"age1qkep08ejtu3cvql2ncnv3sah3qpvc9r0degplrah0mnkdl2hle9sgd7dyt"},
			Retention:  []agentd.RetentionRule{{Name: "ninety days", After: agentd.Duration(90 * 24 * time.Hour)}, {Name: "disk", Keep: 50 << 30}},
			Checkpoint: agentd.Duration(250 * time.Millisecond), Heartbeat: agentd.Duration(5 * time.Minute), Checkpoints: agentd.CheckpointsConfig{Journal: true}, Floor: agentd.Floor{Size: 3 << 29}, Facts: agentd.FactsAll,
		},
		Limits:    agentd.LimitsConfig{Statement: 1e6, Loops: 2, Handover: agentd.Duration(time.Hour)},
		Approvals: agentd.ApprovalsConfig{PerWorkload: 20, Pending: 100, Keep: 50, KeepFor: agentd.Duration(time.Hour)},
		Drift:     agentd.DriftConfig{Learn: agentd.Duration(time.Hour)},
		Webhooks: []agentd.WebhookConfig{{
			Name: "oncall", URL: "https://hooks.example/x", Secret: filepath.Join(folder, "secret"), On: webhook.Approval | webhook.Alert,
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestConfigReportsEveryProblemWithItsPlace(t *testing.T) {
	_, path, err := config(t, `
node: "a b"
polices: []
metrics: 9464
capture:
  onstop: hold
  whenDown: ignore
  workloads:
    - {name: x, unit: foo}
    - {name: x, cgroup: agents}
    - {name: y}
    - {name: z, unit: z.service, cgroup: /z}
    - cgroup: /v
targets:
  - {name: db, address: db.internal:5432, protocol: postgre}
  - {name: db, address: "10.0.0.5:5432", protocol: postgres, labels: {port: 5432}}
  - {name: e, address: "10.0.0.5:5432", protocol: postgres, default: allowed}
  - {name: f, address: "10.0.0.5", protocol: postgres}
  - {name: g, address: "10.1.2.3/8:5432", protocol: postgres}
  - {name: h, address: "fd00::5:5432", protocol: postgres}
  - {name: i, address: "10.0.0.5:70000", protocol: postgres}
record: {segment: 64, checkpoint: 1, floor: 0B, encrypt: [age1x], retention: [{name: x}]}
limits: {statement: -1MiB, loops: many, drain: 1 s}
limits: {}
state: [a]
`)
	want := []string{
		`2:7: "a b" cannot name a node: use letters, digits, dots, dashes and underscores`,
		`3:1: unknown key "polices"; did you mean "policies"?`,
		`4:10: want text, not a number (9464): put it in quotes if it is text`,
		`6:3: unknown key "onstop"; did you mean "onStop"?`,
		`7:13: want "refuse" or "bypass", not "ignore"`,
		`9:7: workload "x" is nowhere: give its ` + "`unit` or its `cgroup`",
		`9:23: "foo" is not a systemd unit: write its whole name, as agent.service`,
		`10:7: workload "x" is nowhere: give its ` + "`unit` or its `cgroup`",
		`10:25: "agents" is not a path below the cgroup-v2 root: write it as in /proc/PID/cgroup, as /agents/coder`,
		`11:7: workload "y" is nowhere: give its ` + "`unit` or its `cgroup`",
		"12:7: both `unit` and `cgroup`: one says where the workload is",
		`13:7: "name" is missing`,
		`15:25: "db.internal:5432": "db.internal" is not an IP address: write a name under ` + "`host`",
		`15:53: "postgre" is not one of "postgres"; did you mean "postgres"?`,
		`16:5: target "db" again: names must differ`,
		`16:77: want text, not a number (5432): put it in quotes if it is text`,
		`17:5: target "db" has this address already: one of the two would never be met`,
		`17:70: "allowed" is not one of "deny" or "allow"; did you mean "allow"?`,
		`18:24: "10.0.0.5": the port is missing: write 10.0.0.5:5432`,
		`19:24: "10.1.2.3/8:5432": the range begins at 10.0.0.0: write 10.0.0.0/8`,
		`20:24: "fd00::5:5432": put an IPv6 address in brackets, as [fd00::5]:5432 or [fd00::/8]:5432`,
		`21:24: "10.0.0.5:70000": "70000" is not a port: write a number from 1 to 65535`,
		`22:19: "64" is not a size: write a number and a unit, as 64MiB`,
		`22:35: "1" is not a length of time: write a number and a unit, as 1s or 250ms`,
		`22:45: 0B is out of range: from 1B to 1024TiB`,
		`22:59: "age1x" is no age recipient: give what ` + "`age-keygen -y` prints, which begins with age1",
		"22:79: the rule says neither when nor how much: give `after` or `keep`",
		`23:21: "-1MiB" is not a size: write a number and a unit, as 64MiB`,
		`23:35: want a whole number, not "many"`,
		`23:48: "1 s" is not a length of time: write a number and a unit, as 1s or 250ms`,
		`24:1: key "limits" again: it is on line 23 already`,
		`25:8: want text, not a list`,
	}
	compare(t, err, path, want)
}

func TestConfigThatCannotBeReadSaysWhatToDo(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ": empty"},
		{"# nothing\n", ": empty"},
		{"- a\n", ":1:1: want a mapping of keys to values, not a list"},
		{"node: x\n\tstate: /s\n", ":2:1: a tab: indent with spaces"},
		{"node: x\nnode x\n", ":2:1: not YAML: could not find expected ':'"},
		{"node: x\n---\nnode: y\n", `:2:1: a second document: remove the "---" line`},
		{"node: \xff\n", ":1:7: a byte that is not UTF-8 text: save the file as UTF-8"},
		{"node: &a x\nstate: *a\n", ":2:8: want text, not an alias: write the value out"},
	} {
		_, path, err := config(t, tt.text)
		if err == nil || err.Error() != path+tt.want {
			t.Errorf("%q: got %v, want %s%s", tt.text, err, path, tt.want)
		}
	}
	missing := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := agentd.LoadConfig(missing); err == nil || err.Error() != missing+": no such file: check the path, or create the file" {
		t.Errorf("got %v, want advice", err)
	}
	if _, err := agentd.LoadConfig(filepath.Dir(missing)); err == nil || !strings.HasSuffix(err.Error(), ": is a directory") {
		t.Errorf("got %v, want that it is a directory", err)
	}
}

func TestWhatCannotBeSelectedIsReportedWithItsPlace(t *testing.T) {
	_, path, err := config(t, `
capture:
  unknown: ask
  takeover: leaf
  strict: "yes"
  udp: [53, 53, 0, dns]
  select:
    - {name: all}
    - {namespace: "team-["}
    - {namespace: [], labels: {}}
    - {labels: {app: 5}, names: x}
    - {cgroup: "agents/*"}
    - {cgroup: "/agents/[/]x"}
    - {unit: "agent-*"}
    - {unit: [agent, /x.service]}
    - {container: main, whenDown: open}
`)
	compare(t, err, path, []string{
		`3:12: want "hold", "deny" or "allow", not "ask"`,
		`4:13: "leaf" is not one of "leave" or "destroy"; did you mean "leave"?`,
		`5:11: want true or false, not "yes"`,
		`6:13: port 53 again`,
		`6:17: 0 is not a port: write a number from 1 to 65535`,
		`6:20: want a whole number, not "dns"`,
		"8:5: asks for pods or containers, and nothing here knows them: set `runtime` to the CRI socket of the container runtime, as /run/containerd/containerd.sock",
		"8:7: selects everything: give at least one of `namespace`, `labels`, `annotations`, `container`, `image`, `cgroup` and `unit`",
		`9:19: "team-[" is not a pattern: * stands for anything but a slash, ? for one letter, [a-z] for one of some; put a \ before one that is meant itself`,
		`10:19: an empty list asks for nothing: leave the key out, or name at least one`,
		`10:31: an empty mapping asks for nothing: leave the key out, or name at least one`,
		`11:22: want text, not a number (5): put it in quotes if it is text`,
		`11:26: unknown key "names"; did you mean "name"?`,
		`12:16: "agents/*" is not a path below the cgroup-v2 root: write it as in /proc/PID/cgroup, as /agents.slice/*`,
		`13:16: "/agents/[/]x" has a slash in brackets: a pattern is matched between slashes`,
		`15:15: "agent" is not a systemd unit: write its whole name, as agent-*.service`,
		`15:22: "/x.service" is not a systemd unit: write its name, as agent-*.service, or its path as ` + "`cgroup`",
		`16:35: want "refuse" or "bypass", not "open"`,
	})
}

// compare checks that an error lists what is wanted, each behind path.
func compare(t *testing.T, err error, path string, want []string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want\n%s", strings.Join(want, "\n"))
	}
	got := strings.Split(strings.ReplaceAll(err.Error(), path+":", ""), "\n")
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("problem %d:\n got %s\nwant %s", i, g, w)
		}
	}
}

func TestAHostIsANameAndAPort(t *testing.T) {
	for _, tt := range []struct{ keys, host, want string }{
		{`host: "orders.internal:5432"`, "orders.internal", ""},
		{`host: "Orders.Internal.:5432"`, "orders.internal", ""},
		{`host: "*.db.internal:5432"`, "*.db.internal", ""},
		{`host: "*.internal:5432"`, "", "*.internal is too wide: name a zone below it, as *.db.internal"},
		{`host: "*:5432"`, "", `"*" is not the name of a host`},
		{`host: "a.*.internal:5432"`, "", `"a.*.internal" is not the name of a host`},
		{`host: "orders.internal"`, "", "the port is missing: write orders.internal:5432"},
		{`host: "orders.internal:0"`, "", `"0" is not a port`},
		{`host: "10.0.0.5:5432"`, "", "this is an address: write it under `address`"},
		{`host: "[fd00::5]:5432"`, "", "this is an address: write it under `address`"},
		{`host: "a b:5432"`, "", `"a b" is not the name of a host`},
		{`host: "a.internal:5432", address: "10.0.0.5:5432"`, "", "both `address` and `host`: one says where the target is"},
		{`default: deny`, "", "target \"orders\" is nowhere: give its `address` or its `host`"},
	} {
		c, _, err := config(t, "node: n\ntargets: [{name: orders, protocol: postgres, "+tt.keys+"}]\n")
		switch {
		case tt.want != "":
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("%s: got %v, want only %q", tt.keys, err, tt.want)
			}
		case err != nil || c.Targets[0].Host != tt.host || c.Targets[0].Port != 5432:
			t.Errorf("%s: got %+v, %v, want host %q", tt.keys, c, err, tt.host)
		}
	}
}
