package image

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A builder is buildah with a store of its own.
type builder struct {
	cache   string // folder that outlives the test
	scratch string // folder that does not
	lock    *os.File
}

// newBuilder opens the store. Until close, no other test does.
func newBuilder(t testing.TB) *builder {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{cache: filepath.Join(cache, "agentd", "images"), scratch: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(b.cache, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if b.lock, err = os.Open(b.cache); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(b.lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatalf("lock %s: %v", b.cache, err)
	}
	return b
}

func (b *builder) close() { b.lock.Close() }

// recipe makes an image of a Dockerfile's text, unless it was made of the same
// text before, and names it.
func (b *builder) recipe(t testing.TB, name, text string, context func() string) {
	t.Helper()
	made := fmt.Sprintf("localhost/agentd-made:%x", sha256.Sum256([]byte(text)))
	if b.command("inspect", "--type", "image", made).Run() != nil {
		file := filepath.Join(b.scratch, "Dockerfile")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b.build(t, made, file, context())
	}
	b.buildah(t, "tag", made, name)
}

// build builds a Dockerfile. The format is the one that knows HEALTHCHECK.
func (b *builder) build(t testing.TB, name, file, context string, flags ...string) {
	t.Helper()
	args := []string{"build", "--isolation", "chroot", "--network", "host", "--pull-never", "--format", "docker", "--tag", name, "--file", file}
	b.buildah(t, append(append(args, flags...), context)...)
}

func (b *builder) buildah(t testing.TB, args ...string) {
	t.Helper()
	if out, err := b.command(args...).CombinedOutput(); err != nil {
		t.Fatalf("buildah %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (b *builder) command(args ...string) *exec.Cmd {
	cmd := exec.Command("buildah", append([]string{"--root", filepath.Join(b.cache, "storage"), "--runroot", filepath.Join(b.scratch, "run")}, args...)...)
	// vfs needs nothing of the kernel. Cache mounts are kept below TMPDIR.
	cmd.Env = append(os.Environ(), "STORAGE_DRIVER=vfs", "TMPDIR="+filepath.Join(b.cache, "tmp"))
	return cmd
}

func goEnv(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatalf("go env %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}
