package image_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"agentd.dev/agentd/internal/image"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/recorder"
)

const (
	node     = "10.99.0.1"
	database = "10.99.0.2"
)

// The image that the Dockerfile makes, run as deploy/daemonset.yaml says with
// the configuration of deploy/config.yaml, captures the psql of a pod.
func TestTheImageCapturesAnotherPodAsTheDaemonSetSays(t *testing.T) {
	root := lab.NewCgroup(t)
	runtime := lab.StartContainerd2(t, root)
	runtime.Import(t, image.Build(t, image.Agentd))
	db := besideTheNode(t, runtime)
	client := runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: "reporter", Labels: map[string]string{"agentd.dev/capture": "true"}}).Container(t, "main")
	other := runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: "other"}).Container(t, "main")

	d := startDaemon(t, runtime, root, db)
	d.await(t, d.spec.Containers[0].ReadinessProbe.Exec.Command)
	d.run(t, d.spec.Containers[0].LivenessProbe.Exec.Command...)

	for _, c := range []*lab.PodContainer{client, other} {
		if got := psql(t, c, db, "SELECT inet_client_addr()"); got != c.Pod.Addr.String() {
			t.Errorf("the database sees %s, want %s, the pod's", got, c.Pod.Addr)
		}
	}
	// One that connects as its first act.
	late := runtime.Pod(t, lab.PodSpec{Namespace: "agents", Name: "late", Labels: map[string]string{"agentd.dev/capture": "true"}})
	if status, log := late.Container(t, "main", query(db, "SELECT 1")...).Wait(t); status != 0 {
		t.Errorf("the pod ends with %d, want 0: %s", status, log)
	}
	var sessions []recorder.Summary
	if err := json.Unmarshal([]byte(d.run(t, "agentctl", "sessions", "list", "--output=json")), &sessions); err != nil {
		t.Fatal(err)
	}
	for i, pod := range []string{"reporter", "late"} {
		if len(sessions) != 2 || sessions[i].Pod != pod || sessions[i].Namespace != "agents" || sessions[i].Target != "orders" {
			t.Errorf("sessions are %+v, want one of agents/reporter and one of agents/late, to orders", sessions)
			break
		}
	}

	d.stop(t)
	if left := attached(t, root); len(left) > 0 {
		t.Errorf("stopped, it leaves %v attached", left)
	}
	if got := psql(t, client, db, "SELECT 1"); got != "1" {
		t.Errorf("without agentd the client gets %q, want 1", got)
	}
}

// besideTheNode starts a database in a network namespace that pods reach by way
// of the node's.
func besideTheNode(t *testing.T, runtime *lab.Containerd) *lab.Server {
	t.Helper()
	beside := lab.NewNetns(t)
	cable := lab.Connect(t, runtime.Netns, node, beside, database)
	beside.Do(t, func() error {
		l, err := netlink.LinkByName(cable)
		if err != nil {
			return err
		}
		pods, err := netlink.ParseIPNet(lab.PodNetwork)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: pods, Gw: net.ParseIP(node)})
	})
	return lab.Postgres(t, lab.InNetns(beside.Path), lab.ListenOn(database))
}

// query is a command that asks db.
func query(db *lab.Server, statement string) []string {
	return []string{"env", "PGPASSWORD=" + db.Password, "psql", "-XqAt", "-h", database, "-U", db.User, "-d", db.Database, "-c", statement}
}

func psql(t *testing.T, c *lab.PodContainer, db *lab.Server, statement string) string {
	t.Helper()
	out, err := c.Run(t, query(db, statement)...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// A daemon is the DaemonSet's pod on the lab's node.
type daemon struct {
	spec    *podSpec
	runtime cri.RuntimeServiceClient
	id      string
	log     string
}

// startDaemon does what kubelet does, and the changes that an operator has to
// make in the ConfigMap. It is attached to the lab's cgroups only.
func startDaemon(t *testing.T, runtime *lab.Containerd, root *lab.Cgroup, db *lab.Server) *daemon {
	t.Helper()
	deploy := manifests(t)
	set := deploy["DaemonSet/agentd"]
	d := &daemon{spec: &set.Spec.Template.Spec, runtime: runtime.Runtime(t)}
	dir := t.TempDir()
	folders := map[string]string{"agentd": filepath.Join(dir, "config"), "agentd-policies": filepath.Join(dir, "policies")}
	writeConfigMap(t, folders["agentd"], deploy["ConfigMap/agentd"],
		"capture:\n", "capture:\n  root: "+root.Path+"\n",
		"targets: []\n", fmt.Sprintf("targets: [{name: orders, address: %q, protocol: postgres, default: allow}]\n", db.Addr))
	writeConfigMap(t, folders["agentd-policies"], deploy["ConfigMap/agentd-policies"])

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d.log = filepath.Join(dir, "agentd.log")
	pod := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: "agentd-lab", Uid: "agentd-lab", Namespace: set.Metadata.Namespace},
		Labels:       set.Spec.Template.Metadata.Labels,
		LogDirectory: dir,
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    runtime.Parent,
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: d.spec.namespaces()},
		},
	}
	sandbox, err := d.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: pod})
	if err != nil {
		t.Fatalf("run the pod: %v\n%s", err, runtime.Said())
	}
	config := d.spec.containerConfig(t, folders)
	config.LogPath = filepath.Base(d.log)
	made, err := d.runtime.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: sandbox.PodSandboxId, Config: config, SandboxConfig: pod})
	if err != nil {
		t.Fatalf("create the container: %v\n%s", err, runtime.Said())
	}
	d.id = made.ContainerId
	if _, err := d.runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: d.id}); err != nil {
		t.Fatalf("start the container: %v\n%s", err, runtime.Said())
	}
	return d
}

// await runs a command in the container until it succeeds.
func (d *daemon) await(t *testing.T, command []string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		out, err := d.exec(t, command)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%v\n%s\nagentd says:\n%s", err, out, d.said())
		}
	}
}

// run runs a command in the container, which must succeed.
func (d *daemon) run(t *testing.T, command ...string) string {
	t.Helper()
	out, err := d.exec(t, command)
	if err != nil {
		t.Fatalf("%v\n%s\nagentd says:\n%s", err, out, d.said())
	}
	return out
}

func (d *daemon) exec(t *testing.T, command []string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done, err := d.runtime.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: d.id, Cmd: command})
	switch {
	case err != nil:
		return "", err
	case done.ExitCode != 0:
		return string(done.Stdout), fmt.Errorf("%s ended with status %d: %s", strings.Join(command, " "), done.ExitCode, done.Stderr)
	}
	return string(done.Stdout), nil
}

// stop ends the container with SIGTERM, which it must heed.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := d.runtime.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: d.id, Timeout: 30}); err != nil {
		t.Fatal(err)
	}
	answer, err := d.runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: d.id})
	if err != nil {
		t.Fatal(err)
	}
	if code := answer.Status.ExitCode; code != 0 {
		t.Errorf("agentd ends with %d, want 0:\n%s", code, d.said())
	}
}

func (d *daemon) said() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// attached lists the programs that are attached to a cgroup.
func attached(t *testing.T, root *lab.Cgroup) (list []string) {
	t.Helper()
	dir, err := os.Open(root.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for _, at := range []ebpf.AttachType{
		ebpf.AttachCGroupInet4Connect, ebpf.AttachCGroupInet6Connect, ebpf.AttachCGroupSockOps,
		ebpf.AttachCGroupInetEgress, ebpf.AttachCGroupInetSockCreate,
	} {
		result, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: at})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range result.Programs {
			list = append(list, fmt.Sprintf("%v %d", at, p.ID))
		}
	}
	return list
}
