package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A mount is a file system and where it goes. The folder is made if need be.
type mount struct {
	dir, kind, source, options string
	flags                      uintptr
}

// A folder of the host's, by the tag that vm.sh gave it.
const host = "trans=virtio,version=9p2000.L,msize=524288"

func (m mount) do() error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	source := m.source
	if source == "" {
		source = m.kind
	}
	if err := unix.Mount(source, m.dir, m.kind, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s (%s, %s): %w", m.dir, m.kind, m.options, err)
	}
	return nil
}

func all(list []mount) error {
	for _, m := range list {
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

// early mounts what loading modules and speaking to the host needs.
func early() error {
	return all([]mount{
		{dir: "/proc", kind: "proc"},
		{dir: "/sys", kind: "sysfs"},
		{dir: "/dev", kind: "devtmpfs"},
	})
}

// root makes the host's files, read-only, with a scratch layer over them, the
// root of this process and of those to come.
func root() error {
	err := all([]mount{
		{dir: "/host", kind: "9p", source: "root", options: host + ",cache=loose", flags: unix.MS_RDONLY},
		{dir: "/scratch", kind: "tmpfs", options: "mode=755"},
	})
	if err != nil {
		return err
	}
	for _, dir := range []string{"/scratch/upper", "/scratch/work"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	err = mount{dir: "/root", kind: "overlay", options: "lowerdir=/host,upperdir=/scratch/upper,workdir=/scratch/work"}.do()
	if err != nil {
		return err
	}
	for _, dir := range []string{"proc", "sys", "dev"} {
		if err := unix.Mount("/"+dir, "/root/"+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move /%s: %w", dir, err)
		}
	}
	// What switch_root does: the first root cannot be left, only covered.
	if err := unix.Chdir("/root"); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// mounts mounts what a Debian host with cgroup v2 alone has mounted. The folders
// to keep stay visible where a scratch file system would hide them.
func mounts(keep []string) error {
	kept := make([]int, len(keep))
	for i, dir := range keep {
		fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return fmt.Errorf("keep %s: %w", dir, err)
		}
		kept[i] = fd
	}
	nosuid := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	quiet := nosuid | unix.MS_NOEXEC
	err := all([]mount{
		{dir: "/dev/pts", kind: "devpts", options: "mode=620,ptmxmode=666,gid=5"},
		{dir: "/dev/shm", kind: "tmpfs", options: "mode=1777", flags: nosuid},
		{dir: "/run", kind: "tmpfs", options: "mode=755", flags: nosuid},
		{dir: "/run/lock", kind: "tmpfs", options: "mode=1777", flags: nosuid},
		{dir: "/tmp", kind: "tmpfs", options: "mode=1777", flags: nosuid},
		{dir: "/sys/fs/cgroup", kind: "cgroup2", options: "nsdelegate,memory_recursiveprot", flags: quiet},
		{dir: "/sys/fs/bpf", kind: "bpf", options: "mode=700", flags: quiet},
		{dir: "/sys/kernel/debug", kind: "debugfs", flags: quiet},
		{dir: "/sys/kernel/tracing", kind: "tracefs", flags: quiet},
		{dir: "/lib/modules", kind: "9p", source: "modules", options: host + ",cache=loose", flags: unix.MS_RDONLY},
	})
	if err != nil {
		return err
	}
	for i, dir := range keep {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.MoveMount(kept[i], "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("keep %s: %w", dir, err)
		}
		unix.Close(kept[i])
	}
	// Devices whose modules are loaded when they are opened, as kmod lists them.
	if err := os.Mkdir("/dev/net", 0o755); err != nil {
		return err
	}
	if err := unix.Mknod("/dev/net/tun", unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))); err != nil {
		return fmt.Errorf("make /dev/net/tun: %w", err)
	}
	for link, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(target, filepath.Join("/dev", link)); err != nil {
			return err
		}
	}
	return nil
}
