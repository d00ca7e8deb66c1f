package capture

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// hostNamespace opens the network namespace we are in and returns its cookie.
func hostNamespace() (*os.File, uint64, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, 0, fmt.Errorf("open our own network namespace: %w", err)
	}
	id, err := cookie()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, id, nil
}

// inside runs f in the network namespace ns, unless that is the host's, where
// we are already. f must not hand over to other goroutines.
//
// It works on a goroutine of its own: should the way back fail, its thread is
// in the wrong namespace for good, and ends with the goroutine because it was
// never unlocked.
func (c *Capture) inside(ns *os.File, f func() error) error {
	if ns == c.host {
		return f()
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			result <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		err := f()
		if unix.Setns(int(c.host.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}

// cookie returns the cookie of the network namespace of the calling thread.
func cookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(fd)
	id, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("ask for the network namespace's cookie, which needs Linux 5.14: %w", err)
	}
	return id, nil
}

// cookieOf returns the cookie of the network namespace ns.
func (c *Capture) cookieOf(ns *os.File) (id uint64, err error) {
	err = c.inside(ns, func() error {
		id, err = cookie()
		return err
	})
	return id, err
}

// inode returns the inode of a namespace's file, which tells those apart that
// exist at the same time.
func inode(ns *os.File) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(ns.Fd()), &stat); err != nil {
		return 0, fmt.Errorf("stat %s: %w", ns.Name(), err)
	}
	return stat.Ino, nil
}
