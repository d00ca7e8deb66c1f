package lab_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

func TestPodsAreReal(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start func(testing.TB, *lab.Cgroup) *lab.Containerd
	}{
		{"the distribution's containerd", lab.StartContainerd},
		{"containerd 2", lab.StartContainerd2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runtime := tt.start(t, lab.NewCgroup(t))
			pod := runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: "web"})
			if !strings.HasPrefix(pod.Addr.String(), "10.77.") {
				t.Errorf("the pod's address is %s, want one of %s", pod.Addr, lab.PodNetwork)
			}
			c := pod.Container(t, "main")
			if got, err := c.Run(t, "psql", "--version"); !strings.HasPrefix(got, "psql (PostgreSQL)") {
				t.Errorf("psql in the container says %q (%v), want its version", got, err)
			}
			if status, log := pod.Container(t, "short", "/bin/sh", "-c", "echo hello; exit 3").Wait(t); status != 3 || !strings.Contains(log, "hello") {
				t.Errorf("the container ended with %d and %q, want 3 and hello", status, log)
			}
			if _, err := os.Stat(c.Dir()); err != nil {
				t.Error(err)
			}
			pod.Remove(t)
			if _, err := os.Stat(pod.Dir()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("stat %s: %v, want that it does not exist", pod.Dir(), err)
			}
		})
	}
}

func TestPodsOfTheHostsNetworkShareTheRuntimesNamespace(t *testing.T) {
	runtime := lab.StartContainerd(t, lab.NewCgroup(t))
	c := runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: "node", HostNetwork: true}).Container(t, "main")
	want, err := os.Readlink(runtime.Netns.Path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Run(t, "readlink", "/proc/self/ns/net")
	if strings.TrimSpace(got) != want || err != nil {
		t.Errorf("the container is in %s (%v), want %s", got, err, want)
	}
}

func TestPodsReachAServerInAnotherNamespaceFromTheirOwnAddress(t *testing.T) {
	runtime := lab.StartContainerd(t, lab.NewCgroup(t))
	database := lab.NewNetns(t)
	lab.Connect(t, runtime.Netns, "10.78.0.1", database, "10.78.0.2")
	database.Route(t, lab.PodNetwork, "10.78.0.1")
	server := lab.Postgres(t, lab.InNetns(database.Path), lab.ListenOn("10.78.0.2"))
	url := "postgres://" + server.User + ":" + server.Password + "@10.78.0.2/" + server.Database

	pod := runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: "web"})
	host := runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: "node", HostNetwork: true})
	for _, tt := range []struct {
		*lab.Pod
		want string
	}{{pod, pod.Addr.String()}, {host, "10.78.0.1"}} {
		got, err := tt.Container(t, "main").Run(t, "psql", "-XqAt", url, "-c", "SELECT inet_client_addr()")
		if strings.TrimSpace(got) != tt.want || err != nil {
			t.Errorf("pod %s connects from %q (%v), want %s", tt.Name, got, err, tt.want)
		}
	}
}
