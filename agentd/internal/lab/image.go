package lab

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Image is the one image that pods of the lab are made of: /pause, and links
// into /usr, which containers get from the host.
const Image = "agentd.test/lab:1"

// hostLinks are what a distribution with a merged /usr has at the top.
var hostLinks = []string{"bin", "sbin", "lib", "lib64"}

// writeImage makes Image as an archive in docker's format.
func writeImage(t testing.TB, path string) {
	t.Helper()
	program, err := os.ReadFile(Binary(t, "./agentd/internal/lab/pause"))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := tarOf([]tarFile{{"pause", program}}, hostLinks)
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{"/pause"}, "Env": []string{"PATH=/usr/bin:/bin"}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{Image}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		t.Fatal(err)
	}
	archive, err := tarOf([]tarFile{{"config.json", config}, {"layer.tar", layer}, {"manifest.json", manifest}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		t.Fatal(err)
	}
}

type tarFile struct {
	name string
	data []byte
}

// tarOf makes an archive of programs, and of links into usr.
func tarOf(files []tarFile, links []string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.data))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	for _, name := range links {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: filepath.Join("usr", name), Mode: 0o777}); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
