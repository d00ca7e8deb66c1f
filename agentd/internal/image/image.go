// Package image makes container images for tests: agentd's own, from the
// Dockerfile at the top of the repository, and small ones to run beside it.
//
// Nothing is pulled from a registry. The Dockerfile's base images are made
// here, under the names that it uses, from the distribution's mirror; modules
// come from this user's module cache, and what was compiled before is used
// again. What takes long to make is kept outside the tree, in the user's
// cache folder.
package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// The names of the images, as a runtime that has imported them knows them.
const (
	Agentd = "docker.io/library/agentd:latest" // as deploy/daemonset.yaml and the README have it
	Client = "docker.io/library/agentd-client:latest"
	Pause  = "docker.io/library/agentd-pause:latest"
)

// Build makes the image of that name and returns its archive, as `docker save`
// writes one. The archive is gone when the test ends.
func Build(t testing.TB, name string) string {
	t.Helper()
	b := newBuilder(t)
	defer b.close()
	switch name {
	case Agentd:
		b.agentd(t)
	case Client:
		b.client(t)
	case Pause:
		b.pause(t)
	default:
		t.Fatalf("there is no recipe for the image %s", name)
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	b.buildah(t, "push", "--quiet", name, "docker-archive:"+archive+":"+name)
	return archive
}

// agentd builds the repository's Dockerfile.
func (b *builder) agentd(t testing.TB) {
	root := lab.Root(t)
	file := filepath.Join(root, "Dockerfile")
	b.debian(t, argument(t, file, "BASE"))
	b.golang(t, argument(t, file, "BUILD_BASE"))
	b.build(t, Agentd, file, root,
		"--volume", goEnv(t, "GOMODCACHE")+"/cache/download:"+modules+":ro",
		"--volume", goEnv(t, "GOCACHE")+":"+compiled,
		"--build-arg", "VERSION=test")
}

// argument returns the default of a Dockerfile's ARG.
func argument(t testing.TB, file, name string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "ARG "+name+"="); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("%s has no ARG %s=", file, name)
	return ""
}
