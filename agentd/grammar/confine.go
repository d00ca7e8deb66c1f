package grammar

import (
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// nobody has no files and no rights. Other processes that are nobody may end a
// worker, and no more: it cannot be traced.
const nobody = 65534

// limits are what a worker may use. Its stacks are deep because the grammar's
// trees are; data includes those of all threads.
var limits = []struct {
	resource int
	most     uint64
}{
	{unix.RLIMIT_CORE, 0},
	{unix.RLIMIT_FSIZE, 0},
	{unix.RLIMIT_MEMLOCK, 0},
	{unix.RLIMIT_MSGQUEUE, 0},
	{unix.RLIMIT_NOFILE, 16},
	{unix.RLIMIT_DATA, 512 << 20},
	{unix.RLIMIT_STACK, 16 << 20},
}

// confine takes from this thread what a worker does not need, and starts the
// program anew, in which every thread is without. What cannot be taken, because
// agentd itself lacks the right to, is passed on to be told.
func confine() {
	var missing []string
	try := func(what string, err error) {
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", what, err))
		}
	}
	for _, l := range limits {
		try("limit its resources", limit(l.resource, l.most))
	}
	try("be the first to go when memory is short", os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0))
	try("leave the network", unix.Unshare(unix.CLONE_NEWNET|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS))
	must("change the folder", unix.Chdir("/"))
	must("promise to gain no rights", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	if os.Geteuid() == 0 {
		try("give up the right to regain capabilities", dropBounds())
		try("become nobody", becomeNobody())
	}
	must("give up capabilities", dropCapabilities())
	// A change of user takes it back.
	must("end with agentd", unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0))
	must("close what was left open", unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC))
	args := []string{os.Args[0], Command, strings.Join(missing, "\n")}
	must("start anew", syscall.Exec("/proc/self/exe", args, []string{"GOMAXPROCS=1", "GODEBUG=containermaxprocs=0", "GOTRACEBACK=none"}))
}

// must ends a worker that cannot be confined, fail closed.
func must(what string, err error) {
	if err != nil {
		conn.Write(appendFrame(nil, sorry, what+": "+err.Error()))
		os.Exit(1)
	}
}

func limit(resource int, most uint64) error {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(resource, &now); err != nil {
		return err
	}
	most = min(most, now.Max)
	return syscall.Setrlimit(resource, &syscall.Rlimit{Cur: most, Max: most})
}

func dropBounds() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL { // one that this kernel does not know
			return err
		}
	}
	return nil
}

// becomeNobody changes the user of this thread, and no other's: what follows
// is an exec.
func becomeNobody() error {
	program, err := os.Stat("/proc/self/exe")
	if err != nil {
		return err
	}
	if program.Mode()&0o001 == 0 {
		return fmt.Errorf("the program's file may not be executed by others (mode %v)", program.Mode())
	}
	for _, call := range []struct{ nr, a, b, c uintptr }{
		{unix.SYS_SETGROUPS, 0, 0, 0},
		{unix.SYS_SETRESGID, nobody, nobody, nobody},
		{unix.SYS_SETRESUID, nobody, nobody, nobody},
	} {
		if _, _, errno := unix.RawSyscall(call.nr, call.a, call.b, call.c); errno != 0 {
			return errno
		}
	}
	return nil
}

func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&head, &none[0])
}
