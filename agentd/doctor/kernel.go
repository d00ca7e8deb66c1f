package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"agentd.dev/agentd/cgroup"
)

// since says which Linux brought what agentd can do without.
var since = []struct {
	major, minor int
	what         string
}{
	{6, 6, "strict mode, which stops packet sockets"},
	{6, 7, "refusing connections to container runtimes"},
}

// kernel looks at the version. Features of a kernel that a distribution has
// changed may differ; the daemon finds out by itself which it has.
func kernel(n *Node) []Finding {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return fail("", "uname: %v", err)
	}
	release := unix.ByteSliceToString(uts.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return warn("", "Linux %s: not a version that can be compared", release)
	}
	older := func(a, b int) bool { return major < a || major == a && minor < b }
	if older(6, 1) {
		return fail("use Linux 6.1 or newer", "Linux %s is older than 6.1", release)
	}
	var lacks []string
	if n.Absent == nil {
		lacks = n.Status.Capture.Lacks
	} else {
		for _, f := range since {
			if older(f.major, f.minor) {
				lacks = append(lacks, fmt.Sprintf("%s, needs Linux %d.%d", f.what, f.major, f.minor))
			}
		}
	}
	if len(lacks) > 0 {
		return warn("use a newer kernel, or see docs/bypass.md for what stays open", "Linux %s lacks: %s", release, strings.Join(lacks, "; "))
	}
	return ok("Linux %s", release)
}

func types(*Node) []Finding {
	if _, err := btf.LoadKernelSpec(); err != nil {
		return fail("use a kernel built with CONFIG_DEBUG_INFO_BTF=y", "the kernel does not describe its types: %v", err)
	}
	return ok("/sys/kernel/btf/vmlinux")
}

func cgroups(*Node) []Finding {
	dir, err := cgroup.Hierarchy()
	if err != nil {
		return fail("agentd tells workloads apart by their cgroup: see the message", "%v", err)
	}
	return ok("version 2 at %s", dir)
}

func bpffs(n *Node) []Finding {
	dir := n.Pins
	var stat unix.Statfs_t
	err := unix.Statfs(dir, &stat)
	for errors.Is(err, unix.ENOENT) && dir != "/" {
		dir = filepath.Dir(dir)
		err = unix.Statfs(dir, &stat)
	}
	if err != nil || stat.Type != unix.BPF_FS_MAGIC {
		return fail("mount -t bpf bpf /sys/fs/bpf, or set capture.pins to a folder on one",
			"%s is not on a BPF file system: captured workloads would not be refused while agentd is down", n.Pins)
	}
	return ok("%s", dir)
}

// needed are the capabilities that agentd cannot do without.
var needed = []struct {
	name   string
	number int
}{
	{"CAP_BPF", unix.CAP_BPF},
	{"CAP_PERFMON", unix.CAP_PERFMON},
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN},
	{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN},
	{"CAP_SYS_PTRACE", unix.CAP_SYS_PTRACE},
	{"CAP_DAC_READ_SEARCH", unix.CAP_DAC_READ_SEARCH},
}

// capabilities looks at those of the daemon, or of this process if there is
// no daemon.
func capabilities(n *Node) []Finding {
	who, pid := "this process", "self"
	if n.Absent == nil {
		who, pid = "agentd", strconv.Itoa(n.Status.PID)
	}
	set, err := effective(pid)
	if err != nil {
		return warn("run the doctor as root, in the host's pid namespace", "cannot see those of %s: %v", who, err)
	}
	var missing []string
	for _, c := range needed {
		if set&(1<<c.number) == 0 {
			missing = append(missing, c.name)
		}
	}
	if missing != nil {
		return fail("give them to agentd's unit or container", "%s lacks %s", who, strings.Join(missing, ", "))
	}
	return ok("%s has all it needs", who)
}

// effective returns the effective capabilities of a process.
func effective(pid string) (uint64, error) {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if hex, found := strings.CutPrefix(line, "CapEff:"); found {
			return strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	return 0, errors.New("it says nothing of capabilities")
}

func clock(*Node) []Finding {
	const unsynchronised = 0x40 // STA_UNSYNC
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return warn("", "adjtimex: %v", err)
	}
	if t.Status&unsynchronised != 0 {
		return warn("run chrony, systemd-timesyncd or another NTP client", "nothing keeps it right: records of several nodes cannot be put in order")
	}
	return ok("kept right")
}

// programs looks for programs of agentd that are not the daemon's own.
func programs(n *Node) []Finding {
	const name = "agentd_connect4"
	count := 0
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return warn("run the doctor as root", "list the programs in the kernel: %v", err)
		}
		id = next
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue // gone meanwhile
		}
		if info, err := p.Info(); err == nil && info.Name == name {
			count++
		}
		p.Close()
	}
	_, err := os.Stat(filepath.Join(n.Pins, "link_connect4"))
	pinned := err == nil
	switch {
	case n.Absent != nil && count == 0:
		return ok("none are attached")
	case n.Absent != nil && pinned:
		return fail("start agentd, or remove every trace of it: agentd detach", "attached without a daemon: captured workloads are refused, or bypass it as they were told")
	case n.Absent != nil:
		return warn("see whether its socket is another: agentctl --socket", "another agentd is attached")
	case count > 1:
		return warn("have only one agentd on a node, or none below the other's capture.root", "%d agentds are attached; each redirects what the other has redirected, where they overlap", count)
	}
	return ok("attached once, at %s", n.Status.Capture.Root)
}
