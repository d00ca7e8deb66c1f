// Package capture sends the connections of captured workloads to agentd, and
// hands them out with what the kernel knows of them: who made each, from which
// network namespace, and where it was going.
//
// The kernel side (package bpf) is attached once, at a cgroup above everything
// that may be captured. Package capture owns the listeners, one in each
// network namespace of a captured workload, and dials from there. It neither
// reads nor writes what the connections carry.
//
// It fails closed: a connection that cannot be taken is refused in the kernel,
// unless its workload was captured with Bypass.
package capture

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/bpf"
)

// Options say where to capture. The zero value captures on the whole host, for
// as long as the process lives.
type Options struct {
	// Root is the cgroup directory to attach to: nothing outside of it can
	// be captured. "" is the root of the cgroup-v2 hierarchy.
	Root string
	// Pins is a folder on a bpffs that keeps the kernel side when agentd
	// ends without Detach; it is made if it does not exist. "": the kernel
	// side goes with the process.
	Pins string
	// Heard is told each DNS answer that comes to a captured workload, before
	// Accept returns a connection that was made after it. One call at a time;
	// it must not call back. nil: nobody listens. It is for observation: what
	// is too much is not told.
	Heard func(*Answer)
	// Takeover is what becomes of the connections that a workload has when
	// it is captured.
	Takeover Takeover
	// UDP are the ports that captured workloads may send datagrams to. Other
	// datagrams are refused: nobody would see what they carry.
	UDP []uint16
	// From is what a running agentd gave up for this one, nil if none did.
	// Capture is then paused until Resume, and changes nothing that the
	// other could not go on from.
	From *Inheritance
	Log  *slog.Logger
}

// beatEvery is how often the kernel side hears that agentd is alive. It holds
// agentd for hung after three seconds (HUNG_NS in bpf/listener.h).
const beatEvery = 500 * time.Millisecond

// A Capture is the kernel side, attached, and its listeners. Its methods may
// be called concurrently.
type Capture struct {
	hierarchy string // directory of the root of the cgroup-v2 hierarchy
	root      string // cgroup directory
	pins      string
	log       *slog.Logger
	kernel    *kernel
	host      *os.File      // our own network namespace
	hostID    uint64        // its cookie
	nonce     uint64        // tags our sockets
	port      uint16        // the one to listen on in a namespace, where it is free
	heard     func(*Answer) // nil if nobody listens
	hearing   *hearing      // nil if nobody listens, or capture has been paused from the start
	takeover  Takeover

	conns     chan Conn
	strangers chan Stranger
	wants     *ringbuf.Reader
	done      chan struct{}   // closed by Close and Detach
	ending    context.Context // of dials: ended by Close and Detach
	end       context.CancelFunc
	dials     sync.WaitGroup // calls of Dial
	working   sync.WaitGroup // goroutines
	accepting sync.WaitGroup // those that end with Pause

	beating sync.Mutex // guards going; held over a beat
	going   bool       // GoAway was called

	mu        sync.Mutex // guards what is below
	closed    bool
	paused    bool                 // nothing is taken from the listeners
	theirs    bool                 // the kernel side is another agentd's: left as it is when we go
	workloads map[uint64]*workload // captured, by cgroup id
	decided   map[uint64]decided   // free or watched
	inherited map[uint64]bool      // decisions of an earlier agentd, not made again
	changed   chan struct{}        // closed when a decision changes, and replaced
	listeners map[uint64]*listener // by netns cookie
}

// Open loads and attaches the kernel side. If an earlier agentd left its own
// pinned, Open takes it over with everything that it had captured; another
// agentd that is still there is an error.
func Open(o Options) (*Capture, error) {
	c := &Capture{
		pins:      o.Pins,
		log:       o.Log,
		takeover:  o.Takeover,
		conns:     make(chan Conn),
		strangers: make(chan Stranger, maxStrangers),
		done:      make(chan struct{}),
		workloads: map[uint64]*workload{},
		decided:   map[uint64]decided{},
		inherited: map[uint64]bool{},
		changed:   make(chan struct{}),
		listeners: map[uint64]*listener{},
	}
	c.ending, c.end = context.WithCancel(context.Background())
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if err := c.open(&o); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Capture) open(o *Options) (err error) {
	if err := checkCapabilities(); err != nil {
		return err
	}
	if c.hierarchy, err = cgroup.Hierarchy(); err != nil {
		return err
	}
	if c.root = o.Root; c.root == "" {
		c.root = c.hierarchy
	}
	if err := cgroup.Check(c.root); err != nil {
		return fmt.Errorf("attach to cgroup: %w", err)
	}
	if c.host, c.hostID, err = hostNamespace(); err != nil {
		return err
	}
	c.choose(o.From)
	if c.kernel, err = attach(c.root, c.pins, o.From); err != nil {
		return err
	}
	c.heard = o.Heard
	if err := c.SetUDP(o.UDP); err != nil {
		return err
	}
	if err := c.adopt(o.From); err != nil {
		return fmt.Errorf("take over what was captured: %w", err)
	}
	c.working.Go(c.beat)
	return c.readRings()
}

// choose picks the tag of our sockets and the port to listen on, those of an
// agentd that we take over from if there is one. Ports from there on are not
// handed out by the kernel, see ip_local_port_range in ip(7).
func (c *Capture) choose(from *Inheritance) {
	if from != nil {
		c.nonce, c.port = from.Nonce, from.Port
		c.paused, c.theirs = true, true
		return
	}
	const first, ports = 15000, 15000
	var random [16]byte
	rand.Read(random[:])
	c.nonce = binary.NativeEndian.Uint64(random[:]) | 1<<63 // other tags are small
	c.port = first + binary.NativeEndian.Uint16(random[8:])%ports
}

// SetUDP says which ports captured workloads may send datagrams to, in place
// of those said before.
func (c *Capture) SetUDP(ports []uint16) error {
	for _, port := range ports {
		if err := c.kernel.AgentdUdp.Put(port, uint8(1)); err != nil {
			return fmt.Errorf("allow datagrams to port %d: %w", port, err)
		}
	}
	err := deleteWhere(c.kernel.AgentdUdp, func(port *uint16, _ *uint8) bool { return !slices.Contains(ports, *port) })
	if err != nil {
		return fmt.Errorf("refuse datagrams to other ports: %w", err)
	}
	return nil
}

// beat tells the kernel side that we are alive until Close.
func (c *Capture) beat() {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-ticker.C:
		}
		if err := c.sayStill(); err != nil {
			c.log.Error("connections will be refused: cannot tell the kernel that agentd is alive", "error", err)
		}
	}
}

// sayStill is sayAlive until GoAway.
func (c *Capture) sayStill() error {
	c.beating.Lock()
	defer c.beating.Unlock()
	if c.going {
		return nil
	}
	return c.sayAlive()
}

func (c *Capture) sayAlive() error {
	now, err := monotonic()
	if err != nil {
		return err
	}
	return c.kernel.AgentdDaemon.Put(uint32(0), &bpf.CaptureDaemon{Nonce: c.nonce, Beat: now, Hold: c.port})
}

// hear tells answers as they come until Close.
func (c *Capture) hear() {
	if err := c.hearing.follow(); err != nil {
		c.log.Error("names are only heard when connections come", "error", err)
	}
}

// Root returns the directory of the cgroup that capture is attached to.
func (c *Capture) Root() string { return c.root }

// Hierarchy returns the directory of the root of the cgroup-v2 hierarchy.
func (c *Capture) Hierarchy() string { return c.hierarchy }

// Counters returns how many connections of captured workloads came to what,
// since the kernel side was first attached.
func (c *Capture) Counters() map[string]int64 {
	var perCPU []bpf.CaptureOutcomes
	if err := c.kernel.AgentdOutcome.Lookup(uint32(0), &perCPU); err != nil {
		return nil // closed
	}
	sums := make(map[string]int64, len(outcomes))
	for _, o := range outcomes {
		for i := range perCPU {
			sums[o.name] += int64(o.of(&perCPU[i]))
		}
	}
	return sums
}

// outcomes names what the kernel side counts.
var outcomes = []struct {
	name string
	of   func(*bpf.CaptureOutcomes) uint64
}{
	{"redirected", func(o *bpf.CaptureOutcomes) uint64 { return o.Redirected }},
	{"bypassed", func(o *bpf.CaptureOutcomes) uint64 { return o.Bypassed }},
	{"without_listener", func(o *bpf.CaptureOutcomes) uint64 { return o.NoListener }},
	{"squatted", func(o *bpf.CaptureOutcomes) uint64 { return o.Squatter }},
	{"while_hung", func(o *bpf.CaptureOutcomes) uint64 { return o.Hung }},
	{"out_of_memory", func(o *bpf.CaptureOutcomes) uint64 { return o.NoMemory }},
	{"too_deep", func(o *bpf.CaptureOutcomes) uint64 { return o.TooDeep }},
	{"flow_lost", func(o *bpf.CaptureOutcomes) uint64 { return o.FlowLost }},
	{"held", func(o *bpf.CaptureOutcomes) uint64 { return o.Held }},
	{"unknown_denied", func(o *bpf.CaptureOutcomes) uint64 { return o.UnknownDenied }},
	{"unknown_allowed", func(o *bpf.CaptureOutcomes) uint64 { return o.UnknownAllowed }},
	{"datagrams_refused", func(o *bpf.CaptureOutcomes) uint64 { return o.Datagrams }},
	{"sockets_refused", func(o *bpf.CaptureOutcomes) uint64 { return o.Sockets }},
	{"packets_dropped", func(o *bpf.CaptureOutcomes) uint64 { return o.Packets }},
}

// Close ends capture as a crash would, but tidily: connections of captured
// workloads are refused or bypass agentd until the next Open if there are
// pins, and are captured no more if there are none. Connections that were
// accepted go on.
func (c *Capture) Close() error {
	c.stop()
	if c.kernel == nil {
		return nil
	}
	return c.kernel.close()
}

// Detach ends capture on purpose: nothing of the kernel side is left, pinned
// or not. Connections that were accepted go on. What another agentd has taken
// over is left to it.
func (c *Capture) Detach() error {
	if c.theirs {
		return c.Close()
	}
	c.stop()
	return c.kernel.detach()
}

// stop closes the listeners and waits for everything that goes on.
func (c *Capture) stop() {
	c.end()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		c.dials.Wait()
		return
	}
	c.closed = true
	close(c.done)
	for _, l := range c.listeners {
		if c.theirs {
			l.close(c)
		} else {
			c.shut(l)
		}
	}
	c.mu.Unlock()
	if c.hearing != nil {
		if err := c.hearing.close(); err != nil {
			c.log.Error("stop hearing answers", "error", err)
		}
	}
	if c.wants != nil {
		c.wants.Close()
	}
	c.accepting.Wait()
	c.working.Wait()
	c.dials.Wait()
	if c.host != nil {
		c.host.Close()
	}
}

// Accept returns the next connection that came to any listener. It returns an
// error when ctx ends (ctx's) or capture does (os.ErrClosed).
func (c *Capture) Accept(ctx context.Context) (Conn, error) {
	select {
	case conn := <-c.conns:
		return conn, nil
	case <-ctx.Done():
		return Conn{}, ctx.Err()
	case <-c.done:
		return Conn{}, os.ErrClosed
	}
}

// Clock returns the time by the clock that connections and answers are stamped
// with: since the host was started, less the time it slept. 0 if there is none.
func Clock() time.Duration {
	now, err := monotonic()
	if err != nil {
		return 0
	}
	return time.Duration(now)
}

// monotonic returns the clock that the kernel side uses, in ns.
func monotonic() (uint64, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return uint64(now.Nano()), nil
}

// clearMap deletes every entry of a map.
func clearMap[K, V any](m *ebpf.Map) error {
	return deleteWhere(m, func(*K, *V) bool { return true })
}

// deleteWhere deletes the entries of a map that match.
func deleteWhere[K, V any](m *ebpf.Map, match func(*K, *V) bool) error {
	var (
		keys  []K
		key   K
		value V
	)
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		if match(&key, &value) {
			keys = append(keys, key)
		}
	}
	if err := entries.Err(); err != nil {
		return err
	}
	for i := range keys {
		if err := m.Delete(&keys[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}
