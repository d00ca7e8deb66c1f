package relay

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// These calls never block, whatever the descriptor's mode: they say so
// themselves, or wait for no time. So they spare Go's scheduler the news that a thread enters and
// leaves the kernel, which under load is a tenth of what the relay costs
// (docs/performance.md). Package unix has no such form of them, hence unsafe.

func rawRead(fd int, buf []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), unix.MSG_DONTWAIT, 0, 0)
	return result(n, errno)
}

func rawWrite(fd int, buf []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return result(n, errno)
}

// poll returns the events that are there already.
func poll(epoll int, events []unix.EpollEvent) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0 // interrupted: nothing is there as yet
	}
	return int(n)
}

func result(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
