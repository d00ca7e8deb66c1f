package probe

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// rings are the ways by io_uring: the kernel makes the calls, some of them on
// threads of its own.
var rings = ringVectors()

// What io_uring calls things, linux/io_uring.h.
const (
	opSendmsg   = 9
	opConnect   = 16
	opSend      = 26
	opSocket    = 45
	opSendZC    = 47
	opSendmsgZC = 48

	async   = 1 << 4 // IOSQE_ASYNC
	polled  = 1 << 1 // IORING_SETUP_SQPOLL
	getting = 1 << 0 // IORING_ENTER_GETEVENTS
	waking  = 1 << 1 // IORING_ENTER_SQ_WAKEUP
)

// noRing is what a kernel says without io_uring, or where it is off.
var noRing = []unix.Errno{unix.ENOSYS, unix.EPERM, unix.EINVAL}

func ringVectors() (all []Vector) {
	modes := []struct {
		name  string
		setup uint32
		flags uint8
	}{{"inline", 0, 0}, {"on a kernel thread (IOSQE_ASYNC)", 0, async}, {"by a polling kernel thread (SQPOLL)", polled, 0}}
	for _, mode := range modes {
		all = append(all, Vector{
			Name: "io_uring CONNECT, " + mode.name, Want: Captured, Lacks: noRing, Over: []Family{V4, V6, Mapped},
			try: func(s *scene) error { return s.ringConnect(mode.setup, mode.flags) },
		})
	}
	for _, op := range []struct {
		name string
		code uint8
	}{{"SEND", opSend}, {"SEND_ZC", opSendZC}, {"SENDMSG", opSendmsg}, {"SENDMSG_ZC", opSendmsgZC}} {
		for _, mode := range modes {
			all = append(all, Vector{
				Name: "UDP by io_uring " + op.name + ", " + mode.name, Want: Refused, Lacks: noRing,
				try: func(s *scene) error { return s.ringSend(op.code, mode.setup, mode.flags) },
			})
		}
	}
	return append(all, Vector{
		Name: "a raw socket made by io_uring SOCKET", Want: Refused, Lacks: noRing, Why: "needs CAP_NET_RAW",
		try: func(s *scene) error {
			r, err := newRing(0)
			if err != nil {
				return err
			}
			fd, err := r.do(entry{op: opSocket, fd: int32(s.family()), off: unix.SOCK_RAW | unix.SOCK_CLOEXEC, len: experimental})
			if err != nil {
				return err
			}
			return unix.Sendto(fd, s.line(), 0, s.portless())
		},
	})
}

func (s *scene) ringConnect(setup uint32, flags uint8) error {
	r, err := newRing(setup)
	if err != nil {
		return err
	}
	fd, err := s.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	addr := rawAddr(s.Dest, uint16(s.family()))
	var pins runtime.Pinner
	pins.Pin(&addr[0])
	defer pins.Unpin()
	if _, err := r.do(entry{op: opConnect, flags: flags, fd: int32(fd), addr: pointTo(&addr[0]), off: uint64(len(addr))}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return s.converse(fd)
}

func (s *scene) ringSend(op uint8, setup uint32, flags uint8) error {
	r, err := newRing(setup)
	if err != nil {
		return err
	}
	fd, err := s.socket(unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	data, addr := s.line(), rawAddr(s.Dest, uint16(s.family()))
	m := newMessage(data, addr)
	defer m.pins.Unpin()
	e := entry{op: op, flags: flags, fd: int32(fd), addr: pointTo(&m.header), len: 1}
	if op == opSend || op == opSendZC {
		e.addr, e.len = pointTo(&data[0]), uint32(len(data))
		e.off, e.addrLen = pointTo(&m.addr), uint16(len(addr))
	}
	_, err = r.do(e)
	return err
}

// A ring is an io_uring for one submission at a time.
type ring struct {
	fd     int
	params ringParams
	sq, cq []byte
	sqes   []byte
}

func newRing(setup uint32) (*ring, error) {
	r := &ring{params: ringParams{flags: setup, idle: 1000}}
	var err error
	if r.fd, err = ringSetup(4, &r.params); err != nil {
		return nil, fmt.Errorf("io_uring_setup: %w", err)
	}
	const offCQ, offSQEs = 0x8000000, 0x10000000
	prot, flags := unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE
	if r.sq, err = unix.Mmap(r.fd, 0, int(r.params.sq.array+r.params.entries*4), prot, flags); err != nil {
		return nil, err
	}
	if r.cq, err = unix.Mmap(r.fd, offCQ, int(r.params.cq.cqes+r.params.cqEntries*16), prot, flags); err != nil {
		return nil, err
	}
	r.sqes, err = unix.Mmap(r.fd, offSQEs, int(r.params.entries*64), prot, flags)
	return r, err
}

// do submits e and returns what came of it.
func (r *ring) do(e entry) (int, error) {
	tail := at[uint32](r.sq, r.params.sq.tail)
	slot := *tail & *at[uint32](r.sq, r.params.sq.mask)
	*at[entry](r.sqes, slot*64) = e
	*at[uint32](r.sq, r.params.sq.array+slot*4) = slot
	atomic.AddUint32(tail, 1)
	flags := uint32(getting)
	if r.params.flags&polled != 0 {
		flags |= waking
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		err := ringEnter(r.fd, 1, 0, flags)
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return -1, fmt.Errorf("io_uring_enter: %w", err)
		}
		if n, ok := r.completed(); ok {
			if n < 0 {
				return -1, unix.Errno(-n)
			}
			return int(n), nil
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, 100); err != nil && !errors.Is(err, unix.EINTR) {
			return -1, err
		}
	}
	return -1, errSilent
}

// completed takes the next completion.
func (r *ring) completed() (int32, bool) {
	head := at[uint32](r.cq, r.params.cq.head)
	if *head == atomic.LoadUint32(at[uint32](r.cq, r.params.cq.tail)) {
		return 0, false
	}
	slot := *head & *at[uint32](r.cq, r.params.cq.mask)
	n := *at[int32](r.cq, r.params.cq.cqes+slot*16+8)
	atomic.AddUint32(head, 1)
	return n, true
}
