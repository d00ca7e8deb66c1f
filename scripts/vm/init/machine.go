package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// load puts the modules of a folder into the kernel, in their names' order.
func load(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return err
	}
	sort.Strings(files)
	for _, path := range files {
		image, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := unix.InitModule(image, ""); err != nil {
			return fmt.Errorf("load %s: %w", filepath.Base(path), err)
		}
	}
	return nil
}

// machine sets what an installed host has set: its name, loopback up, and the
// controllers given to the top cgroups as systemd gives them.
func machine() error {
	if err := unix.Sethostname([]byte("vm")); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	controllers, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	if err != nil {
		return err
	}
	enable := "+" + strings.Join(strings.Fields(string(controllers)), " +")
	return os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte(enable), 0)
}

// port opens the virtio port of a name for writing.
func port(name string) (*os.File, error) {
	const class = "/sys/class/virtio-ports"
	ports, err := os.ReadDir(class)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		text, err := os.ReadFile(filepath.Join(class, p.Name(), "name"))
		if err == nil && strings.TrimSpace(string(text)) == name {
			return os.OpenFile(filepath.Join("/dev", p.Name()), os.O_WRONLY, 0)
		}
	}
	return nil, fmt.Errorf("no virtio port %q", name)
}
