package synthetic

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Main is the Caller: it makes the calls that are asked for on in, a Place a
// line, and answers on out. It returns when in ends, as it does with agentd.
func Main(in io.Reader, out io.Writer) error {
	runtime.LockOSThread() // its network namespace changes
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	places, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var p Place
		switch err := places.Decode(&p); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := answers.Encode(p.call(home)); err != nil {
			return err
		}
	}
}

// call goes to p and connects to every address. It leaves the network
// namespace, but not the cgroup: the next place does.
func (p *Place) call(home *os.File) (c call) {
	err := p.enter()
	if err == nil {
		for i, to := range Addresses {
			c.Word[i], err = hear(to)
			if err != nil {
				break
			}
		}
	}
	if err != nil {
		c.Err = err.Error()
	}
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil && c.Err == "" {
		c.Err = fmt.Sprintf("leave the network namespace: %v", err)
	}
	return c
}

func (p *Place) enter() error {
	events, err := os.ReadFile(filepath.Join(p.Cgroup, "cgroup.events"))
	if err == nil && strings.Contains(string(events), "frozen 1") {
		return errors.New("it is frozen, and nothing runs in it")
	}
	if err := os.WriteFile(filepath.Join(p.Cgroup, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("put a process into it: %w", err)
	}
	if p.NetNS == "" {
		return nil
	}
	ns, err := os.Open(p.NetNS)
	if err != nil {
		return fmt.Errorf("find its network namespace: %w", err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter its network namespace: %w", err)
	}
	return nil
}

// noIPv6 is what is heard where there is no IPv6, for the workload neither.
const noIPv6 = "no IPv6"

// hear connects and returns the word that comes back.
func hear(to netip.AddrPort) (string, error) {
	family := unix.AF_INET
	var addr unix.Sockaddr
	switch {
	case to.Addr().Is4():
		addr = &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	case !hasIPv6():
		return noIPv6, nil
	default:
		family, addr = unix.AF_INET6, &unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(fd)
	wait := unix.NsecToTimeval(int64(Patience))
	for _, option := range []int{unix.SO_SNDTIMEO, unix.SO_RCVTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &wait); err != nil {
			return "", err
		}
	}
	if err := unix.Connect(fd, addr); err != nil {
		return "", fmt.Errorf("a connection from inside did not come to agentd: %w", slow(err))
	}
	word := make([]byte, NonceLen)
	for n := 0; n < len(word); {
		more, err := unix.Read(fd, word[n:])
		if err != nil {
			return "", fmt.Errorf("a connection from inside was not answered: %w", slow(err))
		}
		if more == 0 {
			return "", errors.New("a connection from inside was closed, by whoever answered it")
		}
		n += more
	}
	return string(word), nil
}

// slow says what a call means that has waited for too long.
func slow(err error) error {
	if errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("no answer within %s", time.Duration(Patience))
	}
	return err
}

// hasIPv6 reports whether there is an IPv6 loopback, which agentd's listener
// needs too.
func hasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}) == nil
}
