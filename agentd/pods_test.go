package agentd_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
)

// ask runs psql in a container and returns what it printed.
func ask(t *testing.T, c *lab.PodContainer, server *lab.Server, statement string) string {
	t.Helper()
	got, err := c.Run(t, "env", "PGPASSWORD="+server.Password, "psql", "-XqAt", "-h", server.Addr.Addr().String(),
		"-p", fmt.Sprint(server.Addr.Port()), "-U", server.User, "-d", server.Database, "-c", statement)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(got)
}

// Real pods: two that are selected, one with two containers and one with the
// host's network, one of which a container is, and one that is not.
func TestSelectedPodsAreCapturedAndTheOthersAreNot(t *testing.T) {
	t.Parallel()
	a := lab.NewAgentd(t, lab.Setup{})
	runtime := lab.StartContainerd(t, a.Root)
	lab.Connect(t, runtime.Netns, "10.78.0.1", lab.NewNetns(t), "10.78.0.2")
	server := lab.Postgres(t, lab.InNetns(runtime.Netns.Path), lab.ListenOn("10.78.0.1"))

	pod := func(name, capture string, host bool) *lab.Pod {
		return runtime.Pod(t, lab.PodSpec{
			Namespace: "agents", Name: name, HostNetwork: host,
			Labels: map[string]string{"agentd.dev/capture": capture, "app": name},
		})
	}
	web := pod("web", "true", false)
	before := web.Container(t, "main") // before agentd
	half := pod("half", "half", false)
	other := pod("other", "false", false).Container(t, "main")

	var config string
	edit(t, a, func(text string) string {
		config = text + fmt.Sprintf("targets: [{name: orders, address: %q, protocol: postgres, default: allow}]\n", server.Addr)
		return config
	})
	selecting := func(entries string) {
		edit(t, a, func(string) string {
			return strings.Replace(config, "capture: {", "capture: {runtime: "+runtime.Socket+", select: ["+entries+"], ", 1)
		})
	}
	const entries = `{namespace: ["a*"], labels: {agentd.dev/capture: "true"}}, {name: part, namespace: agents, labels: {agentd.dev/capture: half}, container: one}`
	selecting(entries)
	if err := a.Start(t); err != nil {
		t.Fatal(err)
	}
	side := web.Container(t, "side") // after agentd
	one, two := half.Container(t, "one"), half.Container(t, "two")
	node := pod("node", "true", true).Container(t, "main")

	for _, tt := range []struct {
		c    *lab.PodContainer
		from string
	}{
		{before, web.Addr.String()},
		{side, web.Addr.String()},
		{one, half.Addr.String()},
		{two, half.Addr.String()},
		{node, "10.78.0.1"},
		{other, other.Pod.Addr.String()},
	} {
		if got := ask(t, tt.c, server, "select host(client_addr) from pg_stat_activity where pid = pg_backend_pid()"); got != tt.from {
			t.Errorf("%s of %s: the server sees %q, want %s\n%s", tt.c.Name, tt.c.Pod.Name, got, tt.from, a.Said())
		}
	}
	var got []string
	for _, s := range summaries(t, a) {
		got = append(got, strings.Join([]string{s.Workload, s.Source, s.Namespace, s.Pod, s.Container, s.Labels["app"]}, " "))
		if s.PodUID == "" || s.ContainerID == "" || s.Image != lab.Image {
			t.Errorf("the session of %s has pod %q, container %q and image %q", s.Pod, s.PodUID, s.ContainerID, s.Image)
		}
	}
	want := []string{
		"agents/web pod agents web main web", "agents/web pod agents web side web",
		"part pod agents half one half", "agents/node pod agents node main node",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got sessions\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	captured := map[string]string{}
	for _, w := range status(t, a).Workloads {
		captured[w.Name] = w.Namespace + "/" + w.Pod + "/" + w.Container
	}
	if want := map[string]string{"agents/web": "agents/web/", "agents/node": "agents/node/", "part": "agents/half/one"}; !maps.Equal(captured, want) {
		t.Errorf("got workloads %v, want %v", captured, want)
	}
	if out, err := a.Ctl(t, "sessions", "list", "--pod", "agents/half"); err != nil || strings.Count(out, "\n") != 2 {
		t.Errorf("sessions list --pod printed %s, %v, want one session", out, err)
	}

	// Other pods are selected while they run.
	selecting(`{namespace: agents, labels: {app: other}}`)
	eventually(t, a, "another pod is selected", func(s control.Status) bool {
		return len(s.Workloads) == 1 && s.Workloads[0].Name == "agents/other" && s.Capture.Verified
	})
	total := status(t, a).Sessions.Total
	for _, c := range []*lab.PodContainer{before, other, node} {
		if got := ask(t, c, server, "select 1"); got != "1" {
			t.Errorf("%s: got %q, want it served", c.Pod.Name, got)
		}
	}
	if s := status(t, a); s.Sessions.Total != total+1 {
		t.Errorf("got %d sessions, want one more than %d", s.Sessions.Total, total)
	}
	other.Pod.Remove(t)
	eventually(t, a, "the pod is gone", func(s control.Status) bool { return len(s.Workloads) == 0 })
}

// A container whose first act is to connect is captured, whatever tells of it
// first.
func TestAContainerThatConnectsAtOnceIsCaptured(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start func(testing.TB, *lab.Cgroup) *lab.Containerd
	}{
		{"told by its cgroup", lab.StartContainerd},
		{"told by NRI", lab.StartContainerd2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := lab.NewAgentd(t, lab.Setup{})
			runtime := tt.start(t, a.Root)
			lab.Connect(t, runtime.Netns, "10.78.0.1", lab.NewNetns(t), "10.78.0.2")
			server := lab.Postgres(t, lab.InNetns(runtime.Netns.Path), lab.ListenOn("10.78.0.1"))
			edit(t, a, func(config string) string {
				config = strings.Replace(config, "capture: {", fmt.Sprintf("capture: {runtime: %q, nri: %q, select: [{namespace: agents}], ", runtime.Socket, runtime.NRI), 1)
				return config + fmt.Sprintf("targets: [{name: orders, address: %q, protocol: postgres, default: allow}]\n", server.Addr)
			})
			if err := a.Start(t); err != nil {
				t.Fatal(err)
			}
			const many = 5
			for i := range many {
				pod := runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: fmt.Sprint("p", i)})
				status, log := pod.Container(t, "main", "/usr/bin/env", "PGPASSWORD="+server.Password, "psql", "-XqAt", "-h", "10.78.0.1",
					"-U", server.User, "-d", server.Database, "-c", "select 'served'").Wait(t)
				if status != 0 || !strings.Contains(log, "served") {
					t.Errorf("pod %d ended with %d and said %s\n%s", i, status, log, a.Said())
				}
				pod.Remove(t)
			}
			if s := status(t, a); s.Sessions.Total != many {
				t.Errorf("got %d sessions, want %d: the others went past", s.Sessions.Total, many)
			}
			for _, s := range summaries(t, a) {
				if s.Namespace != "agents" || !strings.HasPrefix(s.Workload, "agents/p") || s.Container != "main" {
					t.Errorf("a session is of %+v, want one of agents/p*", s)
				}
			}
			eventually(t, a, "all pods are gone", func(s control.Status) bool { return len(s.Workloads) == 0 })
		})
	}
}
