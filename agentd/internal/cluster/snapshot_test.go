//go:build k8s

package cluster_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"agentd.dev/agentd/cgroup"
)

// A snapshot is what a node consists of, by kind: all that agentd could leave
// behind. Records, keys and the lock of the control socket stay by design.
type snapshot map[string][]string

func (o *operator) snapshot(t *testing.T) snapshot {
	t.Helper()
	s := snapshot{
		"pins":       o.lines(t, "find", "/sys/fs/bpf", "-mindepth", "1"),
		"mounts":     o.lines(t, "cut", "-d", " ", "-f", "2,3", "/proc/self/mounts"),
		"namespaces": o.lines(t, "ls", "/run/netns"),
		"interfaces": o.lines(t, "bpftool", "net", "show"),
		"cgroups":    o.lines(t, "find", o.Cgroup, "-type", "d"),
		"programs":   attached(t, o.Cgroup),
	}
	pids, err := cgroup.Processes(o.Cgroup)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			continue // so has this one
		}
		s["processes"] = append(s["processes"], strings.TrimSpace(string(comm)))
		s["listeners"] = append(s["listeners"], listeners(pid, namespace)...)
	}
	slices.Sort(s["processes"])
	slices.Sort(s["listeners"])
	s["listeners"] = slices.Compact(s["listeners"])
	return s
}

// lines runs a command on the node and returns its lines in order.
func (o *operator) lines(t *testing.T, program string, args ...string) []string {
	t.Helper()
	out, err := o.Command(t, program, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	list := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(list)
	return list
}

// attached lists the programs that are attached to a cgroup.
func attached(t *testing.T, path string) (list []string) {
	t.Helper()
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for at := ebpf.AttachCGroupInetIngress; at <= ebpf.AttachCgroupUnixGetsockname; at++ {
		result, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: at})
		if err != nil {
			continue // no attach point of cgroups
		}
		for _, p := range result.Programs {
			list = append(list, fmt.Sprintf("%v %d", at, p.ID))
		}
	}
	return list
}

// listeners lists the ports that something listens on in the network
// namespace of a process.
func listeners(pid int, namespace string) (list []string) {
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "net", table))
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(text)) {
			const listen = "0A"
			if f := strings.Fields(line); len(f) > 3 && f[3] == listen {
				list = append(list, namespace+" "+f[1])
			}
		}
	}
	return list
}

// differs returns an error that names what is there that was not, and what is
// not that was.
func (s snapshot) differs(before snapshot) error {
	var errs []error
	for kind := range s {
		if more := without(s[kind], before[kind]); len(more) > 0 {
			errs = append(errs, fmt.Errorf("%s left: %s", kind, strings.Join(more, ", ")))
		}
	}
	for kind := range before {
		if less := without(before[kind], s[kind]); len(less) > 0 {
			errs = append(errs, fmt.Errorf("%s missing: %s", kind, strings.Join(less, ", ")))
		}
	}
	return errors.Join(errs...)
}

// without returns what is in a more often than in b.
func without(a, b []string) (more []string) {
	rest := slices.Clone(b)
	for _, line := range a {
		if i := slices.Index(rest, line); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
			continue
		}
		more = append(more, line)
	}
	return more
}
