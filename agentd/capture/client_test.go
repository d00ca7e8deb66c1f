package capture_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/internal/lab"
)

// clientEnv makes the test binary a client: it does what it is asked on its
// standard input, one request a line, and answers on its standard output.
const clientEnv = "CAPTURE_TEST_CLIENT"

// A request is one connection to make.
type request struct {
	Dest     netip.AddrPort // as ::ffff:a.b.c.d it is made from an IPv6 socket
	Protocol int            // 0 is TCP
	Device   string         // bind to it
	Bind     netip.Addr     // bind to it
	FastOpen bool           // connect by sending
	Again    bool           // connect, disconnect with AF_UNSPEC, connect again
	Count    int            // of connections made one after the other; 0 is 1
	At       int            // how many of them at a time; 0 is 1
	Abrupt   bool           // send, and close without waiting for an answer
	Timed    bool           // only connect, one after the other, and reset
	Keep     bool           // make an IPv4 socket and keep it, unconnected
	Borrow   [2]int         // take this process's socket with this number
}

// A response is what came of it.
type response struct {
	Err   string
	Seen  string         // what the server says our address is
	Peer  netip.AddrPort // getpeername
	Local netip.AddrPort // getsockname
	FD    int            // the socket that is kept
	Took  time.Duration  // median of the calls of connect that were timed
}

// A client is a process that connects when it is told to.
type client struct{ *actor[request, response] }

// startClient starts a client in a cgroup and a network namespace (nil: ours).
func startClient(t testing.TB, group *lab.Cgroup, netns *lab.Netns) *client {
	t.Helper()
	return &client{startActor[request, response](t, clientEnv, group, netns)}
}

// end ends the client.
func (c *client) end() {
	c.process.Stop(syscall.SIGKILL)
}

// clientMain is the client's side.
func clientMain() {
	requests, responses := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for {
		var r request
		if requests.Decode(&r) != nil {
			return
		}
		if responses.Encode(r.run()) != nil {
			return
		}
	}
}

// run makes the connections of a request, each on a thread of its own, and
// returns what came of the first one that failed, or of the last.
func (r request) run() response {
	if r.Keep {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return response{Err: err.Error()}
		}
		return response{FD: fd}
	}
	if r.Timed {
		return r.time()
	}
	count, at := max(r.Count, 1), max(r.At, 1)
	places, results := make(chan struct{}, at), make(chan response, count)
	for range count {
		places <- struct{}{}
		go func() {
			results <- r.once()
			<-places
		}()
	}
	var last response
	for range count {
		if last = <-results; last.Err != "" {
			return last
		}
	}
	return last
}

// time connects and resets again and again, and returns how long the middle one
// of the calls of connect took.
func (r request) time() (got response) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	took := make([]time.Duration, r.Count)
	for i := range took {
		fd, err := r.socket()
		if err != nil {
			return response{Err: err.Error()}
		}
		addr := sockaddr(r.Dest)
		start := time.Now()
		err = unix.Connect(fd, addr)
		took[i] = time.Since(start)
		if err == nil { // no TIME_WAIT, so that ports do not run out
			err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
		unix.Close(fd)
		if err != nil {
			return response{Err: err.Error()}
		}
	}
	slices.Sort(took)
	return response{Took: took[len(took)/2]}
}

func (r request) once() (got response) {
	fd, err := r.socket()
	if err == nil {
		defer unix.Close(fd)
		err = r.converse(fd, &got)
	}
	if err != nil {
		got.Err = err.Error()
	}
	return got
}

func (r request) socket() (int, error) {
	if r.Borrow != [2]int{} {
		return borrow(r.Borrow[0], r.Borrow[1])
	}
	family := unix.AF_INET6
	if r.Dest.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, r.Protocol)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if r.Device != "" {
		if err := unix.BindToDevice(fd, r.Device); err != nil {
			return -1, fmt.Errorf("bind to device: %w", err)
		}
	}
	if r.Bind.IsValid() {
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(r.Bind, 0))); err != nil {
			return -1, fmt.Errorf("bind: %w", err)
		}
	}
	return fd, nil
}

// borrow returns a duplicate of another process's descriptor.
func borrow(pid, fd int) (int, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(pidfd)
	return unix.PidfdGetfd(pidfd, fd, 0)
}

const question = "what is my address?\n"

// converse connects, asks the server for our address, and asks the kernel too.
func (r request) converse(fd int, got *response) error {
	if err := r.connect(fd); err != nil {
		return err
	}
	if r.Abrupt {
		_, err := unix.Write(fd, []byte(question))
		return err
	}
	buf := make([]byte, 256)
	if !r.FastOpen {
		if _, err := unix.Write(fd, []byte(question)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	n, err := unix.Read(fd, buf)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if n == 0 {
		return errors.New("read: end of file")
	}
	got.Seen = strings.TrimSpace(string(buf[:n]))
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return fmt.Errorf("getpeername: %w", err)
	}
	local, err := unix.Getsockname(fd)
	got.Peer, got.Local = addrPort(peer), addrPort(local)
	return err
}

func (r request) connect(fd int) error {
	addr := sockaddr(r.Dest)
	if r.FastOpen {
		if err := unix.Sendto(fd, []byte(question), unix.MSG_FASTOPEN, addr); err != nil {
			return fmt.Errorf("sendto: %w", err)
		}
		return nil
	}
	if r.Again {
		if err := connectOnce(fd, addr); err != nil {
			return err
		}
		if err := disconnect(fd); err != nil {
			return fmt.Errorf("disconnect: %w", err)
		}
	}
	return connectOnce(fd, addr)
}

func connectOnce(fd int, addr unix.Sockaddr) error {
	if err := unix.Connect(fd, addr); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// disconnect connects fd to AF_UNSPEC, for which package unix has no address.
func disconnect(fd int) error {
	var unspecified [16]byte
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspecified)), 16)
	if errno != 0 {
		return errno
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// addrPort returns an address as the kernel gave it, mapped or not.
func addrPort(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr), uint16(s.Port))
	}
	return netip.AddrPort{}
}
