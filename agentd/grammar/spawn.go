package grammar

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command is the hidden argument with which a program becomes a worker.
const Command = "grammar-worker"

// A spawner starts workers, all from one thread: the kernel ends them when the
// thread that started them ends, and others may at any time.
type spawner struct {
	asked chan chan started
	done  chan struct{}
}

type started struct {
	worker *worker
	err    error
}

func newSpawner(program string) *spawner {
	s := &spawner{asked: make(chan chan started), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // for ever: it ends with the goroutine
		for answer := range s.asked {
			w, err := launch(program)
			answer <- started{w, err}
		}
	}()
	return s
}

// close ends the thread, and with it what workers are left.
func (s *spawner) close() {
	close(s.asked)
	<-s.done
}

// start starts a worker and waits until it is confined and ready.
func (s *spawner) start() (*worker, error) {
	answer := make(chan started, 1)
	s.asked <- answer
	a := <-answer
	if a.err != nil {
		return nil, a.err
	}
	if err := a.worker.await(); err != nil {
		a.worker.kill()
		return nil, err
	}
	return a.worker, nil
}

// launch starts a program as a worker, with one end of a socket as its
// standard input.
func launch(program string) (*worker, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "grammar")
	defer theirs.Close()
	if err := unix.SetNonblock(ends[0], true); err != nil {
		return nil, err
	}
	ours := os.NewFile(uintptr(ends[0]), "grammar worker") // non-blocking, so that deadlines hold
	cmd := &exec.Cmd{
		Path:        program,
		Args:        []string{"agentd", Command},
		Env:         []string{},
		Dir:         "/",
		Stdin:       theirs,
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, err
	}
	w := &worker{cmd: cmd, conn: ours, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		cmd.Wait() // the state says it all
	}()
	return w, nil
}
