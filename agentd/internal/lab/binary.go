package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Binary builds the command in the module's folder pkg, as "./cmd/agentd",
// with the flags given, as "-race", and returns the program's path. What was
// built for the same sources before, by this test or another, is used again.
func Binary(t testing.TB, pkg string, flags ...string) string {
	t.Helper()
	root := Root(t)
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	name := strings.ReplaceAll(strings.Trim(root, "/"), "/", "-") + strings.Join(flags, "")
	dir := filepath.Join(cache, "bin", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()

	program := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(pkg, "./"), "/", "-"))
	build := exec.Command("go", append([]string{"build", "-o", program}, append(flags, pkg)...)...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return program
}

// Root returns the folder of the module that the test belongs to.
func Root(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("go env GOMOD: %v", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

// cacheDir returns the folder for what is costly to make and the same for
// every test run of this user. A folder there that anyone else could have
// written to is an error.
func cacheDir() (string, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("agentd-lab-%d", os.Getuid()))
	if err := os.Mkdir(dir, 0o711); err != nil && !os.IsExist(err) {
		return "", err
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	owner := fi.Sys().(*syscall.Stat_t).Uid
	if !fi.IsDir() || int(owner) != os.Getuid() || fi.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s belongs to uid %d with mode %v: remove it, and tests will make their own", dir, owner, fi.Mode())
	}
	return dir, nil
}

// lock takes an exclusive lock on the folder dir, among all processes, and
// returns what gives it back.
func lock(dir string) (unlock func(), err error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	for {
		err = unix.Flock(fd, unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { unix.Close(fd) }, nil
}
