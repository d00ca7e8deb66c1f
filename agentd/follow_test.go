package agentd_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/recorder"
)

// below is the path of a daemon's root below the top of the hierarchy.
func below(t *testing.T, a *lab.Agentd) string {
	t.Helper()
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(a.Root.Path, hierarchy)
}

// query asks the server who is asked, from a cgroup, as the first act of its
// process.
func query(t *testing.T, in *lab.Cgroup, server *lab.Server) string {
	t.Helper()
	return output(t, in.Put(psql(server, "select 'served';")))
}

// summaries are the recorded sessions.
func summaries(t *testing.T, a *lab.Agentd, flags ...string) (list []recorder.Summary) {
	t.Helper()
	out, err := a.Ctl(t, append([]string{"sessions", "list", "-o", "json"}, flags...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// workloadsOf are the names of sessions, in the order of their starts.
func workloadsOf(list []recorder.Summary) (names []string) {
	for _, s := range list {
		names = append(names, s.Workload)
	}
	return names
}

// status asks a daemon how it is. That something is wrong is no error.
func status(t *testing.T, a *lab.Agentd) (s control.Status) {
	t.Helper()
	out, err := a.Ctl(t, "status", "-o", "json")
	if e := json.Unmarshal([]byte(out), &s); e != nil {
		t.Fatalf("agentctl status: %v\n%s\n%s", err, out, a.Said())
	}
	return s
}

// eventually waits until the daemon's status is as it should be.
func eventually(t *testing.T, a *lab.Agentd, what string, is func(control.Status) bool) control.Status {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		s := status(t, a)
		if is(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: it did not come to that: %+v\n%s", what, s, a.Said())
		}
	}
}

func TestWhatAppearsWhereItIsSelectedIsCapturedFromItsFirstConnect(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	a := lab.NewAgentd(t, lab.Setup{Policy: lawful, Target: server})
	root := below(t, a)
	edit(t, a, func(config string) string {
		return strings.Replace(config, "capture: {", fmt.Sprintf("capture: {select: [{cgroup: %q}, {unit: \"agent-*.service\", name: units}], ", root+"/agents/*"), 1)
	})
	agents, services := a.Root.Child(t, "agents"), a.Root.Child(t, "system.slice")
	early := agents.Child(t, "early")
	if err := a.Start(t); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, in := range []*lab.Cgroup{early, agents.Child(t, "late"), agents.Child(t, "later"), a.Root.Child(t, "beside"), services.Child(t, "agent-1.service"), services.Child(t, "other.service")} {
		if got := query(t, in, server); got != "served\n" {
			t.Errorf("%s: got %q, want it served", in.Path, got)
		}
		switch name := filepath.Base(in.Path); name {
		case "agent-1.service":
			want = append(want, "units")
		case "beside", "other.service":
		default:
			want = append(want, strings.TrimPrefix(root+"/agents/"+name, "/"))
		}
	}
	list := summaries(t, a)
	if got := workloadsOf(list); !slices.Equal(got, want) {
		t.Errorf("got sessions of %q, want %q\n%s", got, want, a.Said())
	}
	if s := status(t, a); !s.Capture.Verified || len(s.Workloads) != 4 {
		t.Errorf("got %d workloads, %+v, want 4 that are verified", len(s.Workloads), s.Capture)
	}
}

func TestWhatIsBesideAnInnerPlaceStaysWithTheOuterOne(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	a := lab.NewAgentd(t, lab.Setup{Policy: lawful, Target: server})
	root := below(t, a) // at the top of the hierarchy
	edit(t, a, func(config string) string {
		return strings.Replace(config, "capture: {", fmt.Sprintf("capture: {select: [{cgroup: %q, name: outer}, {cgroup: %q, name: inner}], ", root+"*", root+"/a/b/job*"), 1)
	})
	inner := a.Root.Child(t, "a").Child(t, "b")
	job, beside := inner.Child(t, "job-1"), inner.Child(t, "beside")
	if err := a.Start(t); err != nil {
		t.Fatal(err)
	}
	for _, in := range []*lab.Cgroup{job, beside} {
		if got := query(t, in, server); got != "served\n" {
			t.Errorf("%s: got %q, want it served", in.Path, got)
		}
	}
	if got, want := workloadsOf(summaries(t, a)), []string{"inner", "outer"}; !slices.Equal(got, want) {
		t.Errorf("got sessions of %q, want %q\n%s", got, want, a.Said())
	}
}

func TestAgentdThatIsSelectedItselfIsLeftOut(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	a := lab.NewAgentd(t, lab.Setup{Policy: lawful, Target: server})
	edit(t, a, func(config string) string {
		return strings.Replace(config, "capture: {", fmt.Sprintf("capture: {select: [{cgroup: %q}], ", below(t, a)+"/*"), 1)
	})
	own := a.Root.Child(t, "agentd.service")
	a.In = own
	if err := a.Start(t); err != nil {
		t.Fatal(err)
	}
	if got := query(t, a.Root.Child(t, "agent"), server); got != "served\n" {
		t.Errorf("got %q, want it served", got)
	}
	if s := status(t, a); len(s.Workloads) != 1 || s.Sessions.Total != 1 || s.Capture.Problem != "" {
		t.Errorf("got %+v, want one workload and one session", s)
	}
	if got := output(t, a.Captured(t, exec.Command("echo", "run"))); got != "run\n" {
		t.Errorf("a run printed %q", got)
	}
}
