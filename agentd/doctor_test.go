package agentd_test

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/doctor"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/probe"
)

// diagnosis is what `agentctl doctor -o json` prints.
type diagnosis struct {
	Checks []doctor.Finding
	Probe  []probe.Row
}

func TestTheDoctorsProbeFindsNoWayPast(t *testing.T) {
	a := lab.StartAgentd(t, lab.Setup{})
	text, err := a.Ctl(t, "doctor", "--probe", "-o", "json")
	var d diagnosis
	if e := json.Unmarshal([]byte(text), &d); e != nil {
		t.Fatalf("%v, %v", e, err)
	}
	want := 0
	for i := range probe.Vectors {
		want += len(probe.Vectors[i].Families())
	}
	if len(d.Probe) != want {
		t.Errorf("%d ways were tried, want %d (%v)", len(d.Probe), want, err)
	}
	for _, r := range d.Probe {
		if !r.Safe() {
			t.Errorf("%s over %q: %s (%s), want %s", r.Vector, r.Over, r.Got, r.Detail, r.Want)
		}
	}
	nothingLeft(t, a)
}

func TestTheDoctorLeavesNothingBehindWhenInterrupted(t *testing.T) {
	a := lab.StartAgentd(t, lab.Setup{})
	cmd := exec.Command(lab.Binary(t, "./cmd/agentctl"), "--socket", a.Socket, "doctor", "--probe")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := lab.Start(t, cmd, "", syscall.SIGKILL)
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "captured") {
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	if err := p.Wait(); err == nil {
		t.Error("an interrupted doctor says that all is well")
	}
	nothingLeft(t, a)
}

// nothingLeft fails the test if the doctor has left a workload, a process or a
// cgroup behind.
func nothingLeft(t *testing.T, a *lab.Agentd) {
	t.Helper()
	if left := workloads(t, a); len(left) > 0 {
		t.Errorf("workloads are left: %v", left)
	}
	if pids, err := cgroup.Processes(filepath.Join(a.Root.Path, "agentd-runs")); err == nil && len(pids) > 0 {
		t.Errorf("processes are left: %v", pids)
	}
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		t.Fatal(err)
	}
	own, err := cgroup.Own(hierarchy)
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(own, "agentd-probe*")); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
}

func TestTheDoctorNamesWhoCanReachARuntime(t *testing.T) {
	a := lab.StartAgentd(t, lab.Setup{})
	dir := t.TempDir()
	socket := filepath.Join(dir, "runtime.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	elsewhere := filepath.Join(t.TempDir(), "harmless")
	if err := os.WriteFile(elsewhere, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// By another name, with the folder it is in out of sight.
	startRun(t, a, "", "unshare", "-m", "sh", "-c", `mount --bind "$1" "$2" && mount -t tmpfs none "$3" && exec cat`, "sh", socket, elsewhere, dir)
	startRun(t, a, "", "unshare", "-m", "sh", "-c", `mount -t tmpfs none "$1" && exec cat`, "sh", dir)
	text, _ := a.Ctl(t, "doctor", "--runtime", socket, "-o", "json") // it is not well, for other reasons too
	var d diagnosis
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range d.Checks {
		if f.Check == "runtime sockets" {
			got = append(got, f.Text)
		}
	}
	if want := []string{"lab can reach " + socket}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
