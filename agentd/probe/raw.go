package probe

import (
	"net/netip"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file has what package unix has no words for: addresses of no or of the
// wrong family, sendmmsg, and memory and rings shared with the kernel. It alone uses
// unsafe, and everything in it runs only in the process that makes an attempt.

// rawAddr is an address as the kernel wants it, of the family given, which
// need not be the address's own.
func rawAddr(a netip.AddrPort, family uint16) []byte {
	port := htons(a.Port())
	if a.Addr().Is4() {
		raw := unix.RawSockaddrInet4{Family: family, Port: port, Addr: a.Addr().As4()}
		return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&raw)), unsafe.Sizeof(raw))...)
	}
	raw := unix.RawSockaddrInet6{Family: family, Port: port, Addr: a.Addr().As16()}
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&raw)), unsafe.Sizeof(raw))...)
}

func connectRaw(fd int, addr []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&addr[0])), uintptr(len(addr)))
	if errno != 0 {
		return errno
	}
	return nil
}

// disconnect takes a socket's other end away.
func disconnect(fd int) error { return connectRaw(fd, make([]byte, 16)) }

func sendtoRaw(fd int, data []byte, flags int, addr []byte) error {
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)),
		uintptr(flags), uintptr(unsafe.Pointer(&addr[0])), uintptr(len(addr)))
	if errno != 0 {
		return errno
	}
	return nil
}

// message is a struct msghdr and what it points to, in one place that stays.
type message struct {
	header unix.Msghdr
	vector unix.Iovec
	addr   [28]byte
	pins   runtime.Pinner
}

func newMessage(data, addr []byte) *message {
	m := &message{}
	m.pins.Pin(m)
	m.pins.Pin(&data[0])
	m.vector.Base = &data[0]
	m.vector.SetLen(len(data))
	m.header.Iov = &m.vector
	m.header.SetIovlen(1)
	if addr != nil {
		copy(m.addr[:], addr)
		m.header.Name = &m.addr[0]
		m.header.Namelen = uint32(len(addr))
	}
	return m
}

// sendmmsg sends the same datagram twice with one call.
func sendmmsg(fd int, data, addr []byte) error {
	m := newMessage(data, addr)
	defer m.pins.Unpin()
	headers := [2]struct {
		unix.Msghdr
		n uint32
		_ [4]byte
	}{{Msghdr: m.header}, {Msghdr: m.header}}
	_, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&headers)), uintptr(len(headers)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// An entry is a submission of io_uring: struct io_uring_sqe.
type entry struct {
	op, flags uint8
	_         uint16
	fd        int32
	off, addr uint64
	len       uint32
	_         [4]uint32
	addrLen   uint16
	_         uint16
	_         [2]uint64
}

// ringParams is struct io_uring_params.
type ringParams struct {
	entries, cqEntries, flags, cpu, idle, features, wq uint32
	_                                                  [3]uint32
	sq                                                 struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		user                                                uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		user                                                uint64
	}
}

// pointTo is the address of memory that must be pinned.
func pointTo[T any](v *T) uint64 { return uint64(uintptr(unsafe.Pointer(v))) }

func ringSetup(entries uint32, p *ringParams) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

func ringEnter(fd int, submit, wait, flags uint32) error {
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(fd), uintptr(submit), uintptr(wait), uintptr(flags), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// at is a place in memory that is shared with the kernel.
func at[T any](shared []byte, offset uint32) *T {
	_ = shared[int(offset)+int(unsafe.Sizeof(*new(T)))-1]
	return (*T)(unsafe.Pointer(&shared[offset]))
}

// lendMemory gives memory to an AF_XDP socket, as one frame. It must stay.
func lendMemory(fd int, memory []byte) error {
	size := len(memory)
	reg := unix.XDPUmemReg{Addr: pointTo(&memory[0]), Len: uint64(size), Size: uint32(size)}
	// As kernels before the last field want it too.
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, unix.XDP_UMEM_REG,
		uintptr(unsafe.Pointer(&reg)), unsafe.Offsetof(reg.Tx_metadata_len), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// ringOffsets says where in the rings of an AF_XDP socket things are.
func ringOffsets(fd int) (o unix.XDPMmapOffsets, err error) {
	size := uint32(unsafe.Sizeof(o))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, unix.XDP_MMAP_OFFSETS,
		uintptr(unsafe.Pointer(&o)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return o, errno
	}
	return o, nil
}
