package pods_test

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/pods"
)

// runtimes are the container runtimes that pods are made with.
var runtimes = []struct {
	name  string
	start func(testing.TB, *lab.Cgroup) *lab.Containerd
}{
	{"the distribution's containerd", lab.StartContainerd},
	{"containerd 2", lab.StartContainerd2},
}

func TestPodsAreKnownByTheirCgroups(t *testing.T) {
	for _, tt := range runtimes {
		t.Run(tt.name, func(t *testing.T) {
			root := lab.NewCgroup(t)
			runtime := tt.start(t, root)
			web := runtime.Pod(t, lab.PodSpec{
				Namespace: "agents", Name: "web-0",
				Labels:      map[string]string{"app": "web"},
				Annotations: map[string]string{"agentd.dev/note": "two containers"},
			})
			main := web.Container(t, "main") // there before anyone looks
			node := open(t, root, runtime)
			side := web.Container(t, "side")
			host := runtime.Pod(t, lab.PodSpec{Namespace: "system", Name: "proxy", HostNetwork: true}).Container(t, "proxy")
			for _, want := range []struct {
				c           *lab.PodContainer
				hostNetwork bool
			}{{main, false}, {side, false}, {host, true}} {
				got := await(t, node, want.c.Dir())
				pod := want.c.Pod
				if got.ID != want.c.ID || got.Name != want.c.Name || got.Image != lab.Image {
					t.Errorf("container %s %s of %s, want %s %s of %s", got.ID, got.Name, got.Image, want.c.ID, want.c.Name, lab.Image)
				}
				p := got.Pod
				if p.UID != pod.UID || p.Namespace != pod.Namespace || p.Name != pod.Name || p.HostNetwork != want.hostNetwork {
					t.Errorf("pod %+v, want %+v", p, pod)
				}
				if !maps.Equal(p.Labels, pod.Labels) || !maps.Equal(p.Annotations, pod.Annotations) {
					t.Errorf("labels %v and annotations %v, want %v and %v", p.Labels, p.Annotations, pod.Labels, pod.Annotations)
				}
			}
			for _, pod := range []*lab.Pod{web, host.Pod} {
				if got := await(t, node, filepath.Join(pod.Dir(), pod.ID)); got.ID != pod.ID || got.Name != "" || got.Pod.UID != pod.UID {
					t.Errorf("the sandbox is %+v, want %s of pod %s, without a name", got, pod.ID, pod.UID)
				}
			}
			if got := node.Status(); !strings.HasPrefix(got.Runtime, "containerd ") || got.Problem != "" || got.Containers != 5 || got.Unknown != 0 {
				t.Errorf("status %+v, want containerd with 5 containers", got)
			}
			web.Remove(t)
			awaitGone(t, node, main.Dir())
			if c, ok := node.Lookup(t.Context(), below(t, main.Dir())); ok {
				t.Errorf("a container that is gone is %+v, want nothing", c)
			}
		})
	}
}

func TestACgroupBelowAContainersIsTheContainers(t *testing.T) {
	root := lab.NewCgroup(t)
	runtime := lab.StartContainerd(t, root)
	pod := runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: "web-0"})
	c, other := pod.Container(t, "main"), pod.Container(t, "other")
	node := open(t, root, runtime)
	for _, nested := range []string{"inner", "docker/" + other.ID, "cri-containerd-" + other.ID + ".scope/x"} {
		got, ok := node.Lookup(t.Context(), below(t, filepath.Join(c.Dir(), nested)))
		if !ok || got.ID != c.ID {
			t.Errorf("%s: container %s %q, want %s", nested, got.ID, got.Name, c.ID)
		}
	}
}

func TestACgroupWithAnothersNameIsNotTheOther(t *testing.T) {
	root := lab.NewCgroup(t)
	runtime := lab.StartContainerd(t, root)
	c := runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: "web-0"}).Container(t, "main")
	node := open(t, root, runtime)
	await(t, node, c.Dir())
	forged := root.Child(t, "cri-containerd-"+c.ID+".scope")
	if got, ok := node.Lookup(t.Context(), below(t, forged.Path)); ok {
		t.Errorf("it is %+v, want nothing", got)
	}
	if got, ok := node.Lookup(t.Context(), below(t, c.Dir())); !ok || got.ID != c.ID {
		t.Errorf("the container is %+v, want %s", got, c.ID)
	}
}

func TestContainersAreKnownAgainOnceTheRuntimeIsBack(t *testing.T) {
	root := lab.NewCgroup(t)
	runtime := lab.StartContainerd(t, root)
	pod := runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: "web-0"})
	c := pod.Container(t, "main")
	runtime.Stop()
	node := open(t, root, runtime) // with no runtime
	if got, ok := node.Lookup(t.Context(), below(t, c.Dir())); ok {
		t.Errorf("without a runtime it is %+v, want nothing", got)
	}
	if got := node.Status().Problem; !strings.Contains(got, "ask the container runtime") {
		t.Errorf("the problem is %q, want that the runtime does not answer", got)
	}
	runtime.Start(t)
	await(t, node, c.Dir())
	if got := node.Status().Problem; got != "" {
		t.Errorf("the problem is %q, want none", got)
	}

	runtime.Stop()
	if got, ok := node.Lookup(t.Context(), below(t, c.Dir())); !ok || got.Pod.Name != "web-0" {
		t.Errorf("what was known is %+v while the runtime is away, want web-0", got)
	}
	runtime.Start(t)
	later := pod.Container(t, "later")
	await(t, node, later.Dir())
}

// open opens a Node for one test.
func open(t *testing.T, root *lab.Cgroup, runtime *lab.Containerd) *pods.Node {
	t.Helper()
	node, err := pods.Open(pods.Options{Runtime: runtime.Socket, Root: root.Path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	return node
}

// await returns the container whose cgroup has directory dir, once it is known.
func await(t *testing.T, node *pods.Node, dir string) pods.Container {
	t.Helper()
	for {
		if c, ok := find(node, dir); ok {
			return c
		}
		next(t, node, dir)
	}
}

func awaitGone(t *testing.T, node *pods.Node, dir string) {
	t.Helper()
	for {
		if _, ok := find(node, dir); !ok {
			return
		}
		next(t, node, dir)
	}
}

func next(t *testing.T, node *pods.Node, dir string) {
	t.Helper()
	select {
	case <-node.Changes():
	case <-time.After(10 * time.Second):
		t.Fatalf("no news of %s: %+v", dir, node.Status())
	}
}

func find(node *pods.Node, dir string) (pods.Container, bool) {
	for _, found := range node.Containers() {
		if found.Cgroup == dir {
			return found.Container, true
		}
	}
	return pods.Container{}, false
}

// below returns a cgroup's path as the kernel writes it.
func below(t *testing.T, dir string) string {
	t.Helper()
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(dir, hierarchy)
}
