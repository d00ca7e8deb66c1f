// Package doctor looks whether a node is fit for agentd, and whether agentd is
// as it should be there. It only reads: files, /proc, the kernel's lists, and
// what the daemon says of itself.
//
// It believes the kernel, not the workloads: what a process has mounted is
// found out by looking through its eyes, not by what its mount table says.
package doctor

import (
	"fmt"

	"agentd.dev/agentd/control"
)

// A Node is what is examined.
type Node struct {
	Status control.Status // what the daemon says
	Absent error          // why it says nothing; nil if it does
	Pins   string         // folder on a bpffs where agentd keeps its programs
	// Sockets are those of container runtimes, besides the usual ones.
	Sockets []string
}

// A State is how grave a finding is.
type State string

const (
	OK   State = "ok"
	Warn State = "warn" // it works, with less
	Fail State = "fail" // it does not work, or not for long
)

// A Finding is what one check found.
type Finding struct {
	Check  string `json:"check"`
	State  State  `json:"state"`
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"` // what to do about it
}

// checks are all of them, in the order they are shown: what the others rest on
// comes first. Each returns at least one finding.
var checks = []struct {
	name string
	run  func(*Node) []Finding
}{
	{"kernel", kernel},
	{"kernel types", types},
	{"cgroups", cgroups},
	{"bpffs", bpffs},
	{"capabilities", capabilities},
	{"clock", clock},
	{"daemon", daemon},
	{"programs", programs},
	{"log", disk},
	{"runtime", runtimes},
	{"NRI", nri},
	{"sandboxes", sandboxes},
	{"privileges", privileges},
	{"runtime sockets", sockets},
}

// Examine runs every check.
func Examine(n *Node) []Finding {
	var all []Finding
	for _, c := range checks {
		for _, f := range c.run(n) {
			f.Check = c.name
			all = append(all, f)
		}
	}
	return all
}

func ok(format string, args ...any) []Finding {
	return []Finding{{State: OK, Text: fmt.Sprintf(format, args...)}}
}

func warn(advice, format string, args ...any) []Finding {
	return []Finding{{State: Warn, Text: fmt.Sprintf(format, args...), Advice: advice}}
}

func fail(advice, format string, args ...any) []Finding {
	return []Finding{{State: Fail, Text: fmt.Sprintf(format, args...), Advice: advice}}
}
