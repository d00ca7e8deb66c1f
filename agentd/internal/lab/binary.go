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
//
// A machine that is too slow to build on (scripts/vm-test.sh) says in
// AGENTD_LAB_PROGRAMS which folder holds what was built for it elsewhere.
func Binary(t testing.TB, pkg string, flags ...string) string {
	t.Helper()
	base := strings.ReplaceAll(strings.TrimPrefix(pkg, "./"), "/", "-") + strings.Join(flags, "")
	if dir := os.Getenv("AGENTD_LAB_PROGRAMS"); dir != "" {
		program := filepath.Join(dir, base)
		if _, err := os.Stat(program); err != nil {
			t.Fatalf("a program of AGENTD_LAB_PROGRAMS: %v", err)
		}
		return program
	}
	root := Root(t)
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "bin", strings.ReplaceAll(strings.Trim(root, "/"), "/", "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()

	program := filepath.Join(dir, base)
	build := exec.Command("go", append([]string{"build", "-o", program}, append(flags, pkg)...)...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return program
}

// Root returns the folder of the module that the test belongs to. Tests run in
// the folder of their package.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			t.Fatalf("no go.mod in %s or above", dir)
		}
	}
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
