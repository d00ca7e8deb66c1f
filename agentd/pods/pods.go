// Package pods knows the pods and containers on this node: which one a cgroup
// belongs to, and what the container runtime says of it.
//
// It believes where a cgroup is and what the runtime answers over CRI, and
// nothing that a workload can write: a cgroup counts as a container's only if
// the runtime itself says that it put the container there.
//
// Knowing less is never an error here. Without a runtime, or while it does not
// answer, containers are unknown and Status says why; what becomes of the
// connections of the unknown is the kernel's to decide.
package pods

import "context"

// A Container is a container on this node. The sandbox of a pod, whose cgroup
// is beside its containers', is a Container without a name. A container of
// docker's or podman's has an ID and nothing else.
type Container struct {
	ID, Name, Image string
	Pod             Pod
}

// A Pod is what holds containers. What comes from the API server is empty
// without a Source.
type Pod struct {
	UID, Namespace, Name string
	ServiceAccount       string // from the API server
	Labels, Annotations  map[string]string
	NamespaceLabels      map[string]string // from the API server
	Owner                string            // "ReplicaSet/web-5d9", from the API server
	HostNetwork          bool
}

// A Found is a container with the directory of its cgroup.
type Found struct {
	Container
	Cgroup string
}

// A Source knows more of pods than the runtime, which never learns of a change
// to a pod's labels.
type Source interface {
	// Enrich adds to p, found by its UID, what is known of it.
	Enrich(p *Pod)
	// Changes gets a value after something that Enrich adds has changed.
	Changes() <-chan struct{}
}

// A Status says how well containers are known.
type Status struct {
	Runtime    string // its name and version; "" if it never answered
	Problem    string // why containers may be unknown; "" if there is no reason
	Containers int
	Unknown    int // cgroups that look like a container's and that the runtime does not know
}

// Lookup returns the container that a cgroup, given by its path below the top
// of the hierarchy, is or is in. It asks the runtime about one that is new, for
// two seconds at most. The maps of what it returns are not to be changed.
func (n *Node) Lookup(ctx context.Context, cgroupPath string) (Container, bool) {
	if c, ok := n.cached(cgroupPath); ok {
		return c, true
	}
	place, ok := locate(cgroupPath)
	if !ok {
		return Container{}, false
	}
	c, err := n.resolve(ctx, place)
	return c, err == nil
}

// Containers returns the containers whose cgroups are there, in no order.
func (n *Node) Containers() []Found {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]Found, 0, len(n.known))
	for path, c := range n.known {
		n.enrich(&c)
		all = append(all, Found{c, n.hierarchy + path})
	}
	return all
}

// Changes gets a value after Containers has changed.
func (n *Node) Changes() <-chan struct{} { return n.changes }

// Status says how well containers are known.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return Status{Runtime: n.version, Problem: n.problem, Containers: len(n.known), Unknown: len(n.pending)}
}
