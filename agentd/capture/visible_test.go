package capture_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"agentd.dev/agentd/internal/lab"
)

var aMomentAgo = time.Unix(1, 0)

// A view is what anyone with bpftool sees of programs attached to a cgroup.
type view struct {
	links    map[link.ID]bool
	programs map[ebpf.ProgramID]bool
	maps     map[ebpf.MapID]bool
}

// visible looks for what is attached to root, and what that uses.
func visible(t testing.TB, root *lab.Cgroup) view {
	t.Helper()
	v := view{map[link.ID]bool{}, map[ebpf.ProgramID]bool{}, map[ebpf.MapID]bool{}}
	all := new(link.Iterator)
	defer all.Close()
	for all.Next() {
		info, err := all.Link.Info()
		if err != nil {
			t.Fatal(err)
		}
		if cgroup := info.Cgroup(); cgroup != nil && cgroup.CgroupId == root.ID {
			v.links[info.ID] = true
			v.use(t, info.Program)
		}
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v view) use(t testing.TB, id ebpf.ProgramID) {
	t.Helper()
	v.programs[id] = true
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		t.Fatal(err)
	}
	maps, _ := info.MapIDs()
	for _, m := range maps {
		v.maps[m] = true
	}
}

// awaitGone waits until nothing of v is left. The kernel frees programs and
// maps a moment after their last user has let go, and tells nobody.
func (v view) awaitGone(t testing.TB) {
	t.Helper()
	await(t, "programs and maps to be freed", func() bool {
		for id := range v.links {
			if l, err := link.NewFromID(id); err == nil {
				l.Close()
				return false
			}
		}
		for id := range v.programs {
			if p, err := ebpf.NewProgramFromID(id); !errors.Is(err, os.ErrNotExist) {
				p.Close()
				return false
			}
		}
		for id := range v.maps {
			if m, err := ebpf.NewMapFromID(id); !errors.Is(err, os.ErrNotExist) {
				m.Close()
				return false
			}
		}
		return true
	})
}

// await waits for what the kernel does in its own time and announces nowhere.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !done(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
