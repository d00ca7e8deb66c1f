package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A thing is a socket of some kind, and how something is sent by it.
type thing struct {
	name string
	make func(*scene) (int, error)
	use  func(*scene, int) error
	// strict is what strict mode makes of what is open without.
	strict Result
}

const (
	before = "it was made and connected before the workload had it, by who may"
	beyond = "open if it was made outside of `capture.root`, where the kernel side sees no socket"
)

var (
	freshTCP = thing{name: "TCP socket", make: made(unix.SOCK_STREAM, 0, nil), use: (*scene).connect}
	doneTCP  = thing{name: "connected TCP socket", make: made(unix.SOCK_STREAM, 0, plug), use: (*scene).converse}
	freshUDP = thing{name: "UDP socket", make: made(unix.SOCK_DGRAM, 0, nil), use: (*scene).connectSend}
	doneUDP  = thing{name: "connected UDP socket", make: made(unix.SOCK_DGRAM, 0, plug), use: (*scene).say}
	freshRaw = thing{name: "raw socket", strict: Dropped, make: made(unix.SOCK_RAW, experimental, nil), use: func(s *scene, fd int) error {
		return unix.Sendto(fd, s.line(), 0, s.portless())
	}}
)

func made(kind, protocol int, prepare func(*scene, int) error) func(*scene) (int, error) {
	return func(s *scene) (int, error) {
		fd, err := s.socket(kind, protocol)
		if err == nil && prepare != nil {
			err = prepare(s, fd)
		}
		return fd, err
	}
}

func plug(s *scene, fd int) error { return unix.Connect(fd, s.to()) }

func (s *scene) say(fd int) error {
	_, err := unix.Write(fd, s.line())
	return err
}

// handed are the ways by sockets, and processes, that change places.
var handed = []Vector{
	passedIn(freshTCP, Captured, beyond),
	passedIn(doneTCP, Open, before),
	passedIn(freshUDP, Refused, beyond),
	passedIn(doneUDP, Open, before),
	passedIn(freshRaw, Open, "it was made by who may send itself"),
	passedOut(freshTCP, Captured),
	passedOut(freshUDP, Refused),
	movedIn(freshTCP, Captured, beyond),
	movedIn(doneTCP, Open, "connections from before the capture go on; `capture.takeover: destroy` ends them"),
	movedIn(freshUDP, Refused, beyond),
	movedIn(doneUDP, Open, before),
	movedIn(freshRaw, Open, "needs CAP_NET_RAW outside of the workload"),
	movedOut(freshTCP, Captured),
	movedOut(freshUDP, Refused),
	movedOut(doneTCP, Captured),
	{
		Name: "moved out of the workload, with a new socket", Want: Open, Why: "needs a writable cgroupfs outside of its own cgroup, as only root on the node has",
		try: func(s *scene) error {
			if err := move(s.Outside); err != nil {
				return err
			}
			return connecting(0, nil)(s)
		},
	},
	{
		Name: "forty cgroups down in the workload", Want: Captured, Why: "needs a writable cgroupfs", Over: []Family{V4},
		try: (*scene).descend,
	},
	{
		Name: "a process outside does it on demand", Want: Open, Over: []Family{V4},
		Why: "what is outside of every workload is not captured: capture it too",
		try: func(s *scene) error {
			other, cmd := s.helper("connect")
			if err := other.start(cmd, s.Outside); err != nil {
				return err
			}
			return cmd.Wait()
		},
	},
	{
		Name: "being connected to by the target", Want: Open, Over: []Family{V4}, Called: true,
		Why: "agentd captures who connects, not who listens: a NetworkPolicy for ingress stops it",
		try: (*scene).beCalled,
	},
}

// depths is the uppermost of the cgroups that descend makes.
const depths = "agentd-probe-depths"

// descend connects from far below the workload's cgroup.
func (s *scene) descend() error {
	dir := filepath.Join(s.Inside, depths, strings.Repeat("d/", 40))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := move(dir); err != nil {
		return err
	}
	return connecting(0, nil)(s)
}

// ascend removes what descend made below a cgroup, once nobody is in it.
func ascend(cgroup string) error {
	for dir := filepath.Join(cgroup, depths, strings.Repeat("d/", 40)); dir != cgroup; dir = filepath.Dir(dir) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// beCalled answers whoever connects.
func (s *scene) beCalled() error {
	l, err := s.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	s.Dest = netip.AddrPortFrom(s.inner(), s.Dest.Port())
	if err := unix.Bind(l, s.to()); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(l, 1); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fd, _, err := unix.Accept(l)
	if err != nil {
		return silence(fmt.Errorf("accept: %w", err))
	}
	if err := patience(fd); err != nil {
		return err
	}
	return s.say(fd)
}

func passedIn(t thing, want Result, why string) Vector {
	return Vector{
		Name: t.name + " made outside and passed in (SCM_RIGHTS)", Want: want, Strict: t.strict, Apart: Open, Why: why, Told: true,
		try: func(s *scene) error {
			fd, err := s.fetch(t.name, s.Outside)
			if err != nil {
				return err
			}
			return t.use(s, fd)
		},
	}
}

func passedOut(t thing, want Result) Vector {
	return Vector{
		Name: t.name + " made inside and used by a process outside", Want: want, Outside: true,
		try: func(s *scene) error {
			fd, err := s.fetch(t.name, s.Inside)
			if err != nil {
				return err
			}
			return t.use(s, fd)
		},
	}
}

func movedIn(t thing, want Result, why string) Vector {
	return Vector{
		Name: "moved into the workload with a " + t.name, Want: want, Strict: t.strict, Apart: Open, Why: why, Outside: true, Told: true,
		try: func(s *scene) error { return s.moveWith(t, s.Inside) },
	}
}

func movedOut(t thing, want Result) Vector {
	return Vector{
		Name: "moved out of the workload with a " + t.name, Want: want, Why: "needs a writable cgroupfs outside of its own cgroup",
		try: func(s *scene) error { return s.moveWith(t, s.Outside) },
	}
}

// moveWith makes a socket here and uses it there.
func (s *scene) moveWith(t thing, dir string) error {
	fd, err := t.make(s)
	if err != nil {
		return err
	}
	if err := move(dir); err != nil {
		return fmt.Errorf("move: %w", err)
	}
	return t.use(s, fd)
}

// helpers are the parts that processes beside the one that tries can play.
var helpers = map[string]func(*scene) error{
	"connect":     connecting(0, nil),
	freshTCP.name: hand(freshTCP),
	doneTCP.name:  hand(doneTCP),
	freshUDP.name: hand(freshUDP),
	doneUDP.name:  hand(doneUDP),
	freshRaw.name: hand(freshRaw),
}

// channel is where a helper finds the socket to its master.
const channel = 3

// hand makes a socket and passes it on.
func hand(t thing) func(*scene) error {
	return func(s *scene) error {
		fd, err := t.make(s)
		if err != nil {
			return err
		}
		return unix.Sendmsg(channel, []byte{1}, unix.UnixRights(fd), nil, 0)
	}
}

// fetch has a helper in a cgroup make a socket, and returns it.
func (s *scene) fetch(role, cgroup string) (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "channel")
	other, cmd := s.helper(role)
	cmd.ExtraFiles = []*os.File{theirs}
	if err := other.start(cmd, cgroup); err != nil {
		return -1, err
	}
	theirs.Close()
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[0], make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err = errors.Join(err, cmd.Wait()); err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return -1, fmt.Errorf("no socket was passed: %w", errors.Join(err, unix.ENOMSG))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}
