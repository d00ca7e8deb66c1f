package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// configure writes containerd's configuration and that of its network: a cable
// for each pod, no bridge and no firewall rules.
func (c *Containerd) configure(t testing.TB) {
	t.Helper()
	text := config1
	if c.bin != "" {
		text = config2
	}
	words := strings.NewReplacer("DIR", c.dir, "IMAGE", Image, "NETWORK", PodNetwork)
	for name, text := range map[string]string{"config.toml": text, "cni/10-lab.conflist": network} {
		path := filepath.Join(c.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(words.Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const config1 = `version = 2
root = "DIR/root"
state = "DIR/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
address = "DIR/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "DIR/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "IMAGE"
disable_apparmor = true
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "DIR/cni"
`

const config2 = `version = 3
root = "DIR/root"
state = "DIR/state"
disabled_plugins = ["io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.zfs"]

[grpc]
address = "DIR/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "DIR/opt"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "native"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "IMAGE"

[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "DIR/cni"

[plugins."io.containerd.nri.v1.nri"]
disable = false
socket_path = "DIR/nri.sock"
plugin_path = "DIR/nri/plugins"
plugin_config_path = "DIR/nri/conf"
`

const network = `{
  "cniVersion": "0.4.0",
  "name": "lab",
  "plugins": [{
    "type": "ptp",
    "ipam": {
      "type": "host-local",
      "ranges": [[{"subnet": "NETWORK"}]],
      "routes": [{"dst": "0.0.0.0/0"}],
      "dataDir": "DIR/addresses"
    }
  }]
}
`
