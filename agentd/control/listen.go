package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrRunning says that another agentd answers on the socket already.
var ErrRunning = errors.New("agentd is already running")

// socketMode lets root and the socket's group connect.
const socketMode = 0o660

// A Listener is the control socket. It removes the socket when it is closed.
type Listener struct {
	*net.UnixListener
	path string
	lock *os.File
}

// Listen makes the control socket and the folder it is in. What a daemon that
// died left behind is replaced; with one that lives the error is ErrRunning.
//
// A lock beside the socket, held as long as the process lives, tells the two
// apart even when two daemons start at once.
func Listen(path string) (*Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the control socket: %w", err)
	}
	lock, err := takeLock(path + ".lock")
	if err != nil {
		return nil, err
	}
	l, err := replaceSocket(path)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &Listener{UnixListener: l, path: path, lock: lock}, nil
}

// Close stops listening, removes the socket and lets another daemon have it.
// The lock file stays: removing it could take it from under a daemon that has
// just opened it.
func (l *Listener) Close() error {
	err := l.UnixListener.Close()
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	if e := os.Remove(l.path); err == nil && !errors.Is(e, os.ErrNotExist) {
		err = e
	}
	l.lock.Close()
	return err
}

// takeLock opens and locks the file at path.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the control socket: %w", err)
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		f.Close()
		return nil, ErrRunning
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := claim(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("note our pid in %s: %w", path, err)
	}
	return f, nil
}

// replaceSocket listens on path. The lock is held, so a socket that is there
// is stale, unless something that is not agentd listens on it.
func replaceSocket(path string) (*net.UnixListener, error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("look at the control socket: %w", err)
	case info.Mode().Type() != os.ModeSocket:
		return nil, fmt.Errorf("%s is there and is no socket: move it away, or configure another path", path)
	default:
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			return nil, ErrRunning
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove a dead daemon's control socket: %w", err)
		}
	}
	// The mode is set before the name exists, so that the socket is never
	// open to more than it should be; bind masks it with the umask, and the
	// chmod gives back what that took.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), socketMode) }); e != nil {
			return e
		}
		return err
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on the control socket: %w", err)
	}
	ul := l.(*net.UnixListener)
	ul.SetUnlinkOnClose(false) // Close does, before it gives up the lock
	if err := os.Chmod(path, socketMode); err != nil {
		ul.Close()
		return nil, fmt.Errorf("set the mode of the control socket: %w", err)
	}
	return ul, nil
}
