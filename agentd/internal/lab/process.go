// Package lab gives tests real things to work on: servers of the distribution,
// our own programs, control groups and network namespaces. Whatever it makes is
// gone when the test ends.
package lab

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Process is a program that runs beside a test and ends with it.
type Process struct {
	Cmd  *exec.Cmd
	done chan struct{} // closed when the program is gone
	err  error         // what Wait returned; read it after done
}

// Start starts cmd in the network namespace at netns, a path as
// /run/netns/NAME ("" for the test's own). When the test ends, or dies, the
// program gets stop, and after ten seconds SIGKILL.
func Start(t testing.TB, cmd *exec.Cmd, netns string, stop syscall.Signal) *Process {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = stop
	p := &Process{Cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go p.run(netns, started)
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	t.Cleanup(func() { p.Stop(stop) })
	return p
}

// run starts the program and waits for it on one thread of its own: the death
// signal follows the thread that forked, and the namespace is the thread's.
// The thread is never unlocked, so it ends with this goroutine.
func (p *Process) run(netns string, started chan<- error) {
	defer close(p.done)
	runtime.LockOSThread()
	if netns != "" {
		if err := enter(netns); err != nil {
			started <- err
			return
		}
	}
	err := p.Cmd.Start()
	started <- err
	if err == nil {
		p.err = p.Cmd.Wait()
	}
}

// enter moves the calling thread into the network namespace at path.
func enter(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", path, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter namespace %s: %w", path, err)
	}
	return nil
}

// Done is closed when the program is gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns once the program is gone, with what exec.Cmd's Wait said.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Stop sends the program sig, waits ten seconds, kills it, and returns once it
// is gone. It does nothing to a program that is gone already.
func (p *Process) Stop(sig syscall.Signal) {
	select {
	case <-p.done:
		return
	default:
	}
	_ = p.Cmd.Process.Signal(sig) // it may be going: then Wait returns
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.Cmd.Process.Kill()
		<-p.done
	}
}

// Peak returns the most memory that the program has had so far, in bytes.
func (p *Process) Peak(t testing.TB) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	t.Fatal("no peak in /proc/PID/status")
	return 0
}
