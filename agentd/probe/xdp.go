package probe

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// express sends a frame by AF_XDP in copy mode, which takes no program: the
// kernel makes a packet of what it finds in memory that it shares.
func (s *scene) express() error {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	const (
		size    = 1 << 12 // of the memory, which holds one frame
		entries = 1       // in each ring
	)
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	if err := lendMemory(fd, memory); err != nil {
		return fmt.Errorf("setsockopt: %w", err)
	}
	for _, ring := range []int{unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_TX_RING} {
		if err := unix.SetsockoptInt(fd, unix.SOL_XDP, ring, entries); err != nil {
			return fmt.Errorf("setsockopt: %w", err)
		}
	}
	offsets, err := ringOffsets(fd)
	if err != nil {
		return fmt.Errorf("getsockopt: %w", err)
	}
	ring, err := unix.Mmap(fd, unix.XDP_PGOFF_TX_RING, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	own, err := net.InterfaceByName(cable)
	if err != nil {
		return err
	}
	to := &unix.SockaddrXDP{Flags: unix.XDP_COPY, Ifindex: uint32(own.Index)}
	// The queue is busy for a moment after its last user has gone.
	for err = unix.Bind(fd, to); errors.Is(err, unix.EBUSY); err = unix.Bind(fd, to) {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	n := copy(memory, s.frame())
	*at[unix.XDPDesc](ring, uint32(offsets.Tx.Desc)) = unix.XDPDesc{Len: uint32(n)}
	*at[uint32](ring, uint32(offsets.Tx.Producer)) = 1
	if err := unix.Send(fd, nil, unix.MSG_DONTWAIT); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}
