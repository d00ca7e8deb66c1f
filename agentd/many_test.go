package agentd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentd.dev/agentd/internal/lab"
)

func TestTenThousandConnectionsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	conns := 10_000 / lab.Slower(t)
	server := lab.Postgres(t, lab.Setting("log_statement=none"))
	agentd := lab.StartAgentd(t, lab.Setup{Policy: judged, Target: server})
	output(t, agentd.Captured(t, loadOf(t, server, "warm", 64, 64)))
	before, goroutines := openFiles(t, agentd), metric(t, agentd, "go_goroutines")

	load := loadOf(t, server, "many", conns, 64)
	load.Args = append(load.Args, "-statements", "1")
	if got, want := output(t, agentd.Captured(t, load)), fmt.Sprintf("ready\n%d %d\n", conns, conns); got != want {
		t.Errorf("load printed %q, want %q", got, want)
	}
	if after := openFiles(t, agentd); after > before {
		t.Errorf("agentd has %d files open, %d before", after, before)
	}
	// One that answered agentctl a moment ago may still be on its way out;
	// one that is left for good stays above.
	now := metric(t, agentd, "go_goroutines")
	for deadline := time.Now().Add(10 * time.Second); now > goroutines && time.Now().Before(deadline); {
		now = metric(t, agentd, "go_goroutines")
	}
	if now > goroutines {
		t.Errorf("agentd has %v goroutines, %v before", now, goroutines)
	}
	if total := metric(t, agentd, "agentd_sessions_total"); total != float64(conns+64) {
		t.Errorf("agentd_sessions_total is %v, want %d", total, conns+64)
	}
	for _, name := range []string{"agentd_flows", "agentd_locals"} {
		if n := entries(t, agentd, name); n != 0 {
			t.Errorf("map %s has %d entries left, want none", name, n)
		}
	}
	list, err := agentd.Ctl(t, "sessions", "list", "--limit", "0", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var sessions []struct {
		Workload string
		PID      int
		Exe      string
	}
	if err := json.Unmarshal([]byte(list), &sessions); err != nil {
		t.Fatal(err)
	}
	attributed := 0
	for _, s := range sessions {
		if s.Workload == "lab" && s.PID > 0 && strings.HasSuffix(s.Exe, "load") {
			attributed++
		}
	}
	if attributed != conns+64 {
		t.Errorf("%d sessions are attributed to the load, want %d of %d", attributed, conns+64, len(sessions))
	}

	ids := kernelObjects(t, agentd)
	if len(ids) < 10 {
		t.Fatalf("agentd holds %d kernel objects: the test looks in the wrong place", len(ids))
	}
	agentd.Process.Stop(syscall.SIGTERM)
	if err := agentd.Process.Wait(); err != nil {
		t.Errorf("agentd ended with %v:\n%s", err, agentd.Said())
	}
	for _, id := range ids {
		if out, left := awaitGone(id); left {
			t.Errorf("%s %s is left after a stop on purpose:\n%s", id.kind, id.id, out)
		}
	}
	if out, err := exec.Command("bpftool", "cgroup", "tree", agentd.Root.Path).CombinedOutput(); err != nil || strings.Contains(string(out), "agentd") {
		t.Errorf("programs are attached after a stop on purpose: %v\n%s", err, out)
	}
}

// openFiles returns how many descriptors the daemon has once it has closed
// what it is about to close: it waits until no session is live.
func openFiles(t *testing.T, a *lab.Agentd) int {
	t.Helper()
	for {
		if status(t, a).Sessions.Live == 0 {
			break
		}
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", a.Process.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// metric returns a metric without labels, as a scrape finds it.
func metric(t *testing.T, a *lab.Agentd, name string) float64 {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", a.Socket)
		},
	}}
	resp, err := client.Get("http://agentd/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return number
		}
	}
	t.Fatalf("there is no metric %s in:\n%s", name, text)
	return 0
}

// An object is something of the daemon's in the kernel, as bpftool names it.
type object struct{ kind, id string }

var objectID = regexp.MustCompile(`(?m)^(prog|map|link)_id:\s+(\d+)$`)

// kernelObjects lists the programs, maps and links the daemon holds.
func kernelObjects(t *testing.T, a *lab.Agentd) (ids []object) {
	t.Helper()
	infos, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", a.Process.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range infos {
		info, err := os.ReadFile(path)
		if err != nil {
			continue // closed meanwhile
		}
		for _, m := range objectID.FindAllStringSubmatch(string(info), -1) {
			ids = append(ids, object{m[1], m[2]})
		}
	}
	return ids
}

// awaitGone waits until the kernel has forgotten an object, which it does some
// moments after the last reference is gone, and says nothing about.
func awaitGone(o object) (out []byte, left bool) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		var err error
		if out, err = exec.Command("bpftool", o.kind, "show", "id", o.id).CombinedOutput(); err != nil {
			return nil, false
		}
	}
	return out, true
}

// entries returns how many entries a map of the daemon's has.
func entries(t *testing.T, a *lab.Agentd, name string) int {
	t.Helper()
	for _, id := range kernelObjects(t, a) {
		if id.kind != "map" {
			continue
		}
		out, err := exec.Command("bpftool", "-j", "map", "show", "id", id.id).Output()
		if err != nil {
			t.Fatal(err)
		}
		var shown struct{ Name string }
		if err := json.Unmarshal(out, &shown); err != nil {
			t.Fatal(err)
		}
		if shown.Name != name {
			continue
		}
		dump, err := exec.Command("bpftool", "-j", "map", "dump", "id", id.id).Output()
		if err != nil {
			t.Fatal(err)
		}
		var all []json.RawMessage
		if err := json.Unmarshal(dump, &all); err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	t.Fatalf("agentd has no map %s", name)
	return 0
}
