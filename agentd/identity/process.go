package identity

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/policy"
)

// tick is the unit of times in /proc: USER_HZ, 100 on every architecture that
// Go runs on.
const tick = 10 * time.Millisecond

// Process knows what /proc tells of a process.
type Process struct{}

// Identify sets Process. Exe is set only if the process is still the one that
// connected: a pid is used again, but not with the same start.
func (*Process) Identify(_ context.Context, peer Peer, id *policy.Identity) error {
	if peer.TGID == 0 {
		return nil
	}
	started, err := wall(peer.Start)
	if err != nil {
		return err
	}
	id.Process = policy.Process{PID: peer.TGID, Start: started, UID: peer.UID, Comm: peer.Comm}

	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", peer.TGID))
	// Compared after it was read, so that a process that came in between
	// cannot lend its own.
	if err == nil && sameStart(peer.TGID, peer.Start) {
		id.Process.Exe = exe
	}
	return nil // a process may be gone, or a kernel thread: then there is no exe
}

// wall turns a time since boot into one of the clock, to a tick.
func wall(sinceBoot uint64) (time.Time, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Time{}, fmt.Errorf("read the time since boot: %w", err)
	}
	age := time.Duration(now.Nano()) - time.Duration(sinceBoot)
	return time.Now().Add(-age).Truncate(tick), nil
}

// sameStart reports whether the process with pid began at start.
func sameStart(pid int, start uint64) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	ticks, ok := startTicks(stat)
	return ok && ticks == start/uint64(tick)
}

// startTicks returns field 22 of a /proc/PID/stat, proc(5). The second field
// is the command's name in parentheses and may hold anything, so counting
// begins behind its last one.
func startTicks(stat []byte) (uint64, bool) {
	const field = 22 - 3 // the first one behind the name is field 3
	_, rest, ok := bytes.Cut(stat[max(bytes.LastIndexByte(stat, ')'), 0):], []byte(") "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) <= field {
		return 0, false
	}
	ticks, err := strconv.ParseUint(string(fields[field]), 10, 64)
	return ticks, err == nil
}
