package identity

import (
	"context"

	"agentd.dev/agentd/pods"
	"agentd.dev/policy"
)

// Pod knows the container and the pod of a cgroup. It goes by the path that
// Cgroup has found, so it is asked after that.
type Pod struct {
	// Lookup returns the container that the cgroup with a path below the
	// root of the hierarchy belongs to, the cgroup itself or one above it.
	// Nil knows none.
	Lookup func(ctx context.Context, cgroupPath string) (pods.Container, bool)
}

// Identify sets what is known of the container and of its pod.
func (p Pod) Identify(ctx context.Context, _ Peer, id *policy.Identity) error {
	if p.Lookup == nil || id.Cgroup == "" {
		return nil
	}
	c, ok := p.Lookup(ctx, id.Cgroup)
	if !ok {
		return nil
	}
	id.Container, id.ContainerID, id.Image = c.Name, c.ID, c.Image
	id.Namespace, id.Pod, id.PodUID = c.Pod.Namespace, c.Pod.Name, c.Pod.UID
	id.ServiceAccount, id.Owner, id.Labels = c.Pod.ServiceAccount, c.Pod.Owner, c.Pod.Labels
	return nil
}
