package agentd

import (
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/synthetic"
)

func TestNoConnectionIsMadeFromWhatIsDecidedOnByItself(t *testing.T) {
	workload := lab.NewCgroup(t)
	own, inner := workload.Child(t, "agentd"), workload.Child(t, "inner")
	for _, group := range []*lab.Cgroup{own, inner} {
		lab.Start(t, group.Put(exec.Command("sleep", "infinity")), "", syscall.SIGKILL)
	}
	others := map[string]bool{workload.Path: true, own.Path: true}
	in := func(p synthetic.Place) bool { return p.Cgroup == inner.Path }
	if got := places(workload.Path, others); len(got) != 1 || !in(got[0]) {
		t.Errorf("places are %v, want one in %s", got, inner.Path)
	}
	others[inner.Path] = true
	if got := places(workload.Path, others); len(got) != 0 {
		t.Errorf("places are %v, want none", got)
	}
	if got := places(inner.Path, others); !slices.ContainsFunc(got, in) {
		t.Errorf("places of the inner one are %v, want one in %s", got, inner.Path)
	}
}
