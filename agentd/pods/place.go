package pods

import (
	"path"
	"strings"
)

// A place is where a container's cgroup is.
type place struct {
	id    string
	path  string // of the container's own cgroup, not of one below it
	plain bool   // docker's or podman's: not to be found over CRI
}

// prefixes are what container engines put before a container's id in the name
// of its cgroup. The bare id is used by all of them, with cgroupfs.
var prefixes = []struct {
	text  string
	plain bool
}{
	{"cri-containerd-", false},
	{"crio-", false},
	{"docker-", true},
	{"libpod-payload-", true},
	{"libpod-", true},
}

// locate finds the outermost container on the way to a cgroup. A workload may
// be able to make cgroups below its own, with names to its liking, but never
// above.
func locate(cgroupPath string) (place, bool) {
	for end := range len(cgroupPath) + 1 {
		if end < len(cgroupPath) && cgroupPath[end] != '/' {
			continue
		}
		if p, ok := own(cgroupPath[:end]); ok {
			return p, true
		}
	}
	return place{}, false
}

// own reads the last name of a path as that of a container's cgroup.
func own(cgroupPath string) (place, bool) {
	dir, name := path.Split(cgroupPath)
	name = strings.TrimSuffix(name, ".scope")
	plain := path.Base(dir) == "docker"
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(name, p.text); ok {
			name, plain = rest, p.plain
			break
		}
	}
	return place{id: name, path: cgroupPath, plain: plain}, isID(name)
}

// isID reports whether text is a container's id: all engines draw 256 bits.
func isID(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}

// CgroupPath turns an OCI specification's cgroupsPath into the path below the
// top of the hierarchy: a path, or SLICE:PREFIX:NAME where systemd makes it. It
// is "" if it depends on where the runtime runs.
func CgroupPath(cgroupsPath string) string {
	parts := strings.Split(cgroupsPath, ":")
	switch {
	case strings.HasPrefix(cgroupsPath, "/"):
		return path.Clean(cgroupsPath)
	case len(parts) != 3:
		return ""
	}
	name := parts[2]
	if !strings.HasSuffix(name, ".slice") {
		name = parts[1] + "-" + name + ".scope"
	}
	return path.Join(slice(parts[0]), name)
}

// slice returns the path of a systemd slice, which its name spells out:
// a-b.slice is in a.slice. See systemd.slice(5).
func slice(name string) string {
	if name == "" {
		name = "system.slice"
	}
	name = strings.TrimSuffix(name, ".slice")
	at := "/"
	for i := range len(name) {
		if name[i] == '-' && i > 0 {
			at = path.Join(at, name[:i]+".slice")
		}
	}
	if name == "-" {
		return at
	}
	return path.Join(at, name+".slice")
}
