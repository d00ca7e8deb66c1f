package probe

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	runtimeSocket = "docker.sock"
	byName        = "sockets are told by the name they are called by: give no workload one"
)

// sockets are the ways to the socket of a container runtime, which would start
// anything anywhere. It is one of the attempt's own.
var sockets = []Vector{
	atRuntime("by its name", Refused, "from Linux 6.7 on, and open before", func(path string) (string, error) { return path, nil }),
	atRuntime("by another link to it", Open, byName, func(path string) (string, error) { return path + "2", os.Symlink(path, path+"2") }),
	atRuntime("by a descriptor of it (/proc/self/fd)", Open, byName, func(path string) (string, error) {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		return fmt.Sprintf("/proc/self/fd/%d", fd), err
	}),
	atRuntime("given under another name", Open, byName, func(path string) (string, error) { return path + "2", os.Rename(path, path+"2") }),
	{
		Name: "a unix socket without a path (abstract)", Over: []Family{None}, Local: true, Want: Open,
		Why: "of the same network namespace only; who listens there can be captured itself", try: func(s *scene) error {
			return atUnix("@"+s.Nonce+"/"+runtimeSocket, func(path string) (string, error) { return path, nil })
		},
	},
}

func atRuntime(how string, want Result, why string, call func(path string) (string, error)) Vector {
	return Vector{
		Name: "a container runtime's unix socket " + how, Over: []Family{None}, Local: true, Want: want, Since: [2]int{6, 7}, Why: why,
		try: func(*scene) error {
			dir, err := os.MkdirTemp("", "agentd-probe-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			return atUnix(filepath.Join(dir, runtimeSocket), call)
		},
	}
}

// atUnix listens at a path and connects there, by the path that call makes of
// it.
func atUnix(path string, call func(path string) (string, error)) error {
	l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := unix.Bind(l, &unix.SockaddrUnix{Name: path}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(l, 1); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	called, err := call(path)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: called}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}
