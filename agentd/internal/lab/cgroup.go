package lab

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/cgroup"
)

// A Cgroup is a cgroup that a test made.
type Cgroup struct {
	Path string // absolute, of its directory
	ID   uint64

	dir *os.File
}

// NewCgroup makes a cgroup at the top of the cgroup-v2 hierarchy. When the test
// ends, whatever runs in it or below is killed and the cgroups are removed.
func NewCgroup(t testing.TB) *Cgroup {
	t.Helper()
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		t.Fatal(err)
	}
	g := makeCgroup(t, filepath.Join(hierarchy, "agentd-lab-"+strings.ToLower(rand.Text()[:12])))
	t.Cleanup(func() {
		if err := g.remove(); err != nil {
			t.Errorf("remove %s: %v", g.Path, err)
		}
	})
	return g
}

// Child makes a cgroup below g, and goes with it.
func (g *Cgroup) Child(t testing.TB, name string) *Cgroup {
	t.Helper()
	return makeCgroup(t, filepath.Join(g.Path, name))
}

func makeCgroup(t testing.TB, dir string) *Cgroup {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	id, err := cgroup.ID(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &Cgroup{Path: dir, ID: id, dir: f}
}

// Put makes cmd start in g: it runs there from its first instruction.
func (g *Cgroup) Put(cmd *exec.Cmd) *exec.Cmd {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(g.dir.Fd())
	return cmd
}

// remove kills what is in g and removes it with everything below.
func (g *Cgroup) remove() error {
	err := os.WriteFile(filepath.Join(g.Path, "cgroup.kill"), []byte("1"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the test has removed it
	}
	if err != nil {
		return err
	}
	if err := g.awaitEmpty(); err != nil {
		return err
	}
	return cgroup.Remove(g.Path)
}

// awaitEmpty waits until no process is left in g or below: the kernel wakes
// whoever polls cgroup.events when that changes.
func (g *Cgroup) awaitEmpty() error {
	fd, err := unix.Open(filepath.Join(g.Path, "cgroup.events"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, 256)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		n, err := unix.Pread(fd, buf, 0)
		if err != nil {
			return err
		}
		if strings.Contains(string(buf[:n]), "populated 0") {
			return nil
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, 1000); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return errors.New("a process in it does not die")
}
