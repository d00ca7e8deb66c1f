// Package nri hears of pods and containers from the runtime at the moment that
// counts: their cgroup and network namespace are there, and their first
// instruction waits until we have answered. See github.com/containerd/nri.
//
// It never holds the runtime up: whoever is told has a second, then the
// container starts. What it may do until it is known is the kernel's to decide.
package nri

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/net/multiplex"
	"github.com/containerd/ttrpc"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/pods"
)

const (
	patience = time.Second     // for Started; the runtime's own with us is two
	again    = 2 * time.Second // until we register anew
)

// Options say whom to hear and whom to tell.
type Options struct {
	Socket string     // of NRI, as /var/run/nri/nri.sock
	Node   *pods.Node // knows more of containers than NRI tells
	Log    *slog.Logger

	// Started is told of each sandbox and container before it runs, with the
	// path of its network namespace, by several goroutines at once. The
	// runtime waits until it returns, or until ctx ends.
	Started func(ctx context.Context, found pods.Found, netns string)
}

// A Plugin is registered with the runtime for as long as there is one.
type Plugin struct {
	options   Options
	hierarchy string
	stop      context.CancelFunc
	wg        sync.WaitGroup

	mu      sync.Mutex // guards what is below
	runtime string
	problem string
}

// Open registers with the runtime, now or once it is there, until Close.
func Open(o Options) (*Plugin, error) {
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Plugin{options: o, hierarchy: hierarchy, stop: stop}
	p.wg.Go(func() { p.run(ctx) })
	return p, nil
}

// Close ends what Open started, and returns once nothing is told any more.
func (p *Plugin) Close() {
	p.stop()
	p.wg.Wait()
}

// Status returns the name and version of the runtime that we are registered
// with, or why we are not.
func (p *Plugin) Status() (runtime, problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runtime, p.problem
}

// run registers again and again: runtimes are restarted.
func (p *Plugin) run(ctx context.Context) {
	for ctx.Err() == nil {
		p.lost(ctx, p.session(ctx))
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// lost notes why we are not registered.
func (p *Plugin) lost(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	said := p.problem
	p.runtime, p.problem = "", err.Error()
	p.mu.Unlock()
	if said != err.Error() {
		p.options.Log.Warn("containers are not announced before they run", "problem", err)
	}
}

// session registers and serves until ctx or the connection ends.
func (p *Plugin) session(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "unix", p.options.Socket)
	if err != nil {
		return fmt.Errorf("connect to NRI: %w", err)
	}
	// One connection carries both directions: we are asked, and ask.
	both := multiplex.Multiplex(conn)
	defer both.Close()
	asked, err := both.Listen(multiplex.PluginServiceConn)
	if err != nil {
		return fmt.Errorf("serve NRI: %w", err)
	}
	asking, err := both.Open(multiplex.RuntimeServiceConn)
	if err != nil {
		return fmt.Errorf("speak with NRI: %w", err)
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		return fmt.Errorf("serve NRI: %w", err)
	}
	api.RegisterPluginService(server, service{p: p})
	over := make(chan error, 1)
	p.wg.Go(func() { over <- server.Serve(ctx, asked) })
	defer server.Close()

	closed := make(chan struct{})
	client := ttrpc.NewClient(asking, ttrpc.WithOnClose(sync.OnceFunc(func() { close(closed) })))
	defer client.Close()
	registering, cancel := context.WithTimeout(ctx, 5*patience)
	defer cancel()
	// Plugins are asked in the order of their index: we change nothing, so
	// that we come last and see what others have made of a container.
	if _, err := api.NewRuntimeClient(client).RegisterPlugin(registering, &api.RegisterPluginRequest{PluginName: "agentd", PluginIdx: "99"}); err != nil {
		return fmt.Errorf("register with NRI: %w", err)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-closed:
		return errors.New("the runtime closed the connection of NRI")
	case err := <-over:
		return fmt.Errorf("serve NRI: %w", err)
	}
}

// tell tells of a container that is about to run. It returns in time.
func (p *Plugin) tell(ctx context.Context, pod *api.PodSandbox, c *api.Container) {
	path := pods.CgroupPath(pod.GetLinux().GetCgroupsPath())
	pid := pod.GetPid()
	if c != nil {
		path, pid = pods.CgroupPath(c.GetLinux().GetCgroupsPath()), c.GetPid()
	}
	if path == "" || pid == 0 {
		p.options.Log.Warn("NRI does not say where a container is", "pod", pod.GetName(), "container", c.GetName())
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := make(chan struct{})
	p.wg.Go(func() {
		defer close(done)
		found := pods.Found{Container: p.container(ctx, path, pod, c), Cgroup: p.hierarchy + path}
		p.options.Started(ctx, found, fmt.Sprintf("/proc/%d/ns/net", pid))
	})
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// container returns what is known of a container: what the runtime says when
// it is asked, or else what NRI tells, which lacks the image's name.
func (p *Plugin) container(ctx context.Context, path string, pod *api.PodSandbox, c *api.Container) pods.Container {
	asking, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	if known, ok := p.options.Node.Lookup(asking, path); ok {
		return known
	}
	told := pods.Container{ID: pod.GetId(), Pod: pods.Pod{
		UID:         pod.GetUid(),
		Namespace:   pod.GetNamespace(),
		Name:        pod.GetName(),
		Labels:      pods.Labels(pod.GetLabels()),
		Annotations: pod.GetAnnotations(),
		HostNetwork: hostNetwork(pod),
	}}
	if c != nil {
		told.ID, told.Name = c.GetId(), c.GetName()
	}
	return told
}

// hostNetwork reports whether a pod has no network namespace of its own.
func hostNetwork(pod *api.PodSandbox) bool {
	for _, n := range pod.GetLinux().GetNamespaces() {
		if n.GetType() == "network" {
			return false
		}
	}
	return true
}
