package capture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/bpf"
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// A kernel is the kernel side: programs, maps and the links that attach them.
type kernel struct {
	bpf.CaptureObjects
	root     string // cgroup directory
	links    []attached
	pins     *os.File // the folder of the pins, locked; nil if there are none
	optional []*ebpf.Program
	strict   *ebpf.Program // one of optional; nil if this kernel cannot
	lacks    []string      // what is not done because this kernel cannot
}

// attached is a program that is attached to the root.
type attached struct {
	name    string
	program *ebpf.Program
	link    link.Link
}

// attachments are the programs and where they go. The order is that of
// attaching: what shows addresses comes first, what refuses and redirects last.
var attachments = []struct {
	name    string
	attach  ebpf.AttachType
	program func(*bpf.CapturePrograms) *ebpf.Program
}{
	{"peer4", ebpf.AttachCgroupInet4GetPeername, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdPeer4 }},
	{"peer6", ebpf.AttachCgroupInet6GetPeername, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdPeer6 }},
	{"name4", ebpf.AttachCgroupInet4GetSockname, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdName4 }},
	{"name6", ebpf.AttachCgroupInet6GetSockname, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdName6 }},
	{"ingress", ebpf.AttachCGroupInetIngress, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdIngress }},
	{"sockops", ebpf.AttachCGroupSockOps, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdSockops }},
	{"egress", ebpf.AttachCGroupInetEgress, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdEgress }},
	{"socket", ebpf.AttachCGroupInetSockCreate, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdSocket }},
	{"send4", ebpf.AttachCGroupUDP4Sendmsg, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdSend4 }},
	{"send6", ebpf.AttachCGroupUDP6Sendmsg, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdSend6 }},
	{"connect4", ebpf.AttachCGroupInet4Connect, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdConnect4 }},
	{"connect6", ebpf.AttachCGroupInet6Connect, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdConnect6 }},
}

// attach loads the kernel side and attaches it to the cgroup directory root,
// taking over what is pinned in the folder pins ("": nothing is or will be). The
// lock of that folder may come from another agentd.
func attach(root, pins string, from *Inheritance) (_ *kernel, err error) {
	k := &kernel{root: root}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
		}
	}()
	if from != nil {
		if k.pins, err = from.pinsFolder(pins); err != nil {
			return nil, err
		}
	} else if pins != "" {
		if k.pins, err = lockPins(pins); err != nil {
			return nil, err
		}
	}
	if err := k.load(); err != nil {
		return nil, explain(err)
	}
	if err := k.awaitAlone(); err != nil {
		return nil, err
	}
	for _, a := range attachments {
		if err := k.attachProgram(a.name, a.attach, a.program(&k.CapturePrograms)); err != nil {
			return nil, err
		}
	}
	if err := k.attachOptional(); err != nil {
		return nil, err
	}
	return k, nil
}

// load loads programs and maps. Maps that are pinned are used again.
func (k *kernel) load() error {
	spec, err := bpf.LoadCapture()
	if err != nil {
		return err
	}
	var options ebpf.CollectionOptions
	if k.pins != nil {
		options.Maps.PinPath = k.pins.Name()
		for _, m := range spec.Maps {
			m.Pinning = ebpf.PinByName
		}
	}
	err = spec.LoadAndAssign(&k.CaptureObjects, &options)
	if errors.Is(err, ebpf.ErrMapIncompatible) {
		return fmt.Errorf("what is pinned in %s is of another version of agentd: remove the folder, which ends its capture: %w", k.pins.Name(), err)
	}
	return err
}

// pinnedLink opens the link of that name which an earlier agentd left, nil if
// there is none.
func (k *kernel) pinnedLink(name string) (link.Link, error) {
	if k.pins == nil {
		return nil, nil
	}
	l, err := link.LoadPinnedLink(k.linkPin(name), nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open pinned link %s: %w", k.linkPin(name), err)
	}
	return l, nil
}

func (k *kernel) linkPin(name string) string {
	return filepath.Join(k.pins.Name(), "link_"+name)
}

// attachedTo reports whether l is attached to the cgroup with directory dir.
func attachedTo(l link.Link, dir string) bool {
	id, err := cgroup.ID(dir)
	if err != nil {
		return false
	}
	info, err := l.Info()
	return err == nil && info.Cgroup() != nil && info.Cgroup().CgroupId == id
}

// verify returns an error if a program of ours is not attached any more.
func (k *kernel) verify() error {
	for _, a := range k.links {
		info, err := a.link.Info()
		if err != nil {
			return fmt.Errorf("look at the link of %s: %w", a.name, err)
		}
		program, err := a.program.Info()
		if err != nil {
			return fmt.Errorf("look at the program %s: %w", a.name, err)
		}
		if id, ok := program.ID(); !ok || info.Program != id || !attachedTo(a.link, k.root) {
			return fmt.Errorf("%s is not attached to %s any more: restart agentd", a.name, k.root)
		}
	}
	return nil
}

// close gives up every descriptor. What is pinned stays attached.
func (k *kernel) close() error {
	var errs []error
	for _, a := range k.links {
		errs = append(errs, a.link.Close())
	}
	k.links = nil
	for _, p := range k.optional {
		errs = append(errs, p.Close())
	}
	k.optional = nil
	if k.AgentdWorkload != nil {
		errs = append(errs, k.CaptureObjects.Close())
	}
	if k.pins != nil {
		errs = append(errs, k.pins.Close())
		k.pins = nil
	}
	return errors.Join(errs...)
}

// detach removes everything: links first, so that nothing refuses what can no
// longer be captured.
func (k *kernel) detach() error {
	if k.pins == nil {
		return k.close()
	}
	folder := k.pins.Name()
	return errors.Join(unpin(folder), k.close(), os.Remove(folder))
}
