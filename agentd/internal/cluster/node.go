// Package cluster runs a whole Kubernetes of one node for a test: etcd, the API
// server, controller manager, scheduler and kubelet as scripts/k8s/build.sh makes
// them, and the distribution's containerd.
//
// The node has a network namespace, a mount namespace and cgroups of its own.
// In it everything is where it is on any node (/run/containerd, /var/lib/kubelet,
// /sys/fs/bpf), and nothing of it is this machine's: no setting, route, mount or
// file is left when the test ends, in whatever way it ends. Processes are the
// machine's, as agentd has to see them.
package cluster

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentd.dev/agentd/internal/lab"
)

// Addresses in the node's network namespace. Pods are in Pods.
const (
	Name    = "agentd-node"
	Address = "10.77.0.1" // of the node
	Outside = "10.77.0.2" // of what is beside the node, on the cable
	Pods    = "10.88.0.0/16"
	service = "10.96.0.1" // of the API server, for pods
)

// A Node is a cluster of one node.
type Node struct {
	Dir     string     // scratch folder
	Netns   *lab.Netns // of the node
	Beside  *lab.Netns // what is at Outside: has routes to the pods
	Cgroup  string     // the directory that holds all of its cgroups, in the v2 hierarchy
	Parent  string     // the same below the hierarchy's root, as "/agentd-k8s-1"
	bin     string     // folder of programs
	holder  *lab.Process
	keys    *authority
	waiting time.Duration // for anything that should come
}

// Start starts a node and returns once it is Ready.
func Start(t testing.TB) *Node {
	t.Helper()
	n := &Node{bin: programs(t), waiting: 2 * time.Minute}
	n.Dir = scratch(t)
	n.makeCgroups(t)
	n.makeNetwork(t)
	n.hold(t)
	n.keys = newAuthority(t, filepath.Join(n.Dir, "pki"))
	n.startRuntime(t)
	n.startControlPlane(t)
	n.startKubelet(t)
	t.Log("the node is up")
	return n
}

// programs builds what Kubernetes consists of, or finds it built.
func programs(t testing.TB) string {
	t.Helper()
	build := exec.Command(filepath.Join(lab.Root(t), "scripts/k8s/build.sh"))
	build.Stderr = os.Stderr
	out, err := build.Output()
	if err != nil {
		t.Fatalf("build Kubernetes: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// scratch makes a folder whose path is short, since sockets are in it.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agentd-k8s-")
	if err != nil {
		t.Fatal(err)
	}
	return dir // janitor.sh removes it
}

// makeCgroups makes the node's cgroup in each hierarchy, and has it and the
// scratch folder removed when the test ends. With it, all that runs there ends.
func (n *Node) makeCgroups(t testing.TB) {
	t.Helper()
	n.Parent = "/" + filepath.Base(n.Dir)
	n.janitor(t)
	n.Cgroup = makeCgroups(t, n.Parent)
}

//go:embed janitor.sh
var janitorScript string

// janitor starts what cleans up: a shell of its own, which waits for its input
// to end. So it works too when the test is killed.
func (n *Node) janitor(t testing.TB) {
	t.Helper()
	cmd := exec.Command("/bin/bash", "-c", janitorScript, "janitor", n.Dir, n.Parent)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for it
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	alive, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		alive.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("clean up after the node: %v", err)
		}
	})
}

//go:embed mounts.sh
var mountsScript string

// hold starts the process that the node's namespaces belong to.
func (n *Node) hold(t testing.TB) {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--", "/bin/bash", "-c", mountsScript, "mounts", n.Dir)
	cmd.Stderr = os.Stderr
	n.holder = lab.Start(t, n.inCgroup(t, cmd), n.Netns.Path, syscall.SIGKILL)
	n.Await(t, "the node's mounts", func() error {
		_, err := os.Stat(filepath.Join(n.Dir, "mounted"))
		return err
	})
}

// Command prepares a program to run on the node.
func (n *Node) Command(t testing.TB, program string, args ...string) *exec.Cmd {
	t.Helper()
	if path := filepath.Join(n.bin, program); isFile(path) {
		program = path
	}
	pid := fmt.Sprint(n.holder.Cmd.Process.Pid)
	cmd := exec.Command("nsenter", append([]string{"--target", pid, "--mount", "--net", "--", program}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+n.Dir, "KUBECONFIG="+n.kubeconfig("admin"))
	return n.inCgroup(t, cmd)
}

// start starts a part of the node, which logs to a file of its name.
func (n *Node) start(t testing.TB, program string, args ...string) {
	t.Helper()
	cmd := n.Command(t, program, args...)
	log, err := os.Create(n.logOf(program))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	lab.Start(t, cmd, "", syscall.SIGKILL)
}

func (n *Node) logOf(program string) string {
	return filepath.Join(n.Dir, filepath.Base(program)+".log")
}

// Await returns once ready does without an error, and fails the test if that
// takes too long.
func (n *Node) Await(t testing.TB, what string, ready func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(n.waiting); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err = ready(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within %v: %v", what, n.waiting, err)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
