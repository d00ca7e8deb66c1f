// Package identity says who is behind a connection: what the kernel noted of
// the process that connected, and what is known of the workload it belongs to.
//
// It believes the kernel and the host's own files, and nothing that the
// workload can write.
package identity

import (
	"context"

	"agentd.dev/agentd/pods"
	"agentd.dev/policy"
)

// A Peer is what the kernel said of a connection's other end when it called
// connect.
type Peer struct {
	Cgroup   uint64 // id of the cgroup the process was in
	Captured uint64 // id of the cgroup that made it a captured connection
	TGID     int    // process, in the host's pid namespace
	Start    uint64 // when the process began, in ns since boot
	UID      uint32 // in the host's user namespace
	Comm     string // the kernel's name for the thread
	NetNS    uint64 // cookie of the socket's network namespace
}

// A Source adds what it knows about a peer to id.
//
// Not knowing is not an error: Identify then leaves id as it is. An error
// means the source itself is broken, and refuses the connection.
type Source interface {
	Identify(ctx context.Context, peer Peer, id *policy.Identity) error
}

// Sources is every source, in the order they are asked: a later one sees what
// the earlier ones have found. Names gives the name of a captured cgroup and
// where that name is from, "" if it has none; containers, nil if there are
// none, the container of a cgroup by its path.
func Sources(names func(id uint64) (name, source string), containers func(ctx context.Context, cgroupPath string) (pods.Container, bool)) []Source {
	return []Source{
		&Process{},
		&Cgroup{},
		Pod{Lookup: containers},
		Workload{Names: names},
	}
}

// Of asks the sources about peer.
func Of(ctx context.Context, sources []Source, peer Peer) (policy.Identity, error) {
	var id policy.Identity
	for _, s := range sources {
		if err := s.Identify(ctx, peer, &id); err != nil {
			return policy.Identity{}, err
		}
	}
	return id, nil
}
