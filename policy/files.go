package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Files returns the files that Load would read.
func Files(paths []string) []string { return expand(paths) }

// expand returns the files that paths name, each once: files as they are
// given, folders by what they hold, in the order of names. A folder may be empty:
// then the targets' defaults decide.
func expand(paths []string) []string {
	var files []string
	add := func(name string) {
		if !slices.Contains(files, name) {
			files = append(files, name)
		}
	}
	for _, path := range paths {
		path = filepath.Clean(path)
		entries, err := os.ReadDir(path)
		if err != nil {
			add(path) // a file, or nothing that can be read: reading it says what
			continue
		}
		for _, entry := range entries {
			if name := filepath.Join(path, entry.Name()); isPolicy(name) {
				add(name)
			}
		}
	}
	return files
}

// isPolicy reports whether a file in a folder is a policy. Links are
// followed: Kubernetes mounts a ConfigMap as a folder of them.
func isPolicy(name string) bool {
	base := filepath.Base(name)
	if ext := filepath.Ext(base); strings.HasPrefix(base, ".") || ext != ".yaml" && ext != ".yml" {
		return false
	}
	s, err := os.Stat(name)
	return err != nil || !s.IsDir() // what cannot be seen is an error when it is read
}

func place(r *rule) string { return fmt.Sprintf("%s:%d", r.file, r.line) }
