package capture_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/internal/lab"
)

func TestErrorsSayWhatToDo(t *testing.T) {
	root := lab.NewCgroup(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		capture.Options
		want string
	}{
		{"pins on a disk", capture.Options{Root: root.Path, Pins: filepath.Join(dir, "pins")}, "pins must be on a bpffs and " + dir + " is none: mount -t bpf bpf /sys/fs/bpf"},
		{"pins nowhere", capture.Options{Root: root.Path, Pins: dir + "/no/pins"}, "statfs " + dir + "/no: no such file or directory"},
		{"a root that is no cgroup", capture.Options{Root: dir}, dir + " is not in a cgroup-v2 hierarchy"},
		{"a root that does not exist", capture.Options{Root: root.Path + "/no"}, "no such file or directory"},
	} {
		c, err := capture.Open(tt.Options)
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}

func TestWithoutCapabilitiesTheErrorNamesThem(t *testing.T) {
	root := lab.NewCgroup(t)
	// A copy that everyone may run, in a folder that everyone may enter.
	dir, err := os.MkdirTemp("", "agentd-capture-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "test")
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = []string{daemonEnv + `={"Root":"` + root.Path + `"}`}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "CAP_BPF to load programs") {
		t.Errorf("it ended with %v and said %q", err, out)
	}
}

func TestWhatCannotBeCapturedIsNamed(t *testing.T) {
	f := start(t, capture.Options{})
	outside := lab.NewCgroup(t)
	for _, tt := range []struct {
		name string
		capture.Workload
		want string
	}{
		{"a cgroup elsewhere", capture.Workload{Cgroup: outside.Path}, "it is not below " + f.root.Path},
		{"no cgroup", capture.Workload{Cgroup: t.TempDir()}, "is not in a cgroup-v2 hierarchy"},
		{"a cgroup that is gone", capture.Workload{Cgroup: f.root.Path + "/gone"}, "no such file or directory"},
		{"a long name", capture.Workload{Cgroup: f.root.Path, Name: strings.Repeat("n", 65)}, "is too long: 64 bytes are kept"},
	} {
		if _, err := f.Add(tt.Workload); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if got := f.Workloads(); len(got) != 0 {
		t.Errorf("workloads are %+v, want none", got)
	}
}
