package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Own returns the directory of the cgroup this process is in. hierarchy is
// where the whole is mounted, which a container with a cgroup namespace of its own
// has from the host.
func Own(hierarchy string) (string, error) { return of(hierarchy, "self") }

// Of returns the directory of the cgroup that a process is in.
func Of(hierarchy string, pid int) (string, error) { return of(hierarchy, strconv.Itoa(pid)) }

func of(hierarchy, process string) (string, error) {
	text, err := os.ReadFile("/proc/" + process + "/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(line, "0::")
		if !ok {
			continue
		}
		top, err := namespaceRoot(hierarchy)
		if err != nil {
			return "", fmt.Errorf("find the root of our cgroup namespace: %w", err)
		}
		return filepath.Join(top, strings.TrimSuffix(path, "\n")), nil
	}
	return "", fmt.Errorf("/proc/%s/cgroup names no cgroup of the v2 hierarchy", process)
}

// namespaceRoot returns the directory of the cgroup that paths in our /proc
// begin at: the hierarchy's own, except in a cgroup namespace.
func namespaceRoot(hierarchy string) (string, error) {
	const host = 0xeffffffb // CGROUP_NS_INIT_INO
	var namespace unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/cgroup", &namespace); err != nil {
		return "", err
	}
	if namespace.Ino == host {
		return hierarchy, nil
	}
	// What cgroup v2 would show if it were mounted now: the namespace's root.
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return "", os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return "", os.NewSyscallError("fsconfig", err)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return "", os.NewSyscallError("fsmount", err)
	}
	defer unix.Close(mount)
	var root unix.Stat_t
	if err := unix.Fstat(mount, &root); err != nil {
		return "", err
	}
	return Dir(hierarchy, root.Ino)
}
