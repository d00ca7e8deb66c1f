package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A process is one whose steps are carried out here.
type process struct {
	trap     *Trap
	listener int
	fd       int // pidfd
	pid      int
	syncing  sync.WaitGroup
}

// handle answers one call.
func (p *process) handle(n *notification) {
	if !p.owns(n.pid) { // a child of its
		p.pass(n)
		return
	}
	s, file, err := p.step(n)
	if err != nil { // it is gone meanwhile, or does what it should not: it learns so itself
		p.pass(n)
		return
	}
	p.trap.mu.Lock()
	act := p.trap.Decide(s)
	p.trap.mu.Unlock()
	if s.Kind == Sync {
		p.syncing.Go(func() { p.act(n.id, s, file, act) })
		return
	}
	p.act(n.id, s, file, act)
}

func (p *process) pass(n *notification) {
	_ = respond(p.listener, &response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}) // or it is gone
}

// owns reports whether a thread is one of the process.
func (p *process) owns(thread uint32) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", p.pid, thread))
	return err == nil
}

// step reads what a call is about. The file is a descriptor of ours.
func (p *process) step(n *notification) (*Step, int, error) {
	fd := int(int32(n.args[0]))
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", p.pid, fd))
	if err != nil {
		return nil, 0, err
	}
	s := &Step{Path: strings.TrimSuffix(path, " (deleted)")}
	if !filepath.IsAbs(path) {
		s.Path = ""
	}
	switch n.nr {
	case unix.SYS_PWRITE64:
		s.Kind, s.Offset = Write, int64(n.args[3])
	case unix.SYS_SENDTO:
		s.Kind = Send
	case unix.SYS_FTRUNCATE:
		s.Kind, s.Offset = Truncate, int64(n.args[1])
	default:
		s.Kind = Sync
	}
	if s.Kind == Write || s.Kind == Send {
		if s.Data, err = p.read(n.args[1], int(n.args[2])); err != nil {
			return nil, 0, err
		}
	}
	file, err := unix.PidfdGetfd(p.fd, fd, 0)
	return s, file, err
}

func (p *process) read(address uint64, n int) ([]byte, error) {
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", p.pid))
	if err != nil {
		return nil, err
	}
	defer memory.Close()
	data := make([]byte, n)
	_, err = memory.ReadAt(data, int64(address))
	return data, err
}

// act carries a step out as was decided.
func (p *process) act(id uint64, s *Step, file int, act Act) {
	defer unix.Close(file)
	if act.Until != nil {
		<-act.Until
	}
	if act.Before {
		p.kill()
		return
	}
	r := response{id: id, errno: -int32(act.Fail)}
	if act.Fail == 0 {
		n, err := s.do(file)
		r.val = int64(n)
		if errno, ok := err.(unix.Errno); ok {
			r.val, r.errno = 0, -int32(errno)
		} else if p.trap.Done != nil {
			p.trap.mu.Lock()
			p.trap.Done(s)
			p.trap.mu.Unlock()
		}
	}
	if act.After {
		p.kill()
		return
	}
	_ = respond(p.listener, &r) // or it is gone
}

func (p *process) kill() { _ = unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0) }

func (s *Step) do(file int) (int, error) {
	switch s.Kind {
	case Write:
		return unix.Pwrite(file, s.Data, s.Offset)
	case Truncate:
		return 0, unix.Ftruncate(file, s.Offset)
	case Sync:
		return 0, unix.Fsync(file)
	}
	return unix.SendmsgN(file, s.Data, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}
