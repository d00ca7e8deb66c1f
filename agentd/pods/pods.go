// Package pods knows the pods and containers of this node.
package pods

// A Container is one that a runtime on this node runs. A pod's sandbox has a
// cgroup of its own too: it is the Container with Name "".
type Container struct {
	ID, Name, Image string
	Pod             Pod
}

// A Pod is one that runs on this node. The zero Pod stands for a container
// that belongs to none.
type Pod struct {
	UID, Namespace, Name, ServiceAccount string
	Labels, Annotations, NamespaceLabels map[string]string
	Owner                                string // what made it, as "ReplicaSet/web-5d9"
	HostNetwork                          bool
}
