package lab

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Pins mounts a BPF file system of the test's own and returns a folder in it,
// not made yet, that agentd may keep its pins in.
func Pins(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatalf("mount bpffs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount bpffs: %v", err)
		}
	})
	return filepath.Join(dir, "agentd")
}
