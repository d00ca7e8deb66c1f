package cgroup_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/internal/lab"
)

func TestIDsAndDirectoriesBelongTogether(t *testing.T) {
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		t.Fatal(err)
	}
	group := lab.NewCgroup(t).Child(t, "child")
	if got, err := cgroup.Dir(hierarchy, group.ID); got != group.Path || err != nil {
		t.Errorf("Dir(%d) = %q (%v), want %q", group.ID, got, err, group.Path)
	}
	if err := os.Remove(group.Path); err != nil {
		t.Fatal(err)
	}
	if got, err := cgroup.Dir(hierarchy, group.ID); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Dir of a removed cgroup = %q (%v), want fs.ErrNotExist", got, err)
	}
}

func TestProcessesOfACgroupAreThoseBelowItToo(t *testing.T) {
	root := lab.NewCgroup(t)
	var want []int
	for _, g := range []*lab.Cgroup{root.Child(t, "a"), root.Child(t, "b").Child(t, "c")} {
		p := lab.Start(t, g.Put(exec.Command("sleep", "60")), "", syscall.SIGKILL)
		want = append(want, p.Cmd.Process.Pid)
	}
	got, err := cgroup.Processes(root.Path)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || err != nil {
		t.Errorf("processes are %v (%v), want %v", got, err, want)
	}
}

func TestOnlyTheV2HierarchyPasses(t *testing.T) {
	if err := cgroup.Check(lab.NewCgroup(t).Path); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{t.TempDir(), "/proc", "/does/not/exist"} {
		if err := cgroup.Check(dir); err == nil {
			t.Errorf("Check(%q) is nil, want an error", dir)
		}
	}
}

// In a cgroup namespace of its own a process sees its cgroup as the root. With
// the hierarchy mounted anew there, as containers do, only a part is in sight.
func TestAPartOfTheHierarchyIsRefused(t *testing.T) {
	if os.Getenv("CGROUP_TEST_INSIDE") != "" {
		dir, err := cgroup.Hierarchy()
		if err == nil || !strings.Contains(err.Error(), "run agentd in the host's cgroup namespace") {
			t.Errorf("Hierarchy is %q (%v), want an error that names the namespace", dir, err)
		}
		return
	}
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		t.Fatal(err)
	}
	mount := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := `umount -l "$1" && mount -t cgroup2 none "$2" && exec "$3" -test.v -test.run="^$4\$"`
	cmd := lab.NewCgroup(t).Put(exec.Command("unshare", "--cgroup", "--mount", "sh", "-c", script, "sh", hierarchy, mount, exe, t.Name()))
	cmd.Env = append(os.Environ(), "CGROUP_TEST_INSIDE=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("inside: %v\n%s", err, out)
	}
}

func TestOwnIsFoundFromACgroupNamespaceOfItsOwn(t *testing.T) {
	if hierarchy := os.Getenv(ownEnv); hierarchy != "" {
		dir, err := cgroup.Own(hierarchy)
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("own: " + dir + "\n")
		return
	}
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		t.Fatal(err)
	}
	group := lab.NewCgroup(t).Child(t, "inside")
	for _, flags := range []uintptr{0, syscall.CLONE_NEWCGROUP} {
		cmd := group.Put(exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$"))
		cmd.SysProcAttr.Unshareflags = flags
		cmd.Env = append(os.Environ(), ownEnv+"="+hierarchy)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "own: "+group.Path+"\n") {
			t.Errorf("with the flags %#x: %v, %s, want %s", flags, err, out, group.Path)
		}
	}
}

// ownEnv has the test find its own cgroup in the hierarchy that it names.
const ownEnv = "CGROUP_TEST_OWN"
