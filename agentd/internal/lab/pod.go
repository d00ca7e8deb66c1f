package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// podTimeout bounds each thing that is asked of a runtime.
const podTimeout = time.Minute

// A PodSpec says what pod to make.
type PodSpec struct {
	Namespace, Name     string
	Labels, Annotations map[string]string
	HostNetwork         bool         // in Containerd.Netns
	Mounts              []*cri.Mount // for each container, beside the host's programs
}

// A Pod is a real pod, made as kubelet makes them.
type Pod struct {
	PodSpec
	UID  string
	ID   string     // of its sandbox
	Addr netip.Addr // the zero value with hostNetwork
	Path string     // its cgroup, below the hierarchy's root; containers are at Path/ID

	lab    *Containerd
	config *cri.PodSandboxConfig
}

// A PodContainer is one of a pod's containers.
type PodContainer struct {
	ID, Name string
	Pod      *Pod

	log string
}

// Pod makes and starts a pod without containers.
func (c *Containerd) Pod(t testing.TB, spec PodSpec) *Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), podTimeout)
	defer cancel()
	p := &Pod{PodSpec: spec, UID: uid(), lab: c}
	p.Path = filepath.Join(c.Parent, "besteffort", "pod"+p.UID)
	// Kubelet makes a pod's cgroup before it asks for the pod.
	if err := os.MkdirAll(filepath.Join(c.pods.Path, "besteffort", "pod"+p.UID), 0o755); err != nil {
		t.Fatal(err)
	}
	logs := filepath.Join(c.dir, "logs", p.UID)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	p.config = p.sandboxConfig(logs)
	runtime := c.Runtime(t)
	run, err := runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: p.config})
	if err != nil {
		t.Fatalf("run pod %s/%s: %v\n%s", spec.Namespace, spec.Name, err, c.Said())
	}
	p.ID = run.PodSandboxId
	status, err := runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: p.ID})
	if err != nil {
		t.Fatal(err)
	}
	p.Addr, _ = netip.ParseAddr(status.Status.Network.GetIp())
	return p
}

func (p *Pod) sandboxConfig(logs string) *cri.PodSandboxConfig {
	network := cri.NamespaceMode_POD
	if p.HostNetwork {
		network = cri.NamespaceMode_NODE
	}
	labels := map[string]string{
		"io.kubernetes.pod.name":      p.Name,
		"io.kubernetes.pod.namespace": p.Namespace,
		"io.kubernetes.pod.uid":       p.UID,
	}
	for k, v := range p.Labels {
		labels[k] = v
	}
	return &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: p.Name, Uid: p.UID, Namespace: p.Namespace},
		LogDirectory: logs,
		Labels:       labels,
		Annotations:  p.Annotations,
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    p.Path,
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{Network: network}},
		},
	}
}

// Container starts a container with a command of the host's, which sees the
// host's programs and settings. Without a command it does nothing.
func (p *Pod) Container(t testing.TB, name string, command ...string) *PodContainer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), podTimeout)
	defer cancel()
	config := &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: name},
		Image:    &cri.ImageSpec{Image: Image},
		Command:  command,
		LogPath:  name + ".log",
		Mounts:   append([]*cri.Mount{hostMount("/usr"), hostMount("/etc")}, p.Mounts...),
		Labels: map[string]string{
			"io.kubernetes.container.name": name,
			"io.kubernetes.pod.name":       p.Name,
			"io.kubernetes.pod.namespace":  p.Namespace,
			"io.kubernetes.pod.uid":        p.UID,
		},
		Linux: &cri.LinuxContainerConfig{
			SecurityContext: &cri.LinuxContainerSecurityContext{
				NamespaceOptions: p.config.Linux.SecurityContext.NamespaceOptions,
			},
		},
	}
	runtime := p.lab.Runtime(t)
	made, err := runtime.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: p.ID, Config: config, SandboxConfig: p.config})
	if err != nil {
		t.Fatalf("create container %s of %s/%s: %v\n%s", name, p.Namespace, p.Name, err, p.lab.Said())
	}
	c := &PodContainer{ID: made.ContainerId, Name: name, Pod: p, log: filepath.Join(p.config.LogDirectory, config.LogPath)}
	if _, err := runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: c.ID}); err != nil {
		t.Fatalf("start container %s of %s/%s: %v\n%s", name, p.Namespace, p.Name, err, p.lab.Said())
	}
	return c
}

// hostMount is a folder of the host's, which containers cannot change.
func hostMount(path string) *cri.Mount {
	return &cri.Mount{HostPath: path, ContainerPath: path, Readonly: true}
}

// Run runs one more command in the container and returns what it printed. An
// error holds what it said.
func (c *PodContainer) Run(t testing.TB, command ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), podTimeout)
	defer cancel()
	done, err := c.Pod.lab.Runtime(t).ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: c.ID, Cmd: command})
	if err != nil {
		return "", fmt.Errorf("run %s: %w", command[0], err)
	}
	if done.ExitCode != 0 {
		return string(done.Stdout), fmt.Errorf("%s ended with status %d\n%s", command[0], done.ExitCode, done.Stderr)
	}
	return string(done.Stdout), nil
}

// Wait returns once the container has ended, with its exit status and what it
// printed, each line after the runtime's time, stream and tag.
func (c *PodContainer) Wait(t testing.TB) (status int, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), podTimeout)
	defer cancel()
	for {
		answer, err := c.Pod.lab.Runtime(t).ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: c.ID})
		if err != nil {
			t.Fatalf("wait for container %s: %v", c.Name, err)
		}
		if answer.Status.State == cri.ContainerState_CONTAINER_EXITED {
			text, err := os.ReadFile(c.log)
			if err != nil {
				t.Fatal(err)
			}
			return int(answer.Status.ExitCode), string(text)
		}
		time.Sleep(10 * time.Millisecond) // the distribution's containerd tells of no events
	}
}

// Stop ends the container.
func (c *PodContainer) Stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), podTimeout)
	defer cancel()
	if _, err := c.Pod.lab.Runtime(t).StopContainer(ctx, &cri.StopContainerRequest{ContainerId: c.ID}); err != nil {
		t.Fatalf("stop container %s: %v", c.Name, err)
	}
}

// Dir returns the directory of the container's cgroup.
func (c *PodContainer) Dir() string {
	return filepath.Join(c.Pod.Dir(), c.ID)
}

// Dir returns the directory of the pod's cgroup.
func (p *Pod) Dir() string {
	return filepath.Join(p.lab.pods.Path, "besteffort", "pod"+p.UID)
}

// Remove ends the pod and removes it, as kubelet does when it is deleted.
func (p *Pod) Remove(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), podTimeout)
	defer cancel()
	runtime := p.lab.Runtime(t)
	if _, err := runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.ID}); err != nil {
		t.Fatalf("stop pod %s/%s: %v", p.Namespace, p.Name, err)
	}
	if _, err := runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.ID}); err != nil {
		t.Fatalf("remove pod %s/%s: %v", p.Namespace, p.Name, err)
	}
	if err := errors.Join(os.Remove(p.Dir()), removeV1(p.Path)); err != nil {
		t.Fatalf("remove the cgroup of pod %s/%s: %v", p.Namespace, p.Name, err)
	}
}

// uid returns an id in the form of Kubernetes' own.
func uid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	return strings.ToLower(text)
}
