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
	root  string // cgroup directory
	links []link.Link
	pins  *os.File // the folder of the pins, locked; nil if there are none
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
	{"sockops", ebpf.AttachCGroupSockOps, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdSockops }},
	{"egress", ebpf.AttachCGroupInetEgress, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdEgress }},
	{"socket", ebpf.AttachCGroupInetSockCreate, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdSocket }},
	{"send4", ebpf.AttachCGroupUDP4Sendmsg, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdSend4 }},
	{"send6", ebpf.AttachCGroupUDP6Sendmsg, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdSend6 }},
	{"connect4", ebpf.AttachCGroupInet4Connect, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdConnect4 }},
	{"connect6", ebpf.AttachCGroupInet6Connect, func(p *bpf.CapturePrograms) *ebpf.Program { return p.AgentdConnect6 }},
}

// attach loads the kernel side and attaches it to the cgroup directory root,
// taking over what is pinned in the folder pins ("": nothing is or will be).
func attach(root, pins string) (_ *kernel, err error) {
	k := &kernel{root: root}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
		}
	}()
	if pins != "" {
		if k.pins, err = lockPins(pins); err != nil {
			return nil, err
		}
	}
	if err := k.load(); err != nil {
		return nil, explain(err)
	}
	pinned, err := k.pinnedLinks()
	if err != nil {
		return nil, err
	}
	if err := awaitAlone(root, pinned); err != nil {
		return nil, err
	}
	for i := range attachments {
		if err := k.attachOne(i, pinned); err != nil {
			return nil, explain(fmt.Errorf("attach %s to %s: %w", attachments[i].name, root, err))
		}
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

// pinnedLinks opens the links that an earlier agentd left, by attachment.
func (k *kernel) pinnedLinks() (map[string]link.Link, error) {
	links := map[string]link.Link{}
	if k.pins == nil {
		return links, nil
	}
	for _, a := range attachments {
		l, err := link.LoadPinnedLink(k.linkPin(a.name), nil)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return nil, fmt.Errorf("open pinned link %s: %w", k.linkPin(a.name), err)
		default:
			links[a.name] = l
		}
	}
	return links, nil
}

// attachOne attaches the i-th program: in place of its predecessor, in one
// step, if that is attached to the same cgroup, else afresh.
func (k *kernel) attachOne(i int, pinned map[string]link.Link) error {
	a := attachments[i]
	program := a.program(&k.CapturePrograms)
	old := pinned[a.name]
	if old != nil && attachedTo(old, k.root) && old.Update(program) == nil {
		k.links = append(k.links, old)
		return nil
	}
	l, err := link.AttachCgroup(link.CgroupOptions{Path: k.root, Attach: a.attach, Program: program})
	if err != nil {
		return err
	}
	k.links = append(k.links, l)
	if old != nil { // of another cgroup, or of one that is gone
		if err := errors.Join(old.Unpin(), old.Close()); err != nil {
			return err
		}
	}
	if k.pins == nil {
		return nil
	}
	return l.Pin(k.linkPin(a.name))
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
	for i, l := range k.links {
		a := attachments[i]
		info, err := l.Info()
		if err != nil {
			return fmt.Errorf("look at the link of %s: %w", a.name, err)
		}
		program, err := a.program(&k.CapturePrograms).Info()
		if err != nil {
			return fmt.Errorf("look at the program %s: %w", a.name, err)
		}
		if id, ok := program.ID(); !ok || info.Program != id || !attachedTo(l, k.root) {
			return fmt.Errorf("%s is not attached to %s any more: restart agentd", a.name, k.root)
		}
	}
	return nil
}

// close gives up every descriptor. What is pinned stays attached.
func (k *kernel) close() error {
	var errs []error
	for _, l := range k.links {
		errs = append(errs, l.Close())
	}
	k.links = nil
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
