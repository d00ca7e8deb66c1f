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
