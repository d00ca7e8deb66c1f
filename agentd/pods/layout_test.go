package pods_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/pods"
)

var (
	first = strings.Repeat("0a", 32) // ids of containers
	other = strings.Repeat("1b", 32)
)

// Runtimes with systemd, and those other than containerd, do not run in the
// lab; what they say of a container is written down here.
func TestLayoutsOfCgroups(t *testing.T) {
	root := lab.NewCgroup(t)
	const slice = "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod11_22.slice"
	for _, tt := range []struct {
		name        string
		cgroupsPath string // in the runtime's specification of container first
		path        string // of the cgroup that is asked about
		id          string // want; "" for none
	}{
		{"cgroupfs", "/kubepods/besteffort/pod11-22/" + first, "/kubepods/besteffort/pod11-22/" + first, first},
		{"containerd with systemd", "kubepods-besteffort-pod11_22.slice:cri-containerd:" + first, slice + "/cri-containerd-" + first + ".scope", first},
		{"CRI-O with systemd", "kubepods-besteffort-pod11_22.slice:crio:" + first, slice + "/crio-" + first + ".scope", first},
		{"CRI-O with cgroupfs", "/kubepods/besteffort/pod11-22/crio-" + first, "/kubepods/besteffort/pod11-22/crio-" + first, first},
		{"systemd without a slice", ":crio:" + first, "/system.slice/crio-" + first + ".scope", first},
		{"below a container", "/kubepods/pod11-22/" + first, "/kubepods/pod11-22/" + first + "/docker/" + other, first},
		{"its pod's cgroup", "/kubepods/pod11-22/" + first, "/kubepods/pod11-22", ""},
		{"another place", "/kubepods/pod11-22/" + first, "/user.slice/" + first, ""},
		{"a place that depends on the runtime's own", "kubepods/" + first, "/kubepods/" + first, ""},
		{"no id", "/kubepods/pod11-22/" + first, "/kubepods/pod11-22/" + first[1:], ""},
		{"CRI-O's own process", "kubepods-pod11_22.slice:crio:" + first, "/kubepods.slice/kubepods-pod11_22.slice/crio-conmon-" + first + ".scope", ""},
		{"docker with systemd", "", "/system.slice/docker-" + other + ".scope", other},
		{"docker with cgroupfs", "", "/docker/" + other + "/inner", other},
		{"podman with systemd", "", "/machine.slice/libpod-" + other + ".scope/container", other},
		{"podman with cgroupfs", "", "/libpod_parent/libpod-" + other, other},
		{"not a container", "", "/system.slice/ssh.service", ""},
		{"the top", "", "/", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			socket := serve(t, &script{cgroupsPath: tt.cgroupsPath})
			node, err := pods.Open(pods.Options{Runtime: socket, Root: root.Path})
			if err != nil {
				t.Fatal(err)
			}
			defer node.Close()
			got, ok := node.Lookup(t.Context(), tt.path)
			if got.ID != tt.id || ok != (tt.id != "") {
				t.Errorf("Lookup(%q) is %q, %v, want %q", tt.path, got.ID, ok, tt.id)
			}
		})
	}
}

// A script is a runtime with the one container first.
type script struct {
	cri.UnimplementedRuntimeServiceServer
	cgroupsPath string
}

func (s *script) ContainerStatus(_ context.Context, ask *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	if ask.ContainerId != first {
		return nil, status.Error(codes.NotFound, "no such container")
	}
	info := fmt.Sprintf(`{"sandboxID": "pod", "runtimeSpec": {"linux": {"cgroupsPath": %q}}}`, s.cgroupsPath)
	return &cri.ContainerStatusResponse{Status: &cri.ContainerStatus{Id: first}, Info: map[string]string{"info": info}}, nil
}

func (s *script) PodSandboxStatus(_ context.Context, ask *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	if ask.PodSandboxId != "pod" {
		return nil, status.Error(codes.NotFound, "no such sandbox")
	}
	return &cri.PodSandboxStatusResponse{Status: &cri.PodSandboxStatus{Id: "pod"}, Info: map[string]string{"info": "{}"}}, nil
}

// serve serves CRI until the test ends and returns the socket's path.
func serve(t *testing.T, runtime cri.RuntimeServiceServer) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "cri.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(server, runtime)
	done := make(chan error)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return socket
}
