package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

// start starts agentctl with the daemon's socket, and kills it, and what it
// started, when the test ends before it.
func start(t *testing.T, socket string, change func(*exec.Cmd), args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("agentctl", args...)
	cmd.Env = append(os.Environ(), "AGENTD_SOCKET="+socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	change(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := cmd.Process.Pid
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			syscall.Kill(-group, syscall.SIGKILL)
			cmd.Wait()
		}
	})
	return cmd
}

// code waits for cmd and returns its exit code.
func code(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	timer := time.AfterFunc(patience, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

func TestSignalsArePassedOn(t *testing.T) {
	d, socket := newDaemon(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2} {
		var out io.ReadCloser
		cmd := start(t, socket, func(c *exec.Cmd) {
			out, _ = c.StdoutPipe()
			_, _ = c.StdinPipe() // for the program to wait on
			c.Stderr = os.Stderr
		}, "run", "--", "sh", "-c", `trap 'echo got; exit 9' TERM HUP USR1 USR2; echo ready; read never`)
		in := bufio.NewReader(out)
		if line, err := in.ReadString('\n'); line != "ready\n" {
			t.Fatalf("%v: read %q, %v", sig, line, err)
		}
		cmd.Process.Signal(sig) // to agentctl alone
		if got := code(t, cmd); got != 9 {
			t.Errorf("%v: exit code %d, want 9", sig, got)
		}
		if got := <-d.ended; got != "sh" {
			t.Errorf("%v: run %q ended, want sh", sig, got)
		}
	}
}

func TestSignalsIgnoredAtTheStartStayIgnored(t *testing.T) {
	_, socket := newDaemon(t)
	var out strings.Builder
	cmd := start(t, socket, func(c *exec.Cmd) {
		c.Path = "/bin/sh"
		c.Args = []string{"sh", "-c", `trap '' HUP INT; exec agentctl run -- grep SigIgn /proc/self/status`}
		c.Stdout, c.Stderr = &out, os.Stderr
	})
	if got := code(t, cmd); got != 0 {
		t.Fatalf("exit code %d, want 0", got)
	}
	// Whoever runs the test may ignore others besides.
	var got uint64
	if _, err := fmt.Sscanf(out.String(), "SigIgn:\t%x", &got); err != nil {
		t.Fatalf("grep printed %q", out.String())
	}
	if want := uint64(1<<(syscall.SIGHUP-1) | 1<<(syscall.SIGINT-1)); got&want != want {
		t.Errorf("the program ignores signals %x, want %x among them", got, want)
	}
}

func TestOneWhoMayNotAskIsToldWhatToDo(t *testing.T) {
	_, socket := newDaemon(t)
	for dir := socket; dir != os.TempDir() && dir != "/"; {
		dir = filepath.Dir(dir)
		if err := os.Chmod(dir, 0o755); err != nil { // to the socket, but no further
			t.Fatal(err)
		}
	}
	binary, err := exec.LookPath("agentctl")
	if err != nil {
		t.Fatal(err)
	}
	open, err := os.Open(binary) // nobody may not walk to it
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	var said strings.Builder
	cmd := start(t, socket, func(c *exec.Cmd) {
		c.Path = "/proc/self/fd/3"
		c.ExtraFiles = []*os.File{open}
		c.Stderr = &said
		c.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}, "status")
	if got := code(t, cmd); got != no {
		t.Errorf("exit code %d, want %d", got, no)
	}
	want := fmt.Sprintf("agentctl: open %s: permission denied: run agentctl as root, or as a member of the group that may\n", socket)
	if got := said.String(); got != want {
		t.Errorf("agentctl said %q, want %q", got, want)
	}
}

func TestCtrlCEndsTheProgramAndNotAgentctl(t *testing.T) {
	d, socket := newDaemon(t)
	term := newTerminal(t)
	cmd := term.start(t, socket, "run", "--", "sh", "-c", `trap 'echo caught; exit 5' INT; echo ready; while :; do read line; echo "<$line>"; done`)
	term.expect(t, "ready")
	io.WriteString(term.master, "hello\n")
	term.expect(t, "<hello>") // an interactive program reads the terminal
	term.master.Write([]byte{3})
	term.expect(t, "caught")
	if got := code(t, cmd); got != 5 {
		t.Errorf("exit code %d, want 5", got)
	}
	if got := <-d.ended; got != "sh" {
		t.Errorf("run %q ended, want sh", got)
	}
}

func TestCtrlCThatKillsTheProgramIsItsExitCode(t *testing.T) {
	_, socket := newDaemon(t)
	term := newTerminal(t)
	cmd := term.start(t, socket, "run", "--", "sh", "-c", "echo ready; exec cat")
	term.expect(t, "ready")
	term.master.Write([]byte{3})
	if got, want := code(t, cmd), 128+int(syscall.SIGINT); got != want {
		t.Errorf("exit code %d, want %d", got, want)
	}
}

func TestProgramGoesOnCapturedWhenAgentctlIsKilled(t *testing.T) {
	d, socket := newDaemon(t)
	fifo := filepath.Join(t.TempDir(), "go")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := start(t, socket, func(c *exec.Cmd) { c.Stdout = in },
		"run", "--name", "orphan", "--", "sh", "-c", `echo ready; read go <"$0"; cat /proc/self/cgroup`, fifo)
	in.Close()
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("read %q, %v", line, err)
	}
	cmd.Process.Kill()
	code(t, cmd)
	if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines) // until the program has ended
	if err != nil {
		t.Fatal(err)
	}
	if err := awaitEmpty(filepath.Join(d.cgroup, "orphan")); err != nil {
		t.Error(err)
	}
	if want := "0::/" + filepath.Base(d.cgroup) + "/orphan\n"; !strings.Contains(string(rest), want) {
		t.Errorf("cgroups %q, want %q among them", rest, want)
	}
}
