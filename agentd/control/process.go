package control

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/cgroup"
)

const (
	peerPIDFD = 77         // SO_PEERPIDFD, Linux 6.5
	noLogin   = 4294967295 // the login uid of what no login has started
)

// A process is what /proc says of a peer, as long as it was the peer's.
type process struct {
	cgroup string // directory
	groups []uint32
	// login is who logged in to become what the process is now, as by sudo;
	// nil if nobody did. Only root can change it.
	login *uint32
	err   error // why the rest is not known
}

// processOf reads what /proc says of the process with cred at the other end of a
// socket.
func processOf(raw syscall.RawConn, cred *unix.Ucred) *process {
	p := &process{}
	if cred.Pid == 0 {
		p.err = fmt.Errorf("agentd cannot see your process: run agentctl in the host's pid namespace")
		return p
	}
	if err := p.read(int(cred.Pid), cred.Uid); err != nil {
		p.err = fmt.Errorf("look at your process (pid %d): %w", cred.Pid, err)
		return p
	}
	// That it lives after it was read means that no other had its pid.
	// Linux before 6.5 cannot say; there that is hoped for.
	dead := false
	if err := raw.Control(func(fd uintptr) {
		pidfd, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, peerPIDFD)
		if err != nil {
			return
		}
		defer unix.Close(pidfd)
		dead = errors.Is(unix.PidfdSendSignal(pidfd, 0, nil, 0), unix.ESRCH)
	}); err != nil || dead {
		p.err = fmt.Errorf("your process (pid %d) has ended meanwhile", cred.Pid)
	}
	return p
}

func (p *process) read(pid int, uid uint32) error {
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		return err
	}
	if p.cgroup, err = cgroup.Of(hierarchy, pid); err != nil {
		return err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		ids := numbers(value)
		switch {
		case key == "Uid" && (len(ids) < 2 || ids[1] != uid):
			return fmt.Errorf("it has become another user since it connected")
		case key == "Groups":
			p.groups = ids
		}
	}
	// A kernel without audit knows of no logins.
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid)); err == nil {
		if ids := numbers(string(text)); len(ids) == 1 && ids[0] != noLogin {
			p.login = &ids[0]
		}
	}
	return nil
}

// numbers reads ids between white space.
func numbers(text string) (ids []uint32) {
	for word := range strings.FieldsSeq(text) {
		if id, err := strconv.ParseUint(word, 10, 32); err == nil {
			ids = append(ids, uint32(id))
		}
	}
	return ids
}
