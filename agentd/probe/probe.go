// Package probe tries to get around agentd: each Vector is one way to reach
// the network, tried for real by a process of a captured workload, against a
// target that says what reached it.
//
// No vector counts without having worked: each is first tried in the same
// place by a process that is not captured, and must get through, or the kernel
// must say that it has no such thing. What comes of a vector is what the
// target heard and what agentd saw, never what the process believes.
//
// Everything happens in network namespaces that a Stage made; nothing is sent
// anywhere else, and nothing is left when the Stage is closed.
package probe

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A Vector is one way to try.
type Vector struct {
	Name string
	Over []Family // {V4, V6} if empty
	Port uint16   // at the target; 0: a free one
	Want Result   // of a captured workload's attempt
	// Strict is Want where packets are also filtered outside of the
	// workload's network namespace; Unset if that changes nothing.
	Strict Result
	// Apart is Want where what is outside of the workload is outside of
	// capture.root too, which the kernel side does not see; Unset if that
	// changes nothing.
	Apart Result
	// Since is the version of Linux that can do what Want says; earlier ones
	// leave it open. Zero: all.
	Since [2]int
	// Why says what the workload needs for it, and of an open one why it is
	// open.
	Why string
	// Outside: the attempt starts outside of the workload.
	Outside bool
	// Local: the attempt itself knows whether it worked, because nothing
	// reaches the target either way.
	Local bool
	// Called: the target connects to the attempt.
	Called bool
	// Told: only packets with the attempt's own words count, because others
	// go to the target as well.
	Told bool
	// Alone: the attempt changes its network namespace, and gets one of its
	// own.
	Alone bool
	// Lacks is what a kernel says that has no such thing.
	Lacks []unix.Errno

	try func(*scene) error
}

// A Family is the kind of addresses a vector is tried with.
type Family string

const (
	V4     Family = "IPv4"
	V6     Family = "IPv6"
	Mapped Family = "IPv4 in IPv6" // ::ffff:a.b.c.d from an IPv6 socket
	None   Family = ""             // it needs no address
)

// A Result is what came of an attempt.
type Result string

const (
	Unset    Result = ""
	Captured Result = "captured"           // came to agentd, and to the target only from there
	Unserved Result = "captured, and lost" // came to agentd, whose own connection is stopped
	Refused  Result = "refused"            // the call failed, and nothing reached the target
	Dropped  Result = "dropped"            // the call did not fail, and nothing reached the target
	Allowed  Result = "allowed"            // reached the target, as it should
	Open     Result = "open"               // reached the target without agentd
	Lacking  Result = "lacking"            // the kernel has no such thing
	Broken   Result = "broken"             // could not be tried: it does not work outside of the workload either
)

// meets reports whether got is what a vector with the Want r expects. The
// target cannot tell what should reach it from what should not, nor agentd who
// stops it.
func (r Result) meets(got Result) bool {
	switch r {
	case Allowed:
		return got == Open
	case Unserved:
		return got == Captured
	}
	return r == got
}

// Families are those that v is tried with.
func (v *Vector) Families() []Family {
	if v.Over == nil {
		return []Family{V4, V6}
	}
	return v.Over
}

// tooOld reports whether this kernel is of before v.Since.
func (v *Vector) tooOld() bool {
	var (
		name         unix.Utsname
		major, minor int
	)
	if err := unix.Uname(&name); err != nil {
		return false
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major < v.Since[0] || major == v.Since[0] && minor < v.Since[1]
}
