package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A terminal is the two ends of a pty.
type terminal struct {
	master, slave *os.File
	lines         *bufio.Reader
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return &terminal{master, slave, bufio.NewReader(master)}
}

// start runs agentctl as the session leader of the terminal, as a login shell's
// job in the foreground.
func (term *terminal) start(t *testing.T, socket string, args ...string) *exec.Cmd {
	t.Helper()
	return start(t, socket, func(c *exec.Cmd) {
		c.Stdin, c.Stdout, c.Stderr = term.slave, term.slave, term.slave
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}, args...)
}

// expect reads lines until one contains want.
func (term *terminal) expect(t *testing.T, want string) {
	t.Helper()
	var seen strings.Builder
	found := make(chan bool, 1)
	go func() {
		for {
			line, err := term.lines.ReadString('\n')
			seen.WriteString(line)
			if strings.Contains(line, want) || err != nil {
				found <- err == nil
				return
			}
		}
	}()
	select {
	case ok := <-found:
		if !ok {
			t.Fatalf("the terminal shows %q, want %q", seen.String(), want)
		}
	case <-time.After(patience):
		t.Fatalf("the terminal does not show %q", want)
	}
}

// shown runs agentctl on a terminal of its own and returns what it shows.
func shown(t *testing.T, socket string, args ...string) string {
	t.Helper()
	term := newTerminal(t)
	size := &unix.Winsize{Row: 24, Col: 100}
	if err := unix.IoctlSetWinsize(int(term.master.Fd()), unix.TIOCSWINSZ, size); err != nil {
		t.Fatal(err)
	}
	cmd := term.start(t, socket, args...)
	term.slave.Close() // so that reading ends when agentctl has
	var all strings.Builder
	io.Copy(&all, term.lines) // ends with EIO, which is how terminals end
	if got := code(t, cmd); got != done {
		t.Errorf("agentctl %q: exit code %d, want %d", args, got, done)
	}
	return all.String()
}

func TestColourIsForTerminals(t *testing.T) {
	_, socket := newDaemon(t)
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if got, want := shown(t, socket, "targets"), "\x1b[32mallow\x1b[0m"; !strings.Contains(got, want) {
		t.Errorf("the terminal shows %q, want %q in it", got, want)
	}
	t.Setenv("NO_COLOR", "1")
	if got := shown(t, socket, "targets"); strings.Contains(got, "\x1b") {
		t.Errorf("with NO_COLOR the terminal shows %q, want no escape in it", got)
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if got := shown(t, socket, "targets"); strings.Contains(got, "\x1b") {
		t.Errorf("a dumb terminal shows %q, want no escape in it", got)
	}
}

func TestTablesFitTheTerminal(t *testing.T) {
	_, socket := newDaemon(t)
	t.Setenv("NO_COLOR", "1")
	for line := range strings.Lines(shown(t, socket, "targets")) {
		if n := len([]rune(strings.TrimSpace(line))); n > 100 {
			t.Errorf("a line has %d columns, want at most 100: %q", n, line)
		}
	}
}

func TestCtrlCEndsAReplay(t *testing.T) {
	folder := t.TempDir()
	if err := recordFolder(folder); err != nil {
		t.Fatal(err)
	}
	term := newTerminal(t)
	cmd := term.start(t, "", "sessions", "replay", "REP", "--dir", folder+"/log", "--speed", "0.00001")
	term.expect(t, "4 statements")
	term.master.Write([]byte{3})
	if got := code(t, cmd); got != interrupted {
		t.Errorf("exit code %d, want %d", got, interrupted)
	}
}
