// Package synthetic makes connections from inside of captured workloads, for
// agentd to see that they come to it. They are made by a process of agentd's
// own, the Caller, that goes from workload to workload: into its cgroup and
// its network namespace, and back.
//
// The addresses are of those that exist for documentation (RFC 5737, RFC
// 3849): a connection that is not captured reaches nobody. To a workload they
// are addresses like any other that no target names: agentd answers there only
// who is its own Caller.
package synthetic

import (
	"net/netip"
	"time"
)

// Command is the hidden subcommand of agentd that is the Caller: it calls Main.
const Command = "synthetic-caller"

// Addresses are where synthetic connections go, IPv4 and IPv6.
var Addresses = [...]netip.AddrPort{
	netip.MustParseAddrPort("192.0.2.1:9"),
	netip.MustParseAddrPort("[2001:db8::1]:9"),
}

// Patience is how long one connection may take.
const Patience = time.Second

// NonceLen is the length of the word that agentd answers with, in bytes.
const NonceLen = 26

// A Place is where a connection is to be made from.
type Place struct {
	Cgroup string // directory of a cgroup that may hold processes
	NetNS  string // path of a network namespace
}

// A call is what came of a place: for each address the word that was heard, or
// why there was none.
type call struct {
	Word [len(Addresses)]string
	Err  string
}
