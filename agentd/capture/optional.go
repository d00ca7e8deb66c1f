package capture

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"agentd.dev/bpf"
)

// runtimeSockets are the names of the sockets of container runtimes and their
// kin. Whoever may use one can have anything run anywhere on the node.
var runtimeSockets = []string{
	"docker.sock", "docker-raw.sock", "containerd.sock", "containerd.sock.ttrpc", "crio.sock", "podman.sock",
	"cri-dockerd.sock", "dockershim.sock", "buildkitd.sock", "nri.sock", "kubelet.sock", "agentd.sock",
}

// An optional part of the kernel side is one that not every kernel can have.
var optionals = []struct {
	what   string // is not done without it
	probe  func() error
	attach func(*kernel) error
}{
	{
		"refusing captured workloads the sockets of container runtimes needs Linux 6.7",
		haveProgram(ebpf.CGroupSockAddr, ebpf.AttachCgroupUnixConnect),
		(*kernel).attachUnix,
	},
	{lacksStrict, haveTCX, (*kernel).loadStrict},
}

// attachOptional attaches what this kernel can have, and notes what it lacks.
func (k *kernel) attachOptional() error {
	for _, o := range optionals {
		if o.probe() != nil {
			k.lacks = append(k.lacks, o.what)
			continue
		}
		if err := o.attach(k); err != nil {
			return err
		}
	}
	return nil
}

// haveProgram returns a probe for a type of program and its way of attaching.
func haveProgram(program ebpf.ProgramType, attach ebpf.AttachType) func() error {
	return func() error {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type:         program,
			AttachType:   attach,
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
			License:      "GPL",
		})
		if err != nil {
			return err
		}
		return p.Close()
	}
}

// haveTCX asks for a program on an interface that does not exist: a kernel that
// has tcx says so.
func haveTCX() error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		License:      "GPL",
	})
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := link.AttachTCX(link.TCXOptions{Interface: math.MaxInt32, Program: p, Attach: ebpf.AttachTCXIngress})
	if err == nil {
		return l.Close()
	}
	if errors.Is(err, ebpf.ErrNotSupported) {
		return err
	}
	return nil
}

// Lacks returns what is not done because the kernel cannot, in sentences.
func (c *Capture) Lacks() []string { return slices.Clone(c.kernel.lacks) }

func (k *kernel) attachUnix() error {
	spec, err := bpf.LoadUnix()
	if err != nil {
		return err
	}
	var objects struct {
		Connect *ebpf.Program `ebpf:"agentd_connect_unix"`
		Names   *ebpf.Map     `ebpf:"agentd_unix"`
	}
	if err := spec.LoadAndAssign(&objects, &ebpf.CollectionOptions{MapReplacements: k.shared(spec)}); err != nil {
		return explain(fmt.Errorf("load what refuses unix sockets: %w", err))
	}
	defer objects.Names.Close()
	k.optional = append(k.optional, objects.Connect)
	for _, socket := range runtimeSockets {
		var name bpf.UnixName
		copy(name.Bytes[:], socket)
		if err := objects.Names.Put(&name, uint8(1)); err != nil {
			return fmt.Errorf("refuse %s: %w", socket, err)
		}
	}
	return k.attachProgram("unix", ebpf.AttachCgroupUnixConnect, objects.Connect)
}

// shared returns the maps of ours that another object uses too.
func (k *kernel) shared(spec *ebpf.CollectionSpec) map[string]*ebpf.Map {
	shared := map[string]*ebpf.Map{}
	for name, m := range map[string]*ebpf.Map{
		"agentd_workload": k.AgentdWorkload,
		"agentd_outcome":  k.AgentdOutcome,
		"agentd_tags":     k.AgentdTags,
		"agentd_origins":  k.AgentdOrigins,
		"agentd_udp":      k.AgentdUdp,
		"agentd_daemon":   k.AgentdDaemon,
	} {
		if spec.Maps[name] != nil {
			shared[name] = m
		}
	}
	return shared
}

// attachProgram attaches a program to the root: in place of its predecessor,
// in one step, if that is attached to the same cgroup, else afresh.
func (k *kernel) attachProgram(name string, attach ebpf.AttachType, program *ebpf.Program) error {
	old, err := k.pinnedLink(name)
	if err != nil {
		return err
	}
	if old != nil && attachedTo(old, k.root) && old.Update(program) == nil {
		k.links = append(k.links, attached{name, program, old})
		return nil
	}
	l, err := link.AttachCgroup(link.CgroupOptions{Path: k.root, Attach: attach, Program: program})
	if err != nil {
		return explain(fmt.Errorf("attach %s to %s: %w", name, k.root, err))
	}
	k.links = append(k.links, attached{name, program, l})
	if old != nil { // of another cgroup, or of one that is gone
		if err := errors.Join(old.Unpin(), old.Close()); err != nil {
			return err
		}
	}
	if k.pins == nil {
		return nil
	}
	return l.Pin(k.linkPin(name))
}
