package image

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Where the stand-in for golang finds what this machine has already.
const (
	modules  = "/modules"
	compiled = "/compiled"
)

// debian makes a stand-in for Debian's slim image: what debootstrap makes.
func (b *builder) debian(t testing.TB, name string) {
	t.Helper()
	b.bookworm(t, name)
}

// bookworm makes an image of what debootstrap makes, with more packages.
func (b *builder) bookworm(t testing.TB, name string, packages ...string) {
	t.Helper()
	const release = "bookworm"
	args := []string{"--variant=minbase"}
	text := "FROM scratch\nADD " + release + " /\n"
	if len(packages) > 0 {
		include := "--include=" + strings.Join(packages, ",")
		args = append(args, include)
		text = "# " + include + "\n" + text
	}
	b.recipe(t, name, text, func() string {
		context := b.folder(t, strings.Join(append(packages, release), "-"))
		out, err := exec.Command("debootstrap", append(args, release, filepath.Join(context, release))...).CombinedOutput()
		if err != nil {
			t.Fatalf("debootstrap: %v\n%s", err, out)
		}
		return context
	})
}

// golang makes a stand-in for Go's image: Debian's with a C compiler, with this
// machine's Go.
func (b *builder) golang(t testing.TB, name string) {
	t.Helper()
	const compiler = "localhost/agentd-gcc:latest"
	b.bookworm(t, compiler, "gcc", "libc6-dev")
	root := goEnv(t, "GOROOT")
	b.recipe(t, name, `# `+goEnv(t, "GOVERSION")+`
FROM `+compiler+`
ADD `+filepath.Base(root)+` /usr/local/go
ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPATH=/go
ENV GOPROXY=file://`+modules+` GOCACHE=`+compiled+`
`, func() string { return filepath.Dir(root) })
}

// pause makes the image of the process that holds a pod's namespaces.
func (b *builder) pause(t testing.TB) {
	t.Helper()
	context := b.folder(t, "pause")
	take(t, context, "/bin/busybox")
	b.recipe(t, Pause, "FROM scratch\nADD . /\nENTRYPOINT [\"/bin/busybox\", \"sleep\", \"infinity\"]\n", func() string { return context })
}

// client makes the image of a pod that asks databases: this machine's psql
// and a shell. It sleeps until something is run in it.
func (b *builder) client(t testing.TB) {
	t.Helper()
	context := b.folder(t, "client")
	take(t, context, "/bin/busybox")
	psql, err := filepath.Glob("/usr/lib/postgresql/*/bin/psql")
	if err != nil || len(psql) == 0 {
		t.Fatalf("no psql under /usr/lib/postgresql: run scripts/deps.sh test (%v)", err)
	}
	program := psql[len(psql)-1]
	take(t, context, program)
	for _, library := range libraries(t, program) {
		take(t, context, library)
	}
	b.recipe(t, Client, `# `+program+`
FROM scratch
ADD . /
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox --install -s /bin; ln -s `+program+` /bin/psql; mkdir -p /tmp /etc; echo root:x:0:0::/:/bin/sh >/etc/passwd"]
ENV PATH=/bin
CMD ["sleep", "infinity"]
`, func() string { return context })
}

func (b *builder) folder(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(b.scratch, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// libraries returns what a program is linked to, the linker included.
func libraries(t testing.TB, program string) []string {
	t.Helper()
	out, err := exec.Command("ldd", program).Output()
	if err != nil {
		t.Fatalf("ldd %s: %v", program, err)
	}
	var paths []string
	for _, m := range regexp.MustCompile(`(/\S+) \(0x`).FindAllSubmatch(out, -1) {
		paths = append(paths, string(m[1]))
	}
	return paths
}

// take copies a file of this machine to the same place below dir.
func take(t testing.TB, dir, path string) {
	t.Helper()
	to := filepath.Join(dir, path)
	err := os.MkdirAll(filepath.Dir(to), 0o755)
	if err == nil {
		err = copyFile(to, path)
	}
	if err != nil {
		t.Fatalf("take %s: %v", path, err)
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
