package capture

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// needs are what the kernel side uses that not every kernel has.
var needs = []struct {
	what  string
	probe func() error
}{
	{"socket storage (BPF_MAP_TYPE_SK_STORAGE)", func() error { return features.HaveMapType(ebpf.SkStorage) }},
	{"bpf_get_netns_cookie in connect programs", helper(ebpf.CGroupSockAddr, asm.FnGetNetnsCookie)},
	{"bpf_skc_to_tcp_sock in connect programs", helper(ebpf.CGroupSockAddr, asm.FnSkcToTcpSock)},
	{"bpf_get_current_task_btf in connect programs", helper(ebpf.CGroupSockAddr, asm.FnGetCurrentTaskBtf)},
	{"bpf_get_netns_cookie in sockops programs", helper(ebpf.SockOps, asm.FnGetNetnsCookie)},
	{"bpf_set_retval in connect programs", helper(ebpf.CGroupSockAddr, asm.FnSetRetval)},
}

func helper(program ebpf.ProgramType, f asm.BuiltinFunc) func() error {
	return func() error { return features.HaveProgramHelper(program, f) }
}

// explain adds to an error of loading or attaching what to do about it.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("the kernel forbids it although agentd has the capabilities: a container needs to be privileged, and lockdown=confidentiality must be off: %w", err)
	}
	if _, e := btf.LoadKernelSpec(); errors.Is(e, ebpf.ErrNotSupported) || errors.Is(e, fs.ErrNotExist) {
		return fmt.Errorf("the kernel does not describe its types in /sys/kernel/btf/vmlinux: use one built with CONFIG_DEBUG_INFO_BTF=y: %w", err)
	}
	for _, n := range needs {
		if errors.Is(n.probe(), ebpf.ErrNotSupported) {
			return fmt.Errorf("the kernel (Linux %s) lacks %s: use Linux 6.1 or newer: %w", release(), n.what, err)
		}
	}
	return err
}

// release returns the version of the running kernel.
func release() string {
	var uts unix.Utsname
	if unix.Uname(&uts) != nil {
		return "of unknown version"
	}
	return unix.ByteSliceToString(uts.Release[:])
}
