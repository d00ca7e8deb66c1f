package probe

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// listeners are what can be tried on the listener of agentd, which any process
// of the network namespace can find.
var listeners = []Vector{
	{Name: "listening in the place of agentd's listener", Over: []Family{V4}, Local: true, Want: Refused, try: squatting(0)},
	{Name: "joining agentd's listener (SO_REUSEPORT)", Over: []Family{V4}, Local: true, Want: Refused, try: squatting(unix.SO_REUSEPORT)},
	{Name: "listening beside agentd's listener (SO_REUSEADDR)", Over: []Family{V4}, Local: true, Want: Refused, try: squatting(unix.SO_REUSEADDR)},
	{Name: "listening on the port of agentd's listener on other addresses", Over: []Family{V4}, Want: Captured, try: (*scene).neighbour},
	{
		Name: "connecting to agentd's listener", Over: []Family{V4}, Local: true, Want: Refused, Why: "it is recorded",
		try: (*scene).callListener,
	},
}

// listenerPort finds agentd's listener as anyone would. Outside of a workload
// there is none: 0.
func (s *scene) listenerPort() (int, error) {
	if s.Free {
		return 0, nil
	}
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// proc(5): sl local_address rem_address st ...; 0A is LISTEN.
		words := strings.Fields(lines.Text())
		if len(words) < 4 || words[3] != "0A" {
			continue
		}
		if port, ok := strings.CutPrefix(words[1], "0100007F:"); ok {
			n, err := strconv.ParseUint(port, 16, 16)
			return int(n), err
		}
	}
	return 0, errors.Join(lines.Err(), errors.New("agentd does not listen here"))
}

// squatting listens on the listener's port, on its address and on all.
func squatting(option int) func(*scene) error {
	return func(s *scene) error {
		port, err := s.listenerPort()
		if err != nil {
			return err
		}
		var errs []error
		for _, addr := range [][4]byte{{127, 0, 0, 1}, {}} {
			err := listen(netip.AddrPortFrom(netip.AddrFrom4(addr), uint16(port)), option)
			if err == nil && !s.Free {
				return nil // one is enough
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
}

func listen(on netip.AddrPort, option int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if option != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
			return err
		}
	}
	if err := unix.Bind(fd, sockaddr(on)); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

// neighbour takes the port where agentd has left it, and connects.
func (s *scene) neighbour() error {
	port, err := s.listenerPort()
	if err != nil {
		return err
	}
	for _, addr := range []string{"127.0.0.2", innerV4} {
		if err := listen(netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(port)), unix.SO_REUSEADDR); err != nil {
			return err
		}
	}
	return connecting(0, nil)(s)
}

func (s *scene) callListener() error {
	port, err := s.listenerPort()
	if err != nil || s.Free {
		return err
	}
	s.Dest = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
	return connecting(0, nil)(s)
}
