package grammar

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lock leaves this process, all its threads, what the Go runtime needs to go on
// computing, and the socket. It cannot be undone.
func lock() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("keep others out of its memory: %w", err)
	}
	arch, ok := architectures[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("limit system calls: not known how on %s", runtime.GOARCH)
	}
	filter := callFilter(arch, uint32(os.Getpid()))
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	failed, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	switch {
	case errno != 0:
		return fmt.Errorf("limit system calls: %w", errno)
	case failed != 0:
		return fmt.Errorf("limit system calls: thread %d cannot follow", failed)
	}
	return nil
}

// architectures are the names by which the kernel knows those of Go. All that
// are listed put the low half of a number first.
var architectures = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64,
	"arm64": unix.AUDIT_ARCH_AARCH64,
}

// calls are those that a worker may make whatever the arguments: on descriptors
// that it has, on its own memory, threads, signals and clocks.
var calls = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_FUTEX,
	unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_MADVISE, unix.SYS_BRK,
	unix.SYS_SIGALTSTACK, unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY, unix.SYS_RESTART_SYSCALL,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_GETPID, unix.SYS_GETTID,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_GETRANDOM,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_CLOSE, unix.SYS_PREAD64,
}

// Offsets in the kernel's struct seccomp_data.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16 // the low halves, eight bytes apart
)

const (
	allow  = uint32(unix.SECCOMP_RET_ALLOW)
	refuse = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.EPERM)
	absent = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)
)

// callFilter is the program that the kernel asks about each call of process pid.
func callFilter(arch, pid uint32) []unix.SockFilter {
	f := filter{}
	f.load(dataArch)
	f.unless(unix.BPF_JEQ, arch, unix.SECCOMP_RET_KILL_PROCESS)
	f.load(dataNumber)
	if arch == unix.AUDIT_ARCH_X86_64 {
		f.when(unix.BPF_JGE, 0x40000000, unix.SECCOMP_RET_KILL_PROCESS) // the x32 ABI's numbers
	}
	for _, nr := range calls {
		f.when(unix.BPF_JEQ, nr, allow)
	}
	// Threads, no processes. What clone3 makes is in memory that cannot be
	// seen from here; the C library then takes clone.
	f.when(unix.BPF_JEQ, unix.SYS_CLONE3, absent)
	f.call(unix.SYS_CLONE, 0, unix.BPF_JSET, unix.CLONE_THREAD, allow, refuse)
	// No memory that could be executed.
	f.call(unix.SYS_MMAP, 2, unix.BPF_JSET, unix.PROT_EXEC, refuse, allow)
	f.call(unix.SYS_MPROTECT, 2, unix.BPF_JSET, unix.PROT_EXEC, refuse, allow)
	// Signals to itself: the runtime's way to interrupt a thread.
	f.call(unix.SYS_TGKILL, 0, unix.BPF_JEQ, pid, allow, refuse)
	f.ret(refuse)
	return f
}

// A filter is a classic BPF program in the making.
type filter []unix.SockFilter

func (f *filter) add(code uint16, jt, jf uint8, k uint32) {
	*f = append(*f, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
}

func (f *filter) load(offset uint32) { f.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, offset) }
func (f *filter) ret(verdict uint32) { f.add(unix.BPF_RET|unix.BPF_K, 0, 0, verdict) }

// when returns verdict if the test holds, unless if it does not.
func (f *filter) when(test uint16, k, verdict uint32) {
	f.add(unix.BPF_JMP|unix.BPF_K|test, 0, 1, k)
	f.ret(verdict)
}

func (f *filter) unless(test uint16, k, verdict uint32) {
	f.add(unix.BPF_JMP|unix.BPF_K|test, 1, 0, k)
	f.ret(verdict)
}

// call tests an argument of the call nr, and returns yes or no.
func (f *filter) call(nr, arg uint32, test uint16, k, yes, no uint32) {
	f.add(unix.BPF_JMP|unix.BPF_K|unix.BPF_JEQ, 0, 4, nr)
	f.load(dataArgs + 8*arg)
	f.add(unix.BPF_JMP|unix.BPF_K|test, 0, 1, k)
	f.ret(yes)
	f.ret(no)
}
