package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/control"
)

// An app is what every command needs: where to print and whom to ask.
type app struct {
	out, errs           io.Writer
	outWidth, errsWidth int // columns of the terminal they are, 0 if they are none
	colour              bool

	socket, dir, key, index, format string // global flags
	identity                        string // file that reads an encrypted log
	begun                           bool   // the command line was understood
}

func newApp() *app {
	a := &app{
		out: os.Stdout, outWidth: terminalWidth(os.Stdout),
		errs: os.Stderr, errsWidth: terminalWidth(os.Stderr),
	}
	a.colour = a.outWidth > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return a
}

// terminalWidth returns how many columns f has, 0 if it is no terminal.
func terminalWidth(f *os.File) int {
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 80 // a terminal that does not know, as a serial line
	}
	return int(size.Col)
}

// client returns a client for the daemon; the caller closes it.
func (a *app) client() *control.Client { return control.NewClient(a.socket) }

// complain says what went wrong.
func (a *app) complain(err error) { a.note("%v", a.advise(err)) }

// note tells the person, not the program that reads the output.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.errs, "agentctl: %s\n", printable(fmt.Sprintf(format, args...)))
}

// advise adds to errors that have a usual cause what to do about it.
func (a *app) advise(err error) error {
	switch {
	case errors.Is(err, control.ErrNoDaemon):
		return adviceError{err, "is it running? start it with `agentd --config FILE`, or give its socket with --socket"}
	case errors.Is(err, fs.ErrPermission):
		return adviceError{err, "run agentctl as root, or as a member of the group that may"}
	}
	return err
}
