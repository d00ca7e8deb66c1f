package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// containerd2Version is of a containerd that has NRI and container events. The
// distribution's is older.
const containerd2Version = "v2.1.9"

// containerd2Programs are what it takes to run pods.
var containerd2Programs = []string{"containerd", "containerd-shim-runc-v2"}

// containerd2 returns a folder with the programs of a newer containerd, built
// from its Go module if no test of this user has built it before.
func containerd2(t testing.TB) string {
	t.Helper()
	caches, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(caches, "agentd", "containerd-"+containerd2Version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	bin := filepath.Join(dir, "bin")
	if _, err := os.Stat(bin); err == nil {
		return bin
	}
	if err := buildContainerd2(dir); err != nil {
		t.Fatalf("build containerd %s: %v", containerd2Version, err)
	}
	return bin
}

// buildContainerd2 builds in a module of its own: go install takes no module
// that replaces others.
func buildContainerd2(dir string) error {
	const module = "github.com/containerd/containerd/v2"
	made, err := os.MkdirTemp(dir, "making-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	mod := fmt.Sprintf("module lab\n\ngo 1.24\n\nrequire %s %s\n", module, containerd2Version)
	if err := os.WriteFile(filepath.Join(made, "go.mod"), []byte(mod), 0o600); err != nil {
		return err
	}
	build := exec.Command("nice", "go", "build", "-mod=mod", "-o", "bin/")
	for _, program := range containerd2Programs {
		build.Args = append(build.Args, module+"/cmd/"+program)
	}
	build.Dir = made
	build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return os.Rename(filepath.Join(made, "bin"), filepath.Join(dir, "bin"))
}
