// Package policy decides what may happen: who is asking (Identity), whom
// (Target), and what the rules say to it (Verdict). It reads no socket and
// writes no record.
package policy

import (
	"net/netip"
	"time"
)

// An Identity is what is known of the peer of one connection. What is not
// known is left at its zero value.
type Identity struct {
	Workload string  // the name people use: of the run, the unit or the configured workload
	Source   string  // what gave the name: run, unit, cgroup, pod
	Cgroup   string  // path below the cgroup-v2 root, as "/system.slice/agent.service"
	CgroupID uint64  // the socket's owner's cgroup when it connected
	Unit     string  // systemd unit in Cgroup, "" if none
	Process  Process // the process that called connect

	// Of a container that a runtime on this node knows; of a pod's sandbox
	// and of what runs beside its containers all but the first three.
	Container, ContainerID, Image          string
	Namespace, Pod, PodUID, ServiceAccount string
	Owner                                  string            // what made the pod, as "ReplicaSet/web-5d9"
	Labels                                 map[string]string // of the pod; never changed

	// Claims are what its environment says of why it runs: anybody could have
	// made them up. Never changed.
	Claims map[string]string
}

// A Process is one process, told apart from a later one with the same pid by
// its start time.
type Process struct {
	PID   int       // in the host's pid namespace
	Start time.Time // to a clock tick (10 ms)
	UID   uint32    // in the host's user namespace
	Comm  string    // the kernel's name for the thread that connected, at most 15 bytes
	Exe   string    // "" if the process was gone before it could be read
}

// A Target is a service that sessions go to.
type Target struct {
	Name    string
	Address netip.AddrPort // the address the workload asked for
	// Host is the name by which the workload asked DNS for Address, "" if
	// that was not seen. The workload can make it up.
	Host     string
	Protocol string // a decoders.Protocol name, "" if unknown
	Labels   map[string]string
	// Default is what happens to requests that no rule speaks of.
	Default Default
	// Unclassified is what happens to requests that were not understood: it may
	// be Asking, too.
	Unclassified Default
}

// A Default is a target's answer where no rule gives one. Its zero value
// refuses.
type Default uint8

const (
	Refusing Default = iota // refuse
	Allowing                // allow
	Asking                  // hold it for a person
)

// String returns d as configurations and records write it.
func (d Default) String() string {
	switch d {
	case Allowing:
		return "allow"
	case Asking:
		return "approve"
	}
	return "deny"
}

// A Session is one connection of one workload to one target.
type Session struct {
	ID       string // unique, unguessable, safe in a file name
	Start    time.Time
	Identity Identity
	Target   Target
	Scope    Scope // what of the session agentd can see
	// Results is how many bytes of the results of each request are recorded, 0
	// for none.
	Results     int
	NotCaptured []string // what the record does not have, in words
	// ClientTLS and ServerTLS are how TLS is on the two legs, nil where there is
	// none.
	ClientTLS, ServerTLS *TLS
}

// A Scope says what of a session agentd can see, as records write it.
type Scope string

const (
	Plaintext   Scope = "plaintext"        // all: it comes and goes in plaintext
	Intercepted Scope = "intercepted"      // all: TLS ends in agentd, on one leg or both
	PassedOn    Scope = "passed through"   // only how much: it is TLS that does not end in agentd
	UnknownKind Scope = "unknown protocol" // only how much: it is none that agentd knows
)

// A TLS is what was agreed on for one leg of a session. Of the leg to the client,
// the certificate is agentd's.
type TLS struct {
	Version string // as "TLS 1.3"
	Cipher  string // as "TLS_AES_128_GCM_SHA256"
	Name    string // the host that the client, or agentd, asked for; "" if none
	// Of the server's certificate:
	Verified    string // what of it was verified: "nothing", "chain" or "name"
	Subject     string
	Issuer      string
	Fingerprint string // SHA-256, in hex
	Until       time.Time
}
