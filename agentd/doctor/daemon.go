package doctor

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

func daemon(n *Node) []Finding {
	s := &n.Status
	switch {
	case n.Absent != nil:
		return fail("start it, or give its socket with --socket", "%v", n.Absent)
	case s.Capture.Problem != "":
		return fail("see `agentctl workloads`", "version %s, pid %d: %s", s.Version, s.PID, s.Capture.Problem)
	case s.Policy.Error != "":
		return warn("correct the files", "policy files are not in force as they are: %s", s.Policy.Error)
	case len(s.Workloads) == 0:
		return warn("name workloads in the configuration, or use `agentctl run`", "version %s, pid %d: it captures nothing", s.Version, s.PID)
	}
	return ok("version %s, pid %d, captures %d workloads", s.Version, s.PID, len(s.Workloads))
}

// disk looks at the room that is left for the record: without it, nothing that
// is asked goes out.
func disk(n *Node) []Finding {
	const little, tooLittle = 1 << 30, 64 << 20
	if n.Absent != nil {
		return warn("", "only the daemon knows where it is")
	}
	log := n.Status.Log
	if log.Problem != "" {
		return fail("make room, or look at the disk", "%s", log.Problem)
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(log.Folder, &stat); err != nil {
		return warn("run the doctor in the host's mount namespace", "%s: %v", log.Folder, err)
	}
	free := stat.Bavail * uint64(stat.Bsize)
	const advice = "make room: without a record, nothing goes out"
	switch {
	case free < tooLittle:
		return fail(advice, "%d MiB are free for %s", free>>20, log.Folder)
	case free < little:
		return warn(advice, "%d MiB are free for %s", free>>20, log.Folder)
	}
	return ok("%d GiB are free for %s", free>>30, log.Folder)
}

// runtimeSockets are where container runtimes listen.
var runtimeSockets = []string{
	"/run/containerd/containerd.sock",
	"/run/crio/crio.sock",
	"/run/docker.sock",
	"/run/podman/podman.sock",
	"/run/k3s/containerd/containerd.sock",
	"/run/cri-dockerd.sock",
	"/run/buildkit/buildkitd.sock",
}

// sockets are those of n that are there.
func (n *Node) sockets() (there []string) {
	for _, path := range slices.Concat(runtimeSockets, n.Sockets) {
		if isSocket(path) {
			there = append(there, path)
		}
	}
	return there
}

func runtimes(n *Node) (all []Finding) {
	for _, path := range n.sockets() {
		all = append(all, ok("%s", path)...)
	}
	if all == nil {
		return ok("no container runtime listens where they usually do")
	}
	return all
}

func nri(n *Node) []Finding {
	const path = "/var/run/nri/nri.sock"
	if n.sockets() == nil {
		return ok("there is no container runtime that could have it")
	}
	if !isSocket(path) {
		return warn("enable NRI in the runtime (containerd 1.7 or newer: plugins.'io.containerd.nri.v1.nri'.disable = false)",
			"%s is not there: pods are known only a moment after they start; until then capture.unknown decides", path)
	}
	return ok("%s", path)
}

func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&os.ModeSocket != 0
}
