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
	got, _, err := config(t, "node: n1\n")
	if err != nil {
		t.Fatal(err)
	}
	want := &agentd.Config{
		Node: "n1", State: "/var/lib/agentd", Socket: "/run/agentd/agentd.sock", Metrics: "127.0.0.1:9464",
		Capture: agentd.CaptureConfig{Pins: "/sys/fs/bpf/agentd"},
		Record:  agentd.RecordConfig{Segment: 64 << 20, Checkpoint: agentd.Duration(time.Second), Reserve: 256 << 20},
		Limits:  agentd.LimitsConfig{Statement: 16 << 20, Drain: agentd.Duration(10 * time.Second), Handover: agentd.Duration(24 * time.Hour)},
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
  workloads:
    - {name: coder, unit: coder.service}
    - {name: batch, cgroup: /agents/batch}
policies: [policies, /etc/more.yaml]
targets:
  - name: orders-db
    address: 10.0.0.5:5432
    protocol: postgres
    default: allow
    unclassified: allow
    labels: {env: prod}
  - {name: others, address: "[fd00::/8]:5432", protocol: postgres}
unlisted: observe
record: {segment: 1MiB, checkpoint: 250ms, reserve: 1.5GiB}
limits: {statement: 1MB, loops: 2, drain: 0s, handover: 1h}
`)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(path)
	want := &agentd.Config{
		Node: "n1", State: filepath.Join(folder, "state"), Socket: "/tmp/s.sock",
		Capture: agentd.CaptureConfig{
			Root: "/sys/fs/cgroup/agents", Pins: "/sys/fs/bpf/mine", OnStop: agentd.OnStopHold, WhenDown: capture.Bypass,
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
		Unlisted: agentd.UnlistedObserve,
		Record:   agentd.RecordConfig{Segment: 1 << 20, Checkpoint: agentd.Duration(250 * time.Millisecond), Reserve: 3 << 29},
		Limits:   agentd.LimitsConfig{Statement: 1e6, Loops: 2, Handover: agentd.Duration(time.Hour)},
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
record: {segment: 64, checkpoint: 1, reserve: 0B}
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
		`15:25: "db.internal:5432": "db.internal" is not an IP address: names are not looked up, write the address itself`,
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
		`22:47: 0B is out of range: from 1B to 1024TiB`,
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
