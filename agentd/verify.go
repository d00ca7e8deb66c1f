package agentd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/synthetic"
)

const (
	verdictFresh = 5 * time.Second // how long what was verified is not verified again
	verifyBudget = 5 * time.Second // for all workloads that are asked for at once
	maxPlaces    = 8               // network namespaces of a workload that are tried
)

// newVerifier verifies with this program, started again.
func newVerifier(hierarchy string) (*synthetic.Verifier, error) {
	home, err := cgroup.Own(hierarchy)
	if err != nil {
		return nil, err
	}
	return &synthetic.Verifier{
		Program: []string{"/proc/self/exe", synthetic.Command},
		Home:    home,
		Fresh:   verdictFresh,
		Budget:  verifyBudget,
	}, nil
}

// verify connects from inside of every captured workload that has a process,
// unless that was done just now.
func (d *Daemon) verify(ctx context.Context) {
	all := d.capture.Workloads()
	others := map[string]bool{d.verifier.Home: true}
	for _, w := range all {
		others[w.Cgroup] = true
	}
	var subjects []synthetic.Subject
	for _, w := range all {
		subjects = append(subjects, synthetic.Subject{ID: w.ID, Places: places(w.Cgroup, others)})
	}
	d.verifier.Verify(ctx, subjects)
}

// places finds where connections of the workload in dir can be made from: the
// cgroup of a process for each network namespace, not below one of the others:
// captured ones, and agentd's own, which never is. What cannot be read is left
// out.
func places(dir string, others map[string]bool) (found []synthetic.Place) {
	seen := map[uint64]bool{}
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil || !e.IsDir():
			return nil // removed meanwhile, or a file
		case path != dir && others[path]:
			return fs.SkipDir
		case len(found) == maxPlaces:
			return fs.SkipAll
		}
		text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return nil
		}
		for pid := range strings.FieldsSeq(string(text)) {
			netns := "/proc/" + pid + "/ns/net"
			var stat unix.Stat_t
			if unix.Stat(netns, &stat) == nil && !seen[stat.Ino] && len(found) < maxPlaces {
				seen[stat.Ino] = true
				found = append(found, synthetic.Place{Cgroup: path, NetNS: netns})
			}
		}
		return nil
	})
	return found
}

// verdict says when a connection from inside of a workload came to agentd, and
// everything that is wrong with its capture.
func (d *Daemon) verdict(w *capture.Status) (seen time.Time, problem error) {
	last := d.verifier.Last(w.ID)
	if w.Problem != "" {
		problem = errors.New(w.Problem)
	}
	if last.Err != nil {
		return time.Time{}, errors.Join(problem, last.Err)
	}
	return last.At, problem
}
