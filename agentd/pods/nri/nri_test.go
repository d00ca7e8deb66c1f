package nri_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/pods"
	"agentd.dev/agentd/pods/nri"
)

// A told is what was told of a container before it ran.
type told struct {
	pods.Found
	netns string // what the path led to
	comm  string // of the one process in the cgroup
}

// listen registers with a runtime until the test ends.
func listen(t *testing.T, root *lab.Cgroup, runtime *lab.Containerd, started func(context.Context, pods.Found, string)) *nri.Plugin {
	t.Helper()
	node, err := pods.Open(pods.Options{Runtime: runtime.Socket, Root: root.Path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	plugin, err := nri.Open(nri.Options{Socket: runtime.NRI, Node: node, Started: started})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plugin.Close)
	awaitRegistered(t, plugin)
	return plugin
}

func awaitRegistered(t *testing.T, plugin *nri.Plugin) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		name, problem := plugin.Status()
		if name != "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not registered: %s", problem)
		}
	}
}

func TestContainersAreAnnouncedBeforeTheirFirstInstruction(t *testing.T) {
	root := lab.NewCgroup(t)
	runtime := lab.StartContainerd2(t, root)
	heard := make(chan told, 16)
	listen(t, root, runtime, func(_ context.Context, found pods.Found, netns string) {
		is := told{Found: found}
		is.netns, _ = os.Readlink(netns)
		if pids, err := cgroup.Processes(found.Cgroup); err == nil && len(pids) == 1 {
			comm, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pids[0]), "comm"))
			is.comm = strings.TrimSpace(string(comm))
		}
		heard <- is
	})
	pod := runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: "web-0", Labels: map[string]string{"app": "web"}})
	if got := <-heard; got.ID != pod.ID || got.Name != "" || got.Pod.UID != pod.UID || got.Cgroup != filepath.Join(pod.Dir(), pod.ID) {
		t.Errorf("told of %+v, want sandbox %s of pod %s", got, pod.ID, pod.UID)
	}
	c := pod.Container(t, "main")
	netns, err := c.Run(t, "readlink", "/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	got := <-heard
	if got.ID != c.ID || got.Name != "main" || got.Image != lab.Image || got.Pod.Labels["app"] != "web" || got.Cgroup != c.Dir() {
		t.Errorf("told of %+v, want container %s in %s", got, c.ID, c.Dir())
	}
	if got.netns != strings.TrimSpace(netns) {
		t.Errorf("its network namespace is %s, want %s", got.netns, netns)
	}
	if want := "runc:[2:INIT]"; got.comm != want {
		t.Errorf("it ran %q when we were told, want %q", got.comm, want)
	}
}

func TestASickListenerHoldsNoContainerUp(t *testing.T) {
	root := lab.NewCgroup(t)
	runtime := lab.StartContainerd2(t, root)
	sick, healed := make(chan struct{}, 16), make(chan struct{})
	plugin := listen(t, root, runtime, func(context.Context, pods.Found, string) {
		sick <- struct{}{}
		<-healed
	})
	t.Cleanup(func() { close(healed) }) // before the plugin is closed, which waits for it
	pod := runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: "web-0"})
	begin := time.Now()
	pod.Container(t, "main")
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the container started after %v", took)
	}
	if len(sick) != 2 {
		t.Errorf("told of %d, want the sandbox and the container", len(sick))
	}
	if name, problem := plugin.Status(); name == "" {
		t.Errorf("no longer registered: %s", problem)
	}
}

func TestRegistersAgainWithARuntimeThatIsBack(t *testing.T) {
	root := lab.NewCgroup(t)
	runtime := lab.StartContainerd2(t, root)
	heard := make(chan string, 16)
	plugin := listen(t, root, runtime, func(_ context.Context, found pods.Found, _ string) { heard <- found.Pod.Name })
	runtime.Stop()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, problem := plugin.Status(); problem != "" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("still registered with a runtime that is gone")
		}
	}
	runtime.Start(t)
	awaitRegistered(t, plugin)
	runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: "later"})
	if got := <-heard; got != "later" {
		t.Errorf("told of pod %q, want later", got)
	}
}
