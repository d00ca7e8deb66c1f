package lab

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/cgroup"
)

// removeV1 removes a cgroup from the v1 hierarchies of hosts that have them
// beside v2: there runc makes its cgroups in each. What ran in them must have
// been killed.
func removeV1(path string) error {
	dirs, err := filepath.Glob("/sys/fs/cgroup/*" + path)
	for _, dir := range dirs {
		if cgroup.Check(dir) == nil {
			continue // of v2
		}
		err = errors.Join(err, removeDead(dir))
		_ = os.Remove(filepath.Dir(dir)) // the test's, once nothing is left in it
	}
	return err
}

// removeDead removes a cgroup in which the last process is dying. In v1
// nothing tells when it is gone.
func removeDead(dir string) error {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := cgroup.Remove(dir)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
	}
}
