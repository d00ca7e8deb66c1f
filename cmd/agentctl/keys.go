package main

import (
	"bufio"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// A key is what a person pressed during a replay.
type key int

const (
	pauseKey key = iota + 1
	backKey
	forwardKey
	quitKey
)

// A keyboard gives the keys that are pressed on a terminal, one by one. The
// terminal is as it was when the keyboard is closed, and while agentctl is
// stopped. Ctrl-C, Ctrl-\ and Ctrl-Z stay signals.
type keyboard struct {
	keys    chan key
	fd      int
	before  *unix.Termios
	stopped chan os.Signal
}

// newKeyboard listens to f; nil if it is no terminal.
func newKeyboard(f *os.File) *keyboard {
	before, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil
	}
	k := &keyboard{keys: make(chan key), fd: int(f.Fd()), before: before, stopped: make(chan os.Signal, 1)}
	if k.listen() != nil {
		return nil
	}
	signal.Notify(k.stopped, syscall.SIGTSTP)
	go k.read(f)
	go k.suspend()
	return k
}

// listen has the terminal give each key as it is pressed, without showing it.
func (k *keyboard) listen() error {
	t := *k.before
	t.Lflag &^= unix.ICANON | unix.ECHO
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(k.fd, unix.TCSETS, &t)
}

// close puts the terminal back.
func (k *keyboard) close() {
	signal.Stop(k.stopped)
	_ = unix.IoctlSetTermios(k.fd, unix.TCSETS, k.before)
}

// suspend stops agentctl on Ctrl-Z, with the terminal as it was, and listens
// again when it goes on.
func (k *keyboard) suspend() {
	for range k.stopped {
		_ = unix.IoctlSetTermios(k.fd, unix.TCSETS, k.before)
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		_ = k.listen()
	}
}

// read gives keys until the terminal is gone; it ends with the process.
func (k *keyboard) read(f io.Reader) {
	in := bufio.NewReader(f)
	for {
		pressed, err := readKey(in)
		if err != nil {
			return
		}
		if pressed != 0 {
			k.keys <- pressed
		}
	}
}

// readKey reads one key, 0 if it means nothing.
func readKey(in *bufio.Reader) (key, error) {
	b, err := in.ReadByte()
	if err != nil {
		return 0, err
	}
	switch b {
	case ' ':
		return pauseKey, nil
	case 'q', 'Q', 4: // Ctrl-D
		return quitKey, nil
	case 'n', 'l', '\n', '\r':
		return forwardKey, nil
	case 'p', 'h', 0x7f, '\b':
		return backKey, nil
	case 0x1b:
	default:
		return 0, nil
	}
	if b, err = in.ReadByte(); err != nil || b != '[' && b != 'O' {
		return 0, err
	}
	for {
		b, err = in.ReadByte()
		switch {
		case err != nil:
			return 0, err
		case b == 'C' || b == 'B': // right, down
			return forwardKey, nil
		case b == 'D' || b == 'A': // left, up
			return backKey, nil
		case b >= 0x40: // another sequence ends
			return 0, nil
		}
	}
}
