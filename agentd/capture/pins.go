package capture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// lockPins makes the folder for pins if need be and locks it. The lock is on
// the folder itself, since bpffs has no files to lock; the folder is closed to
// others, who could hold agentd up by locking it. A process that ends in
// whatever way gives the lock back.
func lockPins(folder string) (*os.File, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(folder), &stat); err != nil {
		return nil, fmt.Errorf("look at the parent of the folder for pins: %w", &os.PathError{Op: "statfs", Path: filepath.Dir(folder), Err: err})
	}
	if stat.Type != unix.BPF_FS_MAGIC {
		return nil, fmt.Errorf("pins must be on a bpffs and %s is none: mount -t bpf bpf /sys/fs/bpf", filepath.Dir(folder))
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make the folder for pins: %w", err)
	}
	dir, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	if err := lock(dir); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

func lock(dir *os.File) error {
	err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("another agentd holds %s: stop it first", dir.Name())
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	return dir.Chmod(0o700)
}

// unpin removes the pins in folder, links before maps.
func unpin(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	slices.SortStableFunc(entries, func(a, b os.DirEntry) int { return rank(a) - rank(b) })
	var errs []error
	for _, e := range entries {
		errs = append(errs, os.Remove(filepath.Join(folder, e.Name())))
	}
	return errors.Join(errs...)
}

func rank(e os.DirEntry) int {
	if isLink, _ := filepath.Match("link_*", e.Name()); isLink {
		return 0
	}
	return 1
}
