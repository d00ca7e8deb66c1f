package agentd

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/pods"
	"agentd.dev/agentd/selection"
)

// A survey is one look at everything that may be selected.
type survey struct {
	*follower
	rules selection.Rules
	known map[string]bool              // cgroups of containers and of pods, by path
	want  map[string]selection.Verdict // by path, without those that inherit
	seen  map[string]bool              // directories whose changes matter
	errs  []error
}

// survey decides on everything there is. The caller holds f.mu.
func (f *follower) survey() *survey {
	s := &survey{follower: f, rules: *f.rules, known: map[string]bool{}, want: map[string]selection.Verdict{}, seen: map[string]bool{}}
	if len(s.rules.List) == 0 {
		return s
	}
	if f.containers != nil {
		s.contained(f.containers.Containers())
	}
	// From the top: what is below a captured one has to be known as such.
	for _, path := range append(s.rules.Tops(), s.rules.Areas()...) {
		s.visit(path, false)
	}
	return s
}

// contained decides on containers and their pods.
func (s *survey) contained(all []pods.Found) {
	byPath := map[string]pods.Container{}
	for path, c := range s.told {
		if _, err := os.Stat(c.Cgroup); err != nil {
			delete(s.told, path)
			continue
		}
		byPath[path] = c.Container
	}
	for _, c := range all {
		path := s.path(c.Cgroup)
		byPath[path] = c.Container
		delete(s.told, path)
	}
	s.rules.PodRoots = podRoots(byPath)
	for path, c := range byPath {
		s.known[path] = true
		s.decide(selection.Subject{Cgroup: path, Container: &c}, false)
		if whole := selection.PodCgroup(path, c.Pod.UID); whole != path && !s.known[whole] {
			s.known[whole] = true
			s.decide(selection.Subject{Cgroup: whole, Pod: &c.Pod}, false)
		}
	}
}

// podRoots are the cgroups that hold those of all pods: the outermost that are
// named so.
func podRoots(byPath map[string]pods.Container) []string {
	seen := map[string]bool{}
	var roots []string
	for path, c := range byPath {
		at := strings.Index(path, "/kubepods")
		if c.Pod.UID == "" || at < 0 {
			continue
		}
		root := path
		if end := strings.IndexByte(path[at+1:], '/'); end >= 0 {
			root = path[:at+1+end]
		}
		if !seen[root] {
			seen[root] = true
			roots = append(roots, root)
		}
	}
	return roots
}

// visit decides on a cgroup that may hold something to be selected, and on what
// it holds. Inside: it is below a captured one.
func (s *survey) visit(path string, inside bool) {
	dir := s.dir(path)
	if s.seen[dir] {
		return
	}
	s.seen[dir] = true
	// Watched before it is read, so that what comes in between is told; one
	// that is not there is waited for.
	nearest, err := s.watch.AddNearest(dir)
	s.seen[nearest] = true
	s.errs = append(s.errs, err)
	if nearest != dir {
		return
	}
	inside = s.decide(selection.Subject{Cgroup: path}, inside) || inside
	entries, err := os.ReadDir(dir)
	if err != nil {
		s.errs = append(s.errs, ignoreGone(err))
	}
	for _, entry := range entries {
		child := filepath.Join(path, entry.Name())
		switch {
		case !entry.IsDir() || s.known[child]:
		case s.rules.Leads(child):
			s.visit(child, inside)
		default:
			s.decide(selection.Subject{Cgroup: child}, inside)
		}
	}
}

// decide decides on a subject, and reports whether it is captured.
func (s *survey) decide(subject selection.Subject, inside bool) bool {
	path := subject.Cgroup
	v := s.rules.Decide(subject)
	switch {
	case s.others(path, v), v.State == selection.Inherit:
		return false
	case v.State == selection.Captured:
	case inside: // what is beside an inner rule's place is captured too
		return false
	case v.State == selection.Watched && busy(s.dir(path)):
		// Processes right here belong to nothing that may be selected, and
		// must not be held for ever. What appears below them is decided on
		// as soon as it is seen, but may have connected before.
		v.State = selection.Free
	}
	s.want[path] = v
	return v.State == selection.Captured
}

// others reports whether a cgroup is not selection's to decide on: agentd's
// own, those of runs, and what is out of capture's reach. What was asked for
// by name is tried all the same, so that it is said why it cannot be.
func (s *survey) others(path string, v selection.Verdict) bool {
	if path == s.own {
		return !v.Listed
	}
	root := s.path(s.capture.Root())
	runs := filepath.Join(root, runsFolder)
	outside := root != "/" && path != root && !strings.HasPrefix(path, root+"/")
	return path == runs || strings.HasPrefix(path, runs+"/") || outside && v.State != selection.Captured
}

// busy reports whether processes are in a cgroup itself.
func busy(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return false
	}
	defer f.Close()
	var some [16]byte
	n, _ := f.Read(some[:])
	return len(bytes.TrimSpace(some[:n])) > 0
}

// ignoreGone is err, unless it says that a cgroup is not there any more.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
