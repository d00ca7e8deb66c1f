package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PodNetwork is where the pods of a lab's runtime get their addresses.
const PodNetwork = "10.77.0.0/16"

// A Containerd is a container runtime of our own: the distribution's
// containerd and runc, or a newer containerd. It lives in a network and a
// mount namespace of its own, so that pods with hostNetwork share its Netns,
// and what it mounts, forwards or forgets ends with it. All that it runs is
// below its cgroup.
type Containerd struct {
	Socket  string // of CRI
	NRI     string // socket of NRI; "" if this containerd has none
	Parent  string // cgroup that pods are made in, as kubelet's "/kubepods", below the hierarchy's root
	Netns   *Netns // its own, and that of pods with hostNetwork
	Process *Process

	dir     string
	bin     string   // folder of its programs; "" for the distribution's
	runtime *Cgroup  // of containerd and what it leaves behind when it ends
	pods    *Cgroup  // Parent
	holder  *Process // keeps the mount namespace
	conn    *grpc.ClientConn
}

// StartContainerd starts the distribution's containerd, which has no NRI, and
// returns once it serves. It, its pods, and all they made are gone when the
// test ends, also when the test dies.
func StartContainerd(t testing.TB, root *Cgroup) *Containerd {
	t.Helper()
	return startContainerd(t, root, "")
}

// StartContainerd2 is StartContainerd with a newer one, which has NRI and
// tells of its containers' events.
func StartContainerd2(t testing.TB, root *Cgroup) *Containerd {
	t.Helper()
	return startContainerd(t, root, containerd2(t))
}

func startContainerd(t testing.TB, root *Cgroup, bin string) *Containerd {
	t.Helper()
	// Not t.TempDir: a path of a socket may have 107 bytes at most.
	dir, err := os.MkdirTemp("", "agentd-cri-")
	if err != nil {
		t.Fatal(err)
	}
	c := &Containerd{
		Socket:  filepath.Join(dir, "containerd.sock"),
		Parent:  filepath.Join("/", filepath.Base(root.Path), "kubepods"),
		Netns:   NewNetns(t),
		dir:     dir,
		bin:     bin,
		runtime: root.Child(t, "runtime"),
		pods:    root.Child(t, "kubepods"),
	}
	if bin != "" {
		c.NRI = filepath.Join(dir, "nri.sock")
	}
	c.guard(t)
	t.Cleanup(func() {
		if err := c.remove(); err != nil {
			t.Errorf("remove containerd: %v", err)
		}
	})
	c.hold(t)
	c.configure(t)
	c.Start(t)
	image := filepath.Join(dir, "image.tar")
	writeImage(t, image)
	c.Import(t, image)
	return c
}

// remove ends all that runs and removes what it left.
func (c *Containerd) remove() error {
	if c.conn != nil {
		c.conn.Close()
	}
	// The mounts are gone with the last process in their namespace. They were
	// never visible here, so nothing that is removed belongs to the host.
	if err := errors.Join(c.pods.remove(), c.runtime.remove(), removeV1(c.Parent)); err != nil {
		return err
	}
	return os.RemoveAll(c.dir)
}

// guard starts a process that outlives the test for a moment: once the test is
// gone it ends and removes what the test could not. A panic or a time-out runs
// no cleanup.
func (c *Containerd) guard(t testing.TB) {
	t.Helper()
	const script = `cat >/dev/null
for group in "$2" "$3" /sys/fs/cgroup/*/"$4"; do
	[ -d "$group" ] || continue
	[ -e "$group/cgroup.kill" ] && echo 1 >"$group/cgroup.kill"
	for n in 1 2 3 4 5 6 7 8 9 10; do
		find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
		sleep 0.3
	done
done
rm -rf "$1"`
	cmd := exec.Command("sh", "-c", script, "sh", c.dir, c.pods.Path, c.runtime.Path, filepath.Base(filepath.Dir(c.pods.Path)))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it had nothing to do
		_ = cmd.Wait()
		stdin.Close()
	})
}

// hold makes the mount namespace. It outlives a restart of containerd, as a
// host's does. What containerd keeps at places of the host's is in memory there,
// and its sockets are where they are on any host, as are pins of the lab's own.
func (c *Containerd) hold(t testing.TB) {
	t.Helper()
	const script = `set -e
# What tests beside this one have mounted is theirs to unmount, for good.
awk -v tmp="${TMPDIR:-/tmp}/" 'index($2, tmp) == 1 { print $2 }' /proc/self/mounts | xargs -r umount --lazy
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mount -t bpf bpf /sys/fs/bpf
mkdir /run/containerd /run/nri
mount --bind "$1" /run/containerd
mount --bind "$1" /run/nri
mount --make-rshared /
echo ready
exec sleep infinity`
	cmd := c.runtime.Put(exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", c.dir))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	c.holder = Start(t, cmd, c.Netns.Path, syscall.SIGKILL)
	if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
		<-c.holder.Done()
		t.Fatalf("make a mount namespace: %s", said.String())
	}
}

// inside returns a command that runs in containerd's mount namespace.
func (c *Containerd) inside(program string, args ...string) *exec.Cmd {
	mounts := fmt.Sprintf("--mount=/proc/%d/ns/mnt", c.holder.Cmd.Process.Pid)
	cmd := exec.Command("nsenter", append([]string{mounts, "--", program}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+c.dir)
	if c.bin != "" {
		cmd.Env = append(cmd.Env, "PATH="+c.bin+":"+os.Getenv("PATH"))
	}
	return cmd
}

func (c *Containerd) program(name string) string {
	if c.bin == "" {
		return name
	}
	return filepath.Join(c.bin, name)
}

// Start starts containerd, again after a Stop. Pods live on in between.
func (c *Containerd) Start(t testing.TB) {
	t.Helper()
	said, err := os.OpenFile(filepath.Join(c.dir, "stderr"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd := c.inside(c.program("containerd"), "--config", filepath.Join(c.dir, "config.toml"))
	cmd.Stdout, cmd.Stderr = said, said
	c.Process = Start(t, c.runtime.Put(cmd), c.Netns.Path, syscall.SIGKILL)
	c.await(t)
}

// Stop stops containerd; its pods run on.
func (c *Containerd) Stop() { c.Process.Stop(syscall.SIGTERM) }

// await returns once containerd answers that it is ready, its network too.
func (c *Containerd) await(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		status, err := c.Runtime(t).Status(ctx, &cri.StatusRequest{})
		if err == nil && ready(status.Status) {
			return
		}
		select {
		case <-c.Process.Done():
			t.Fatalf("containerd ended: %v\n%s", c.Process.Wait(), c.Said())
		case <-ctx.Done():
			t.Fatalf("containerd is not ready: %v, %v\n%s", status, err, c.Said())
		case <-time.After(20 * time.Millisecond): // CRI has nothing to wait on
		}
	}
}

func ready(status *cri.RuntimeStatus) bool {
	for _, c := range status.GetConditions() {
		if !c.Status {
			return false
		}
	}
	return len(status.GetConditions()) > 0
}

// Runtime speaks CRI with containerd.
func (c *Containerd) Runtime(t testing.TB) cri.RuntimeServiceClient {
	t.Helper()
	if c.conn == nil {
		conn, err := grpc.NewClient("unix://"+c.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		c.conn = conn
	}
	return cri.NewRuntimeServiceClient(c.conn)
}

// Import adds the images of an archive, docker's or OCI's.
func (c *Containerd) Import(t testing.TB, archive string) {
	t.Helper()
	ctr := c.inside("ctr", "--address", c.Socket, "--namespace", "k8s.io", "images", "import", "--snapshotter", "native", archive)
	if out, err := ctr.CombinedOutput(); err != nil {
		t.Fatalf("ctr images import: %v\n%s", err, out)
	}
}

// Said returns what containerd has printed so far.
func (c *Containerd) Said() string {
	text, err := os.ReadFile(filepath.Join(c.dir, "stderr"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
