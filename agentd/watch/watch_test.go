package watch_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/watch"
)

func newWatch(t *testing.T) *watch.Watch {
	t.Helper()
	w, err := watch.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// expect waits until a change is told.
func expect(t *testing.T, w *watch.Watch, after string) {
	t.Helper()
	select {
	case <-w.Changed():
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: nothing was told", after)
	}
}

func TestEveryChangeOfAFolderIsTold(t *testing.T) {
	w := newWatch(t)
	dir := t.TempDir()
	other := t.TempDir()
	must(t, w.Add(dir))
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.WriteFile(filepath.Join(other, "b"), []byte("x"), 0o600))
	for _, tt := range []struct {
		name string
		do   func() error
	}{
		{"a file is made", func() error { return os.WriteFile(at("a"), []byte("x"), 0o600) }},
		{"it is written again", func() error { return os.WriteFile(at("a"), []byte("y"), 0o600) }},
		{"its mode changes", func() error { return os.Chmod(at("a"), 0o400) }},
		{"another replaces it", func() error { return os.Rename(filepath.Join(other, "b"), at("a")) }},
		{"it is linked", func() error { return os.Link(at("a"), at("c")) }},
		{"it is removed", func() error { return os.Remove(at("a")) }},
		{"a folder is made", func() error { return os.Mkdir(at("d"), 0o700) }},
		{"the folder goes", func() error { return os.Remove(at("d")) }},
		{"the watched folder goes", func() error { return os.RemoveAll(dir) }},
	} {
		must(t, tt.do())
		expect(t, w, tt.name)
	}
	must(t, os.Mkdir(dir, 0o700))
	must(t, w.Add(dir))
	must(t, os.Mkdir(at("e"), 0o700))
	expect(t, w, "the folder is back")
}

// A ConfigMap is a folder of links into another one, ..data, itself a link
// that is replaced in one step.
func TestAConfigMapThatChangesIsTold(t *testing.T) {
	w := newWatch(t)
	dir := t.TempDir()
	lab.ConfigMap(t, dir, map[string]string{"agentd.yaml": "one"})
	must(t, w.Add(dir))
	lab.ConfigMap(t, dir, map[string]string{"agentd.yaml": "two"})
	for text := ""; text != "two"; {
		expect(t, w, "the links were replaced")
		read, err := os.ReadFile(filepath.Join(dir, "agentd.yaml"))
		must(t, err)
		text = string(read)
	}
}

func TestCgroupsComeAndGo(t *testing.T) {
	w := newWatch(t)
	root := lab.NewCgroup(t)
	must(t, w.Add(root.Path))
	child := root.Child(t, "child")
	expect(t, w, "a cgroup came")
	must(t, os.Remove(child.Path))
	expect(t, w, "a cgroup went")
}

func TestTheNearestFolderIsWatchedUntilTheRestIsThere(t *testing.T) {
	w := newWatch(t)
	dir := t.TempDir()
	far := filepath.Join(dir, "a", "b")
	if err := w.Add(far); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that it is not there", err)
	}
	if got, err := w.AddNearest(far); err != nil || got != dir {
		t.Errorf("got %s, %v, want %s", got, err, dir)
	}
	must(t, os.MkdirAll(far, 0o700))
	expect(t, w, "it came")
}

func TestWhatIsNotKeptIsNotTold(t *testing.T) {
	w := newWatch(t)
	dropped, kept := t.TempDir(), t.TempDir()
	must(t, w.Add(dropped))
	must(t, w.Add(kept))
	w.Keep(func(folder string) bool { return folder == kept })
	must(t, os.Mkdir(filepath.Join(dropped, "x"), 0o700))
	must(t, os.Mkdir(filepath.Join(kept, "x"), 0o700))
	expect(t, w, "the kept folder changed")
	select {
	case <-w.Changed():
		t.Error("told twice, want only what was kept")
	default:
	}
}
