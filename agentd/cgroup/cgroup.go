// Package cgroup finds its way about the cgroup-v2 hierarchy: where it is
// mounted, which id a cgroup has and the other way round, what runs in it.
//
// Nothing here is learnt from what a workload can change: ids come from the
// file system, never from mount tables of the workload's own namespaces.
package cgroup

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Hierarchy returns the directory where the whole cgroup-v2 hierarchy is
// mounted, on hosts that have v1 beside it too.
func Hierarchy() (string, error) {
	mounts, err := mounted()
	if err != nil {
		return "", err
	}
	for _, dir := range mounts {
		if whole(dir) {
			return dir, nil
		}
	}
	if len(mounts) > 0 {
		return "", fmt.Errorf("%s shows only a part of the cgroup-v2 hierarchy: "+
			"run agentd in the host's cgroup namespace, or mount the host's /sys/fs/cgroup in its container", mounts[0])
	}
	return "", errors.New("no cgroup-v2 hierarchy is mounted: " +
		"boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 none /sys/fs/cgroup/unified")
}

// mounted returns the directories where cgroup v2 is mounted, in any part.
func mounted() ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var dirs []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// proc(5): ID parent dev root dir options [tags] - type source options
		mount, filesystem, _ := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(mount)
		if len(fields) > 4 && strings.HasPrefix(filesystem, "cgroup2 ") {
			dirs = append(dirs, unescape(fields[4]))
		}
	}
	return dirs, lines.Err()
}

// unescape undoes what the kernel does to blanks in mountinfo.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// whole reports whether dir is the root of the hierarchy, and not a cgroup
// that a namespace makes look like it: every other one has a type.
func whole(dir string) bool {
	if Check(dir) != nil {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, "cgroup.type"))
	return errors.Is(err, fs.ErrNotExist)
}

// Check returns an error if dir is not a cgroup of the v2 hierarchy.
func Check(dir string) error {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if stat.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("%s is not in a cgroup-v2 hierarchy", dir)
	}
	_, err := os.Stat(filepath.Join(dir, "cgroup.controllers"))
	return err
}

// ID returns the kernel's id of the cgroup with directory dir. Ids are never
// used twice between two boots.
func ID(dir string) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(dir, &stat); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	return stat.Ino, nil
}

// Dir returns the directory of the cgroup with the given id, fs.ErrNotExist
// if there is none any more.
func Dir(hierarchy string, id uint64) (string, error) {
	mount, err := os.Open(hierarchy)
	if err != nil {
		return "", err
	}
	defer mount.Close()
	const kernfs = 0xfe // FILEID_KERNFS: the handle is the id
	handle := unix.NewFileHandle(kernfs, binary.NativeEndian.AppendUint64(nil, id))
	fd, err := unix.OpenByHandleAt(int(mount.Fd()), handle, unix.O_PATH|unix.O_CLOEXEC)
	if errors.Is(err, unix.ESTALE) {
		return "", fmt.Errorf("cgroup %d: %w", id, fs.ErrNotExist)
	}
	if err != nil {
		return "", fmt.Errorf("open cgroup %d: %w", id, err)
	}
	defer unix.Close(fd)
	dir, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", err
	}
	// A cgroup that was removed while something holds it.
	if now, err := ID(dir); err != nil || now != id {
		return "", fmt.Errorf("cgroup %d: %w", id, fs.ErrNotExist)
	}
	return dir, nil
}

// Processes returns the processes in the cgroup with directory dir and in
// those below it. Some may be gone by the time the caller looks at them.
func Processes(dir string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil // removed meanwhile, so empty
		}
		if err != nil || !d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		switch {
		case errors.Is(err, unix.ENODEV), errors.Is(err, fs.ErrNotExist) && path != dir:
			return nil // removed meanwhile
		case errors.Is(err, unix.EOPNOTSUPP):
			return nil // a threaded cgroup: its processes are listed at its domain, above
		case err != nil:
			return err
		}
		for word := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil && pid > 0 { // 0: of another pid namespace
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}

// Remove removes a cgroup and those below it. The error is EBUSY if a process
// is left in any of them; what is not there need not be removed.
func Remove(dir string) error {
	children, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, child := range children {
		if child.IsDir() {
			if err := Remove(filepath.Join(dir, child.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(dir)
}
