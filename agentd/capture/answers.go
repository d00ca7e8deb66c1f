package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"agentd.dev/bpf"
)

// An Answer is a message that came to a socket of a captured workload from the
// port that DNS servers answer from. Nothing says that it is what it should
// be: the workload itself may have sent it.
type Answer struct {
	At       time.Duration // when it came, by Clock
	NetNS    uint64        // cookie of the socket's network namespace
	Cgroup   uint64        // the socket was made in
	Captured uint64        // id of the cgroup that makes it a captured workload's
	From     netip.Addr    // what the packet says
	Message  []byte        // valid until the receiver returns
	Whole    bool          // Message is all of it
}

// hearing reads the answers that the kernel side has put down, in their order,
// one caller at a time.
type hearing struct {
	tell func(*Answer)
	wake *os.File // can be read from when there is something to hear

	mu     sync.Mutex // guards reader and held for as long as answers are told
	reader *ringbuf.Reader
	record ringbuf.Record
}

// openHearing reads what is in the ring m and tells it to tell.
func openHearing(m *ebpf.Map, tell func(*Answer)) (*hearing, error) {
	fd, err := unix.FcntlInt(uintptr(m.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("keep the ring of answers: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // what Go's poller wants to see
		return nil, errors.Join(fmt.Errorf("keep the ring of answers: %w", err), unix.Close(fd))
	}
	h := &hearing{tell: tell, wake: os.NewFile(uintptr(fd), "answers")}
	if h.reader, err = ringbuf.NewReader(m); err != nil {
		return nil, errors.Join(fmt.Errorf("read the ring of answers: %w", err), h.wake.Close())
	}
	h.reader.SetDeadline(time.Unix(1, 0)) // never wait
	return h, nil
}

// follow tells answers as they come, until close.
func (h *hearing) follow() error {
	raw, err := h.wake.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Read(func(uintptr) bool {
		h.drain()
		return false
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader == nil {
		return nil // close was called
	}
	return err
}

// drain tells what had been put down when it was called.
func (h *hearing) drain() {
	const header = 8 // of a record in the ring
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader == nil {
		return
	}
	// No further: who floods the ring would keep the caller here.
	for left := h.reader.AvailableBytes(); left > 0; {
		if err := h.reader.ReadInto(&h.record); err != nil {
			return
		}
		raw := h.record.RawSample
		left -= header + (len(raw)+7)&^7
		if a, ok := parseAnswer(raw); ok {
			h.tell(&a)
		}
	}
}

func (h *hearing) close() error {
	h.mu.Lock()
	err := h.reader.Close()
	h.reader = nil
	h.mu.Unlock()
	return errors.Join(err, h.wake.Close())
}

// parseAnswer reads a record of the kernel side.
func parseAnswer(raw []byte) (Answer, bool) {
	var head bpf.CaptureAnswer
	n, err := binary.Decode(raw, binary.NativeEndian, &head)
	if err != nil {
		return Answer{}, false
	}
	message := raw[n:]
	if uint64(len(message)) > uint64(head.Length) {
		message = message[:head.Length]
	}
	return Answer{
		At:       time.Duration(head.At),
		NetNS:    head.Netns,
		Cgroup:   head.Cgroup,
		Captured: head.Captured,
		From:     address(head.From),
		Message:  message,
		Whole:    uint64(len(message)) == uint64(head.Length),
	}, true
}
