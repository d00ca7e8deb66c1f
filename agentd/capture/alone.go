package capture

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// awaitAlone returns an error if an agentd other than that of the pinned links
// is attached to the root: two would each redirect what the
// other has redirected. The kernel takes the programs of a process that was
// killed off a moment after its end, hence the patience.
func (k *kernel) awaitAlone() error {
	const patience, pause = time.Second, 20 * time.Millisecond
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		others, err := k.others()
		if err != nil {
			return explain(fmt.Errorf("look for programs attached to %s: %w", k.root, err))
		}
		if others == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("another agentd is attached to %s: stop it first, or set capture.pins to the folder that it is pinned in", k.root)
		}
	}
}

// others counts the connect4 programs of agentd at the root that no pinned link
// attaches.
func (k *kernel) others() (int, error) {
	const name = "agentd_connect4"
	dir, err := os.Open(k.root)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	attached, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: ebpf.AttachCGroupInet4Connect})
	if err != nil {
		return 0, err
	}
	pinned, err := k.pinnedLink("connect4")
	if err != nil {
		return 0, err
	}
	var own ebpf.ProgramID
	if pinned != nil {
		defer pinned.Close()
		info, err := pinned.Info()
		if err != nil {
			return 0, err
		}
		own = info.Program
	}
	n := 0
	for _, p := range attached.Programs {
		program, err := ebpf.NewProgramFromID(p.ID)
		if errors.Is(err, os.ErrNotExist) {
			continue // detached meanwhile
		}
		if err != nil {
			return 0, err
		}
		info, err := program.Info()
		program.Close()
		if err != nil {
			return 0, err
		}
		if info.Name == name && p.ID != own {
			n++
		}
	}
	return n, nil
}
