package cluster

import (
	"os"
	"path/filepath"
	"testing"

	"agentd.dev/agentd/internal/image"
)

// startRuntime starts containerd with a network of cables to each pod, and
// gives it the image that pods begin with.
func (n *Node) startRuntime(t testing.TB) {
	t.Helper()
	networks := filepath.Join(n.Dir, "networks")
	if err := os.Mkdir(networks, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(networks, "pods.conflist"), `{
  "cniVersion": "0.4.0", "name": "pods", "plugins": [
    {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "`+Pods+`"}]], "routes": [{"dst": "0.0.0.0/0"}]}}
  ]
}
`)
	config := filepath.Join(n.Dir, "containerd.toml")
	write(t, config, `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "`+image.Pause+`"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "`+networks+`"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`)
	n.start(t, "containerd", "--config", config)
	n.Await(t, "containerd", func() error { return n.Command(t, "ctr", "version").Run() })
	n.Import(t, image.Pause)
}

// Import builds an image and gives it to the node.
func (n *Node) Import(t testing.TB, name string) {
	t.Helper()
	archive := image.Build(t, name)
	if out, err := n.Command(t, "ctr", "--namespace", "k8s.io", "images", "import", "--snapshotter", "native", archive).CombinedOutput(); err != nil {
		t.Fatalf("import %s: %v\n%s", name, err, out)
	}
}
