package doctor

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/control"
)

// strong are capabilities with which a workload can do what agentd does not
// see, docs/bypass.md.
var strong = []struct {
	name   string
	number int
	why    string
}{
	{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN, "it may be able to leave its cgroup and its namespaces"},
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, "it can forward packets that no process sends, and change where agentd's own go"},
	{"CAP_NET_RAW", unix.CAP_NET_RAW, "packet sockets are seen in strict mode only"},
	{"CAP_SYS_PTRACE", unix.CAP_SYS_PTRACE, "it may be able to act through other processes"},
}

// privileges names captured workloads with processes that have such.
func privileges(n *Node) (all []Finding) {
	for _, w := range n.Status.Workloads {
		found := map[string]string{}
		for _, pid := range processes(&w) {
			set, err := effective(strconv.Itoa(pid))
			if err != nil {
				continue // ended
			}
			for _, c := range strong {
				if set&(1<<c.number) != 0 {
					found[c.name] = c.why
				}
			}
		}
		for _, c := range strong {
			if why, has := found[c.name]; has {
				all = append(all, warn("drop it: securityContext.capabilities, or CapabilityBoundingSet=", "%s has %s: %s", w.Name, c.name, why)...)
			}
		}
	}
	if all == nil {
		return ok("no captured process has a capability that gets around agentd")
	}
	return all
}

// processes are those of a workload, none if they cannot be listed.
func processes(w *control.Workload) []int {
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		return nil
	}
	pids, err := cgroup.Processes(filepath.Join(hierarchy, w.Cgroup))
	if err != nil {
		return nil
	}
	return pids
}

// sockets names captured workloads that can reach a container runtime: whoever
// can talk to one can start what is not captured.
func sockets(n *Node) (all []Finding) {
	wanted := map[file]string{}
	for _, path := range n.sockets() {
		if f, err := identify(path); err == nil {
			wanted[f] = path
		}
	}
	for _, w := range n.Status.Workloads {
		var found []string
		for _, pid := range oneOfEach(processes(&w), "mnt") {
			for _, path := range visible(pid, wanted) {
				if !slices.Contains(found, path) {
					found = append(found, path)
				}
			}
		}
		for _, path := range found {
			all = append(all, warn("do not mount it: who reaches it can start what is not captured", "%s can reach %s", w.Name, path)...)
		}
	}
	if all == nil {
		return ok("no captured process has a runtime's socket in its reach")
	}
	return all
}

// A file is told apart by these, wherever it is mounted.
type file struct{ dev, inode uint64 }

func identify(path string) (file, error) {
	var stat unix.Stat_t
	err := unix.Stat(path, &stat)
	return file{stat.Dev, stat.Ino}, err
}

// oneOfEach returns a process for each namespace of a kind.
func oneOfEach(pids []int, kind string) (some []int) {
	seen := map[file]bool{}
	for _, pid := range pids {
		f, err := identify(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err == nil && !seen[f] {
			seen[f] = true
			some = append(some, pid)
		}
	}
	return some
}

// visible returns which of the wanted files a process has in its view. Its
// mount table only says where to look: what is there is known by its inode.
func visible(pid int, wanted map[file]string) (found []string) {
	if len(wanted) == 0 {
		return nil
	}
	root, err := os.Open(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		return nil // ended
	}
	defer root.Close()
	for _, point := range mounts(pid) {
		found = append(found, below(root, point, wanted)...)
	}
	return found
}

// mounts returns where something is mounted in the view of a process.
func mounts(pid int) (points []string) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 {
			points = append(points, strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4]))
		}
	}
	return points
}

// below looks for wanted files at a mount point and, on the file systems that
// hold them, up to three folders below it.
func below(root *os.File, point string, wanted map[file]string) (found []string) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	fd, err := unix.Openat2(int(root.Fd()), point, &how)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil {
		return nil
	}
	if path, is := wanted[file{stat.Dev, stat.Ino}]; is {
		return []string{path}
	}
	holds := false
	for f := range wanted {
		holds = holds || f.dev == stat.Dev
	}
	if !holds || stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	const deep = 3
	_ = fs.WalkDir(os.DirFS("/proc/self/fd/"+strconv.Itoa(fd)), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir
		}
		if e.IsDir() && strings.Count(path, "/") >= deep {
			return fs.SkipDir
		}
		if e.Type() != fs.ModeSocket {
			return nil
		}
		var stat unix.Stat_t
		if unix.Fstatat(fd, path, &stat, unix.AT_SYMLINK_NOFOLLOW) == nil {
			if name, is := wanted[file{stat.Dev, stat.Ino}]; is {
				found = append(found, name)
			}
		}
		return nil
	})
	return found
}

// foreign are programs that run containers with a kernel of their own.
var foreign = []struct{ comm, what string }{
	{"runsc", "gVisor"},
	{"runsc-sandbox", "gVisor"},
	{"containerd-shim-kata", "Kata"},
	{"kata-agent", "Kata"},
	{"firecracker", "Firecracker"},
	{"cloud-hyperviso", "Cloud Hypervisor"},
}

// sandboxes looks for containers whose processes this kernel does not know.
func sandboxes(*Node) (all []Finding) {
	seen := map[string]bool{}
	comms, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return warn("", "look at the processes: %v", err)
	}
	for _, path := range comms {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // ended
		}
		comm := strings.TrimSpace(string(text))
		for _, f := range foreign {
			// The kernel cuts names at 15 bytes.
			if comm == f.comm[:min(len(f.comm), 15)] && !seen[f.what] {
				seen[f.what] = true
				all = append(all, warn("run agents under runc or crun",
					"%s runs here: what is inside makes no connections that this kernel can tell apart, and is not attributable", f.what)...)
			}
		}
	}
	if all == nil {
		return ok("no containers with a kernel of their own")
	}
	return all
}
