package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"agentd.dev/policy/document"
)

// expand returns the files that paths name, each once: files as they are
// given, folders by what they hold, in the order of names.
func expand(paths []string, report *document.Report) []string {
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
		found := false
		for _, entry := range entries {
			if name := filepath.Join(path, entry.Name()); isPolicy(name) {
				add(name)
				found = true
			}
		}
		if !found {
			report.Add(Problem{File: path, Message: "a folder without policy files: put one there that ends in .yaml or .yml"})
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
