package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// sceneEnv holds the scene that a process is to play.
const sceneEnv = "AGENTD_PROBE_SCENE"

// errSilent: the call did not fail, but nobody answers.
var errSilent = errors.New("no answer")

// A scene is one attempt, as the process that makes it sees it.
type scene struct {
	Vector          string
	Role            string // of a process beside the one that tries, see helpers
	Family          Family
	Dest            netip.AddrPort // the target
	MAC             net.HardwareAddr
	Nonce           string
	Beyond          string // network namespace of the target
	Inside, Outside string // directories of cgroups: the workload's, and one beside
	Free            bool   // the workload is one that is not captured
	Command         []string
}

// Main is the whole of a process that Prober.Command started: it makes one
// attempt and says what came of it.
func Main() {
	runtime.LockOSThread() // some attempts are about the thread that makes them
	var (
		s scene
		o outcome
	)
	err := json.Unmarshal([]byte(os.Getenv(sceneEnv)), &s)
	if err == nil {
		err = s.play()
	}
	if err != nil {
		o.Err = err.Error()
		errors.As(err, &o.Errno)
	}
	if s.Role != "" {
		return // its word is not asked for
	}
	if err := json.NewEncoder(os.Stdout).Encode(&o); err != nil {
		os.Exit(1)
	}
}

// Playing reports whether this process was started to call Main.
func Playing() bool { return os.Getenv(sceneEnv) != "" }

func (s *scene) play() error {
	if s.Role != "" {
		return helpers[s.Role](s)
	}
	v, ok := Find(s.Vector)
	if !ok {
		return fmt.Errorf("there is no vector %q", s.Vector)
	}
	return v.try(s)
}

// line is what tells the target whose packet it is.
func (s *scene) line() []byte { return []byte(s.Nonce + "\n") }

// family is that of the sockets of this scene.
func (s *scene) family() int {
	if s.Family == V4 || s.Family == None {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (s *scene) to() unix.Sockaddr { return sockaddr(s.Dest) }

// inner is the workload's own address on the cable.
func (s *scene) inner() netip.Addr {
	switch s.Family {
	case V6:
		return netip.MustParseAddr(innerV6)
	case Mapped:
		return netip.AddrFrom16(netip.MustParseAddr(innerV4).As16())
	}
	return netip.MustParseAddr(innerV4)
}

// socket makes a socket of the scene's family that does not wait for ever.
func (s *scene) socket(kind, protocol int) (int, error) {
	fd, err := unix.Socket(s.family(), kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	return fd, patience(fd)
}

// patience bounds how long calls on fd wait.
func patience(fd int) error {
	wait := unix.Timeval{Sec: 1}
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &wait); err != nil {
			return fmt.Errorf("setsockopt: %w", err)
		}
	}
	return nil
}

// move moves this process to a cgroup.
func move(dir string) error {
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
}

// helper prepares a process that plays a part beside this one.
func (s *scene) helper(role string) (*scene, *exec.Cmd) {
	other := *s
	other.Role = role
	cmd := exec.Command(s.Command[0], s.Command[1:]...)
	cmd.Stderr = os.Stderr
	return &other, cmd
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// silence turns what calls say that have waited for too long into errSilent.
func silence(err error) error {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.ETIMEDOUT) {
		return errSilent
	}
	return err
}
