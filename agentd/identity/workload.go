package identity

import (
	"context"

	"agentd.dev/policy"
)

// Workload knows the names under which workloads were captured. For one that
// has none it falls back on the systemd unit, then on the cgroup.
type Workload struct {
	Names func(id uint64) (name, source string)
}

// Identify sets Workload and Source.
func (w Workload) Identify(_ context.Context, peer Peer, id *policy.Identity) error {
	if name, source := w.Names(peer.Captured); name != "" {
		id.Workload, id.Source = name, source
		return nil
	}
	switch {
	case id.Unit != "":
		id.Workload, id.Source = id.Unit, "unit"
	case id.Cgroup != "":
		id.Workload, id.Source = id.Cgroup, "cgroup"
	}
	return nil
}
