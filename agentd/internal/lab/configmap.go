package lab

import (
	"os"
	"path/filepath"
	"testing"
)

// ConfigMap makes the folder dir hold files, by name, in the way that
// Kubernetes mounts a ConfigMap: links to files behind a link ..data, which is
// replaced in one step when the folder holds a ConfigMap already.
func ConfigMap(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	data, err := os.MkdirTemp(dir, "..2026_")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(data, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old, _ := os.Readlink(filepath.Join(dir, "..data"))
	fresh := filepath.Join(dir, "..data_tmp")
	if err := os.Symlink(filepath.Base(data), fresh); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	for name := range files {
		link := filepath.Join(dir, name)
		if _, err := os.Lstat(link); err == nil {
			continue
		}
		if err := os.Symlink(filepath.Join("..data", name), link); err != nil {
			t.Fatal(err)
		}
	}
	if old != "" {
		if err := os.RemoveAll(filepath.Join(dir, old)); err != nil {
			t.Fatal(err)
		}
	}
}
