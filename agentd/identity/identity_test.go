package identity_test

import (
	"context"
	"os"
	"os/exec"
	"path"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/identity"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/pods"
	"agentd.dev/policy"
)

const tick = 10 * time.Millisecond

func TestExeIsKnownOnlyForTheSameStart(t *testing.T) {
	p := lab.Start(t, exec.Command("sleep", "60"), "", syscall.SIGKILL)
	pid := p.Cmd.Process.Pid
	start := startOf(t, pid)
	sleep, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		start uint64
		exe   string
	}{
		{"the process", start + uint64(tick)/2, sleep}, // the kernel side knows ns, /proc ticks
		{"an earlier one with its pid", start - uint64(time.Second), ""},
	} {
		var id policy.Identity
		if err := (&identity.Process{}).Identify(context.Background(), identity.Peer{TGID: pid, Start: tt.start}, &id); err != nil {
			t.Fatal(err)
		}
		if id.Process.Exe != tt.exe {
			t.Errorf("%s: exe is %q, want %q", tt.name, id.Process.Exe, tt.exe)
		}
		if age := time.Since(id.Process.Start); age < 0 || age > time.Minute {
			t.Errorf("%s: started %v ago, want a moment ago", tt.name, age)
		}
	}
}

func TestANameWithParenthesesDoesNotMoveTheStart(t *testing.T) {
	program := path.Join(t.TempDir(), ") 1 (R) 2")
	if err := os.Symlink("/bin/sleep", program); err != nil {
		t.Fatal(err)
	}
	p := lab.Start(t, exec.Command(program, "60"), "", syscall.SIGKILL)
	pid := p.Cmd.Process.Pid
	var id policy.Identity
	peer := identity.Peer{TGID: pid, Start: startOf(t, pid)}
	if err := (&identity.Process{}).Identify(context.Background(), peer, &id); err != nil {
		t.Fatal(err)
	}
	if id.Process.Exe == "" {
		t.Error("the process was not recognised by its start")
	}
}

func TestCgroupsAndTheirUnits(t *testing.T) {
	root := lab.NewCgroup(t)
	service := root.Child(t, "agent.service")
	inner := service.Child(t, "inner")
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		t.Fatal(err)
	}
	var source identity.Cgroup
	for _, tt := range []struct {
		name, unit string
		*lab.Cgroup
	}{
		{"no unit", "", root},
		{"a service", "agent.service", service},
		{"below a service", "agent.service", inner},
	} {
		var id policy.Identity
		if err := source.Identify(context.Background(), identity.Peer{Cgroup: tt.ID}, &id); err != nil {
			t.Fatal(err)
		}
		if hierarchy+id.Cgroup != tt.Path || id.Unit != tt.unit || id.CgroupID != tt.ID {
			t.Errorf("%s: cgroup %q (%d) of unit %q, want %q (%d) of %q", tt.name, hierarchy+id.Cgroup, id.CgroupID, id.Unit, tt.Path, tt.ID, tt.unit)
		}
	}
}

func TestACgroupThatIsGoneHasOnlyItsID(t *testing.T) {
	root := lab.NewCgroup(t)
	gone := root.Child(t, "gone")
	if err := os.Remove(gone.Path); err != nil {
		t.Fatal(err)
	}
	var (
		source identity.Cgroup
		id     policy.Identity
	)
	if err := source.Identify(context.Background(), identity.Peer{Cgroup: gone.ID}, &id); err != nil {
		t.Fatal(err)
	}
	if want := (policy.Identity{CgroupID: gone.ID}); !reflect.DeepEqual(id, want) {
		t.Errorf("it is %+v, want %+v", id, want)
	}
}

func TestAWorkloadIsNamedByTheBestThatIsKnown(t *testing.T) {
	names := func(id uint64) (string, string) {
		if id == 7 {
			return "billing", "run"
		}
		return "", ""
	}
	for _, tt := range []struct {
		captured     uint64
		id           policy.Identity
		name, source string
	}{
		{7, policy.Identity{Cgroup: "/a.service/b", Unit: "a.service"}, "billing", "run"},
		{8, policy.Identity{Cgroup: "/a.service/b", Unit: "a.service"}, "a.service", "unit"},
		{8, policy.Identity{Cgroup: "/a"}, "/a", "cgroup"},
		{8, policy.Identity{}, "", ""},
	} {
		if err := (identity.Workload{Names: names}).Identify(context.Background(), identity.Peer{Captured: tt.captured}, &tt.id); err != nil {
			t.Fatal(err)
		}
		if tt.id.Workload != tt.name || tt.id.Source != tt.source {
			t.Errorf("captured by %d: named %q from %q, want %q from %q", tt.captured, tt.id.Workload, tt.id.Source, tt.name, tt.source)
		}
	}
}

func TestAPodIsKnownByItsContainersCgroup(t *testing.T) {
	lookup := func(_ context.Context, path string) (pods.Container, bool) {
		return pods.Container{
			ID: "abc", Name: "main", Image: "registry/x:1",
			Pod: pods.Pod{UID: "1-2", Namespace: "agents", Name: "web", ServiceAccount: "sa", Owner: "ReplicaSet/web", Labels: map[string]string{"a": "b"}},
		}, path == "/kubepods/pod1-2/abc"
	}
	source := identity.Pod{Lookup: lookup}
	for _, tt := range []struct {
		source identity.Pod
		cgroup string
		want   policy.Identity
	}{
		{source, "/kubepods/pod1-2/abc", policy.Identity{
			Cgroup: "/kubepods/pod1-2/abc", Container: "main", ContainerID: "abc", Image: "registry/x:1",
			Namespace: "agents", Pod: "web", PodUID: "1-2", ServiceAccount: "sa", Owner: "ReplicaSet/web", Labels: map[string]string{"a": "b"},
		}},
		{source, "/elsewhere", policy.Identity{Cgroup: "/elsewhere"}},
		{source, "", policy.Identity{}},
		{identity.Pod{}, "/kubepods/pod1-2/abc", policy.Identity{Cgroup: "/kubepods/pod1-2/abc"}},
	} {
		id := policy.Identity{Cgroup: tt.cgroup}
		if err := tt.source.Identify(context.Background(), identity.Peer{}, &id); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(id, tt.want) {
			t.Errorf("%q: got %+v, want %+v", tt.cgroup, id, tt.want)
		}
	}
}

// startOf returns when a process began, in ns since boot.
func startOf(t testing.TB, pid int) uint64 {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	text := string(stat)
	fields := strings.Fields(text[strings.LastIndex(text, ")")+1:])
	ticks, err := strconv.ParseUint(fields[22-3], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return ticks * uint64(tick)
}
