package agentd

import (
	"context"
	"errors"

	"agentd.dev/agentd/pods"
	"agentd.dev/agentd/pods/kube"
	"agentd.dev/agentd/pods/nri"
	"agentd.dev/agentd/selection"
)

// openContainers begins to follow the containers of this node, if there is a
// runtime to ask. What it returns ends that. In a Kubernetes pod, the API server
// is asked too: labels that change reach no runtime.
func (d *Daemon) openContainers() (end func() error, err error) {
	if d.config.Capture.Runtime == "" {
		return func() error { return nil }, nil
	}
	options := pods.Options{Runtime: d.config.Capture.Runtime, Root: d.capture.Root(), Log: d.log}
	forget := func() {}
	switch api, err := kube.InCluster(d.log); {
	case err == nil:
		options.Source, d.api, forget = api, api, api.Close
	case !errors.Is(err, kube.ErrNotInCluster):
		return nil, err
	}
	node, err := pods.Open(options)
	if err != nil {
		forget()
		return nil, err
	}
	d.containers = node
	return func() error { node.Close(); forget(); return nil }, nil
}

// hearContainers is told of containers before they run, if the runtime offers
// that. It returns what ends it.
func (d *Daemon) hearContainers() (end func(), err error) {
	node, ok := d.containers.(*pods.Node)
	if !ok || d.config.Capture.NRI == "" {
		return func() {}, nil
	}
	plugin, err := nri.Open(nri.Options{Socket: d.config.Capture.NRI, Node: node, Log: d.log, Started: d.follower.announced})
	if err != nil {
		return nil, err
	}
	return plugin.Close, nil
}

// containerOf finds the container that a cgroup belongs to, nil without a runtime.
func (d *Daemon) containerOf() func(ctx context.Context, cgroupPath string) (pods.Container, bool) {
	if d.containers == nil {
		return nil
	}
	return d.containers.Lookup
}

// places are the containers that cgroups are of, by path. That of a pod as a
// whole has no name.
func (d *Daemon) places() map[string]pods.Container {
	byPath := map[string]pods.Container{}
	if d.containers == nil {
		return byPath
	}
	for _, c := range d.containers.Containers() {
		path := d.follower.path(c.Cgroup)
		byPath[path] = c.Container
		if whole := selection.PodCgroup(path, c.Pod.UID); whole != path {
			byPath[whole] = pods.Container{Pod: c.Pod}
		}
	}
	return byPath
}
