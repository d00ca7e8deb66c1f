package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Adopt returns the control socket on path, which another process has handed
// over with its lock.
func Adopt(path string, socket, lock *os.File) (*Listener, error) {
	l, err := net.FileListener(socket)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	ul, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the control socket that was handed over is %T", l), l.Close(), lock.Close())
	}
	ul.SetUnlinkOnClose(false)
	return &Listener{UnixListener: ul, path: path, lock: lock}, nil
}

// Again returns a listener of its own for the socket, which closing it does not
// end: what connects then waits for the next one.
func (l *Listener) Again() (net.Listener, error) {
	f, err := l.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileListener(f)
}

// Lock returns the lock of the socket, to be handed over with it.
func (l *Listener) Lock() *os.File { return l.lock }

// Claim notes in the lock's file which process serves the socket now.
func (l *Listener) Claim() error { return claim(l.lock) }

func claim(lock *os.File) error {
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// Leave gives the socket up and leaves it to the process that has it too.
func (l *Listener) Leave() error {
	return errors.Join(l.UnixListener.Close(), l.lock.Close())
}

// Holder returns the pid of the agentd that holds the control socket on path,
// whether it answers or not. False: there is none.
func Holder(path string) (pid int, held bool, err error) {
	f, err := os.Open(path + ".lock")
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		return 0, false, nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return 0, false, fmt.Errorf("ask for the lock of %s: %w", path, err)
	}
	text := make([]byte, 32)
	n, _ := f.ReadAt(text, 0)
	pid, _ = strconv.Atoi(strings.TrimSpace(string(text[:n]))) // 0 if it is from before this was noted
	return pid, true, nil
}
