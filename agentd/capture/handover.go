package capture

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"agentd.dev/bpf"
)

// An Inheritance is what one agentd gives up for another that captures from
// then on: all that is not in the kernel's maps. The maps, and with them what
// waits to be accepted, are kept as they are.
type Inheritance struct {
	Nonce     uint64 // what our sockets are tagged with, so that they all stay ours
	Port      uint16
	Given     map[uint64][]uint64 // by cgroup id: the namespaces named in Add, by cookie
	Listeners []Inherited         `json:"-"`
	Pins      *os.File            `json:"-"` // the folder of the pins, locked
}

// An Inherited is the listener of one network namespace. Its files are the
// namespace, the socket for IPv4 and that for IPv6, if there is one.
type Inherited struct {
	Cookie uint64
	By     uint64 // id of the workload's cgroup that needed it first
	V4, V6 uint16
	Files  []*os.File `json:"-"`
	fds    []int
}

// FDs returns the descriptors of the files, to be sent.
func (l *Inherited) FDs() []int { return l.fds }

// Close closes what was received.
func (in *Inheritance) Close() {
	for _, l := range in.Listeners {
		for _, f := range l.Files {
			f.Close()
		}
	}
	if in.Pins != nil {
		in.Pins.Close()
	}
}

// Shapes returns how each map of the kernel side is laid out. An agentd can
// take over only from one whose maps mean the same to it.
func Shapes() (map[string]string, error) {
	spec, err := bpf.LoadCapture()
	if err != nil {
		return nil, err
	}
	var format btf.GoFormatter
	shapes := map[string]string{}
	for name, m := range spec.Maps {
		text := fmt.Sprint(m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags)
		for _, t := range []btf.Type{m.Key, m.Value} {
			if t == nil {
				continue
			}
			said, err := format.TypeDeclaration("t", t)
			if err != nil {
				said = fmt.Sprint(t)
			}
			text += "\n" + said
		}
		sum := sha256.Sum256([]byte(text))
		shapes[name] = hex.EncodeToString(sum[:8])
	}
	return shapes, nil
}

// Pause stops taking connections, which wait from then on. It returns once
// those taken were handed out: somebody must go on to call Accept until then.
func (c *Capture) Pause() error {
	if err := c.pause(); err != nil {
		return err
	}
	var err error
	if c.hearing != nil {
		err = c.hearing.close()
	}
	c.wants.Close()
	c.accepting.Wait()
	c.hearing = nil
	return err
}

// pause ends every wait for a connection.
func (c *Capture) pause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return os.ErrClosed
	}
	c.paused = true
	var errs []error
	for _, l := range c.listeners {
		for _, s := range l.sockets() {
			errs = append(errs, s.SetReadDeadline(time.Unix(1, 0)))
		}
	}
	return errors.Join(errs...)
}

// Bequest returns what another agentd needs to go on from here. Capture must be
// paused, and go on to exist until the other has what it needs.
func (c *Capture) Bequest() *Inheritance {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := &Inheritance{Nonce: c.nonce, Port: c.port, Given: map[uint64][]uint64{}, Pins: c.kernel.pins}
	for id, w := range c.workloads {
		for cookie := range w.given {
			in.Given[id] = append(in.Given[id], cookie)
		}
	}
	for _, l := range c.listeners {
		fds := []int{int(l.netns.Fd())}
		for _, s := range l.sockets() {
			fds = append(fds, s.fd)
		}
		in.Listeners = append(in.Listeners, Inherited{Cookie: l.cookie, By: l.by, V4: l.ports.V4, V6: l.ports.V6, fds: fds})
	}
	return in
}

// Resume takes connections: again if Pause was called and another agentd did
// not take over, or for the first time if this one did.
func (c *Capture) Resume() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return os.ErrClosed
	}
	c.paused, c.theirs = false, false
	errs := []error{c.sayAlive(), c.freeOwn(), c.readRings()}
	for _, a := range c.kernel.links {
		errs = append(errs, a.link.Update(a.program))
	}
	for _, l := range c.listeners {
		for _, s := range l.sockets() {
			errs = append(errs, s.SetReadDeadline(time.Time{}))
		}
		c.take(l)
	}
	return errors.Join(errs...)
}

// Leave gives capture up to another agentd, which has taken over. What was
// accepted can still be dialled for, until Forget.
func (c *Capture) Leave() {
	c.mu.Lock()
	c.closed, c.theirs = true, true
	close(c.done)
	for _, l := range c.listeners {
		for _, s := range l.sockets() {
			s.Close()
		}
		for _, g := range l.guards {
			g.link.Close()
		}
		l.guards = nil
	}
	c.kernel.leave()
	c.mu.Unlock()
	c.accepting.Wait()
	c.working.Wait()
}

// leave gives up what would keep programs attached that another agentd means to
// detach, and the lock of the pins. The maps are used until close.
func (k *kernel) leave() {
	for _, a := range k.links {
		a.link.Close()
	}
	k.links = nil
	k.pins.Close()
	k.pins = nil
}

// Forget lets go of the network namespaces, after Leave: nothing is dialled for
// any more.
func (c *Capture) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cookie, l := range c.listeners {
		if l.netns != c.host {
			l.netns.Close()
		}
		delete(c.listeners, cookie)
	}
}

// inherit makes the listeners of in ours. The caller holds c.mu.
func (c *Capture) inherit(in *Inheritance) error {
	for i := range in.Listeners {
		from := &in.Listeners[i]
		if len(from.Files) < 2 || len(from.Files) > 3 {
			return fmt.Errorf("a listener came with %d files", len(from.Files))
		}
		ino, err := inode(from.Files[0])
		if err != nil {
			return err
		}
		l := &listener{inode: ino, cookie: from.Cookie, by: from.By, ports: bpf.CapturePorts{V4: from.V4, V6: from.V6}, netns: from.Files[0], wanted: time.Now()}
		if l.cookie == c.hostID {
			l.netns.Close()
			l.netns = c.host
		}
		if l.v4, err = inheritedSocket(from.Files[1]); err != nil {
			return err
		}
		if len(from.Files) == 3 {
			if l.v6, err = inheritedSocket(from.Files[2]); err != nil {
				return err
			}
		}
		c.listeners[l.cookie] = l
	}
	in.Listeners = nil // they are ours
	return nil
}

// inheritedSocket returns a socket that Go's poller knows. The file owns the
// descriptor already, and was not made for it.
func inheritedSocket(f *os.File) (*socket, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &socket{os.NewFile(uintptr(fd), "listener"), fd}, nil
}

// givenTo returns the namespaces that were named for the workload id.
func (in *Inheritance) givenTo(id uint64) map[uint64]bool {
	given := map[uint64]bool{}
	if in != nil {
		for _, cookie := range in.Given[id] {
			given[cookie] = true
		}
	}
	return given
}

// pinsFolder returns the lock of the folder for pins, by the folder's name.
func (in *Inheritance) pinsFolder(name string) (*os.File, error) {
	defer in.Pins.Close()
	fd, err := unix.FcntlInt(in.Pins.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// take serves the sockets of l, unless capture is paused. The caller holds c.mu.
func (c *Capture) take(l *listener) {
	if c.paused {
		return
	}
	c.serve(l, l.v4, unix.AF_INET)
	if l.v6 != nil {
		c.serve(l, l.v6, unix.AF_INET6)
	}
}

// readRings starts to read what the kernel side has put down, unless capture is
// paused: a ring has one reader.
func (c *Capture) readRings() (err error) {
	if c.paused {
		return nil
	}
	if c.wants, err = ringbuf.NewReader(c.kernel.AgentdWants); err != nil {
		return fmt.Errorf("read what the kernel side wants: %w", err)
	}
	c.accepting.Go(c.attend)
	if c.heard == nil {
		return nil
	}
	if c.hearing, err = openHearing(c.kernel.AgentdAnswers, c.heard); err != nil {
		return err
	}
	c.accepting.Go(c.hear)
	return nil
}

func (l *listener) sockets() []*socket {
	if l.v6 == nil {
		return []*socket{l.v4}
	}
	return []*socket{l.v4, l.v6}
}
