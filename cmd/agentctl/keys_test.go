package main

import (
	"bufio"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestKeysAreRead(t *testing.T) {
	in := bufio.NewReader(strings.NewReader(" \x1b[C\x1b[D\x1bOC\x1b[1;5C\x1b[3~\x1b[Bx\nq"))
	want := []key{pauseKey, forwardKey, backKey, forwardKey, forwardKey, 0, forwardKey, 0, forwardKey, quitKey}
	for i, want := range want {
		if got, err := readKey(in); got != want || err != nil {
			t.Errorf("key %d: got %v, %v, want %v", i, got, err, want)
		}
	}
	if got, err := readKey(in); err == nil {
		t.Errorf("after the last: got %v, want an error", got)
	}
}

func TestKeysDriveAReplay(t *testing.T) {
	folder := t.TempDir()
	if err := recordFolder(folder); err != nil {
		t.Fatal(err)
	}
	term := newTerminal(t)
	cmd := term.start(t, "", "sessions", "replay", "REP", "--dir", folder+"/log", "--step")
	term.expect(t, "4 statements")
	for _, tt := range []struct{ key, want string }{
		{" ", "login"},
		{"\x1b[C", "select name, email"},
		{"\x1b[C", "drop table customers"},
		{"\x1b[D", "<< back"},
		{"", "select name, email"},
		{"\x1b[C", "drop table customers"},
		{"q", ""},
	} {
		if _, err := term.master.WriteString(tt.key); err != nil {
			t.Fatal(err)
		}
		if tt.want != "" {
			term.expect(t, tt.want)
		}
	}
	if got := code(t, cmd); got != done {
		t.Errorf("exit code %d, want %d", got, done)
	}
}

// However a replay ends, the terminal is as it was.
func TestTheTerminalIsPutBack(t *testing.T) {
	folder := t.TempDir()
	if err := recordFolder(folder); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		end  func(*terminal, *exec.Cmd)
		code int
	}{
		{"q", func(term *terminal, _ *exec.Cmd) { term.master.WriteString("q") }, done},
		{"Ctrl-C", func(term *terminal, _ *exec.Cmd) { term.master.Write([]byte{3}) }, interrupted},
		{"SIGTERM", func(_ *terminal, cmd *exec.Cmd) { cmd.Process.Signal(syscall.SIGTERM) }, interrupted},
		{"the end", func(term *terminal, _ *exec.Cmd) { term.master.WriteString("nnnnnnnn") }, done},
	} {
		term := newTerminal(t)
		before, err := unix.IoctlGetTermios(int(term.slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		cmd := term.start(t, "", "sessions", "replay", "REP", "--dir", folder+"/log", "--step")
		term.expect(t, "4 statements")
		term.master.WriteString(" ")
		term.expect(t, "login") // it listens
		if during, err := unix.IoctlGetTermios(int(term.slave.Fd()), unix.TCGETS); err != nil || *during == *before {
			t.Errorf("%s: the terminal is not listened to: %v", tt.name, err)
		}
		tt.end(term, cmd)
		if got := code(t, cmd); got != tt.code {
			t.Errorf("%s: exit code %d, want %d", tt.name, got, tt.code)
		}
		if after, err := unix.IoctlGetTermios(int(term.slave.Fd()), unix.TCGETS); err != nil || *after != *before {
			t.Errorf("%s: the terminal is %+v, want it as it was, %+v: %v", tt.name, after, before, err)
		}
	}
}
