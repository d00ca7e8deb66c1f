package capture

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// capabilities are what capture cannot do without, and why.
var capabilities = []struct {
	name   string
	number int
	or     int // one that includes it
	what   string
}{
	{"CAP_BPF", unix.CAP_BPF, unix.CAP_SYS_ADMIN, "load programs"},
	{"CAP_PERFMON", unix.CAP_PERFMON, unix.CAP_SYS_ADMIN, "let them read of processes and cgroups"},
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, unix.CAP_NET_ADMIN, "attach them to cgroups"},
	{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN, unix.CAP_SYS_ADMIN, "enter network namespaces"},
	{"CAP_SYS_PTRACE", unix.CAP_SYS_PTRACE, unix.CAP_SYS_PTRACE, "find the namespaces of processes"},
	{"CAP_DAC_READ_SEARCH", unix.CAP_DAC_READ_SEARCH, unix.CAP_DAC_READ_SEARCH, "find cgroups by their ids"},
}

// checkCapabilities returns an error that names what we are not allowed to do.
// It comes first, because what the kernel says to loading without being allowed
// to is misleading.
func checkCapabilities() error {
	var effective [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &effective[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	has := func(number int) bool { return effective[number/32].Effective&(1<<(number%32)) != 0 }
	var missing []string
	for _, c := range capabilities {
		if !has(c.number) && !has(c.or) {
			missing = append(missing, fmt.Sprintf("%s to %s", c.name, c.what))
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("agentd lacks the capabilities it needs (%s): run it as root, or give them to its unit", strings.Join(missing, ", "))
}
