package cluster

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/cgroup"
)

// makeCgroups makes the cgroup in every hierarchy that is mounted, v1 or v2, and
// returns its directory in v2. The kubelet insists that its root is there.
func makeCgroups(t testing.TB, parent string) string {
	t.Helper()
	hierarchies, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range hierarchies {
		if err := os.Mkdir(filepath.Join(dir, parent), 0o755); err != nil && !errors.Is(err, fs.ErrExist) { // cpu and cpuacct may be one
			t.Fatal(err)
		}
	}
	for _, set := range []string{"cpuset.cpus", "cpuset.mems"} {
		inherit(t, parent, set)
	}
	v2, err := cgroup.Hierarchy()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(v2, parent, system), 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(v2, parent)
}

// system is the cgroup of what is no pod, below the node's.
const system = "system"

// inherit copies a setting from the root of the v1 hierarchy that has it: a new
// cpuset of v1 is empty, and nothing can run in it.
func inherit(t testing.TB, parent, name string) {
	t.Helper()
	const dir = "/sys/fs/cgroup/cpuset"
	value, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return // v2 has no need of it
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, parent, name), value, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// hierarchies lists where cgroups are mounted.
func hierarchies() ([]string, error) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var dirs []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); fields[2] == "cgroup" || fields[2] == "cgroup2" {
			dirs = append(dirs, fields[1])
		}
	}
	return dirs, lines.Err()
}

// inCgroup makes cmd start among what is no pod.
func (n *Node) inCgroup(t testing.TB, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	dir, err := os.Open(filepath.Join(n.Cgroup, system))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(dir.Fd())
	return cmd
}
