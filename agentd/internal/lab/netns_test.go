package lab_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

func TestNamespacesAreJoinedByACable(t *testing.T) {
	a, b := lab.NewNetns(t), lab.NewNetns(t)
	lab.Connect(t, a, "10.76.0.1", b, "10.76.0.2")
	l := b.Listen(t, "10.76.0.2:0")
	a.Do(t, func() error {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if got := conn.LocalAddr().(*net.TCPAddr).IP.String(); got != "10.76.0.1" {
			t.Errorf("the connection is from %s, want 10.76.0.1", got)
		}
		return nil
	})
}

func TestANamespacesPathServesOtherProcesses(t *testing.T) {
	n := lab.NewNetns(t)
	out, err := exec.Command("nsenter", "--net="+n.Path, "readlink", "/proc/self/ns/net").Output()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.Readlink(n.Path)
	if got := strings.TrimSpace(string(out)); err != nil || got != theirs || got == ours {
		t.Errorf("another process entered %s, want %s (%v)", got, theirs, err)
	}
}

func TestACgroupIsGoneWithWhatRunsInItAfterItsTest(t *testing.T) {
	var group *lab.Cgroup
	var process *lab.Process
	t.Run("inner", func(t *testing.T) {
		group = lab.NewCgroup(t)
		cmd := group.Child(t, "child").Put(exec.Command("sleep", "60"))
		process = lab.Start(t, cmd, "", syscall.SIGKILL)
	})
	<-process.Done()
	if _, err := os.Stat(group.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat %s: %v, want that it does not exist", group.Path, err)
	}
}
