package agentd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	daemon "agentd.dev/agentd"
	"agentd.dev/agentd/handover"
	"agentd.dev/agentd/internal/lab"
)

// draining returns how many sessions each agentd that was taken over has left.
func draining(t *testing.T, a *lab.Agentd) map[int]int {
	t.Helper()
	out, err := a.Ctl(t, "status", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		Draining []struct{ PID, Sessions int }
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		t.Fatal(err)
	}
	left := map[int]int{}
	for _, d := range status.Draining {
		left[d.PID] = d.Sessions
	}
	return left
}

func TestAnUpgradeCutsNoSession(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server})
	var talks []*talk
	var processes []*lab.Process
	for round := range 3 { // the first drains while the third takes over
		k := converse(t, agentd, server)
		k.says(t, fmt.Sprint("begun ", round))
		talks = append(talks, k)
		processes = append(processes, agentd.Process)
		if err := agentd.Start(t); err != nil {
			t.Fatalf("upgrade %d: %v", round, err)
		}
		for i, k := range talks {
			k.says(t, fmt.Sprintf("session %d after upgrade %d", i, round))
		}
		for _, s := range sessions(t, agentd) {
			if s.State != "live" {
				t.Errorf("after upgrade %d a session is %s: %s", round, s.State, s.Outcome)
			}
		}
	}
	left := draining(t, agentd)
	for i, p := range processes {
		pid := p.Cmd.Process.Pid
		if left[pid] != 1 {
			t.Errorf("agentd %d has %d sessions left, want 1 (status says %v)", i, left[pid], left)
		}
		_ = p.Cmd.Process.Signal(syscall.SIGTERM) // as Kubernetes does: not the end
	}
	for i, k := range talks {
		k.says(t, fmt.Sprint("still there ", i))
		k.ends(t)
		if err := processes[i].Wait(); err != nil {
			t.Errorf("agentd %d ended with %v", i, err)
		}
	}
	if got := output(t, agentd.Captured(t, psql(server, "select 'new';"))); got != "new\n" {
		t.Errorf("a new session printed %q", got)
	}
	list := sessions(t, agentd)
	if len(list) != 4 {
		t.Errorf("recorded %d sessions, want 4", len(list))
	}
	for _, s := range list {
		if s.State != "ended" || !strings.HasSuffix(s.Outcome, " closed") {
			t.Errorf("a session is %s: %s", s.State, s.Outcome)
		}
	}
	if out, err := agentd.Ctl(t, "audit", "verify"); err != nil || strings.Contains(out, "adopted") {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
	if t.Failed() {
		t.Log(agentd.Said())
	}
}

// TestAnAgentdThatCannotTakeOverChangesNothing starts daemons that fail before,
// or in the middle of, taking over.
func TestAnAgentdThatCannotTakeOverChangesNothing(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server})
	first := agentd.Process
	k := converse(t, agentd, server)
	k.says(t, "before")
	for _, tt := range []struct {
		name, from, to string
		want           string
	}{
		{"another state folder", "state: ", "state: /nowhere", "an upgrade cannot change that"},
		{"a metrics address that is taken", `metrics: ""`, "metrics: " + server.Addr.String(), "listen for metrics"},
	} {
		config := ""
		edit(t, agentd, func(text string) string {
			config = text
			return strings.Replace(text, tt.from, tt.to, 1)
		})
		if err := agentd.Start(t); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		edit(t, agentd, func(string) string { return config })
		agentd.Process = first
		k.says(t, "after "+tt.name)
		if got := output(t, agentd.Captured(t, psql(server, "select 'served';"))); got != "served\n" {
			t.Errorf("%s: psql printed %q afterwards", tt.name, got)
		}
	}
	k.ends(t)
	if list := sessions(t, agentd); len(list) != 3 {
		t.Errorf("recorded %+v, want 3 sessions", list)
	}
	select {
	case <-first.Done():
		t.Errorf("the first daemon ended:\n%s", agentd.Said())
	default:
	}
	agentd.Process.Stop(syscall.SIGTERM)
	if err := agentd.Process.Wait(); err != nil {
		t.Errorf("agentd ended with %v", err)
	}
	if out, err := agentd.Ctl(t, "audit", "verify", "--dir", agentd.Log, "--key", agentd.Key); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

// TestSessionsOutliveTheAgentdThatRecordsThem kills the new agentd after an
// upgrade: the old one's sessions wait for the next, and go on.
func TestSessionsOutliveTheAgentdThatRecordsThem(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server})
	k := converse(t, agentd, server)
	k.says(t, "begun")
	if err := agentd.Start(t); err != nil {
		t.Fatal(err)
	}
	k.says(t, "after the upgrade")
	agentd.Process.Stop(syscall.SIGKILL)
	if _, err := fmt.Fprintln(k.in, "select 'waits';"); err != nil {
		t.Fatal(err)
	}
	<-time.After(100 * time.Millisecond) // for it to have been asked while nobody records
	if strings.Contains(server.Log(), "'waits'") {
		t.Error("a statement reached the server without a record")
	}
	if err := agentd.Start(t); err != nil {
		t.Fatal(err)
	}
	expectLine(t, k.out, "waits\n")
	if list := sessions(t, agentd); len(list) != 1 || list[0].State != "live" {
		t.Errorf("recorded %+v, want one live session", list)
	}
	k.ends(t)
}

// TestSIGUSR2UpgradesInPlace is what a unit's ExecReload does: the new process
// is started by the old one, and says that it is the main one now.
func TestSIGUSR2UpgradesInPlace(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server})
	k := converse(t, agentd, server)
	k.says(t, "before")
	path := filepath.Join(agentd.Dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if err := manager.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	old := agentd.Process
	_ = old.Cmd.Process.Signal(syscall.SIGUSR2)
	said := make([]byte, 4096)
	n, err := manager.Read(said)
	if err != nil {
		t.Fatalf("the new agentd did not start: %v\n%s", err, agentd.Said())
	}
	var main int
	if _, err := fmt.Sscanf(string(said[:n]), "MAINPID=%d\nREADY=1", &main); err != nil || main == old.Cmd.Process.Pid {
		t.Errorf("the new agentd said %q, want its own pid", said[:n])
	}
	k.says(t, "after")
	if left := draining(t, agentd); left[old.Cmd.Process.Pid] != 1 {
		t.Errorf("draining are %v, want the old one with a session", left)
	}
	k.ends(t)
	if err := old.Wait(); err != nil {
		t.Errorf("the old agentd ended with %v", err)
	}
	process, err := os.FindProcess(main)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = process.Kill() }()
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); process.Signal(syscall.Signal(0)) == nil; {
		if time.Now().After(deadline) {
			t.Fatalf("the new agentd does not stop:\n%s", agentd.Said())
		}
		<-time.After(20 * time.Millisecond) // it is not our child: nothing tells
	}
}

// TestAnAgentdThatStaysWaitsToBeTold is what keeps the kubelet from starting the
// old one again, which would take over in turn.
func TestAnAgentdThatStaysWaitsToBeTold(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.NewAgentd(t, lab.Setup{Policy: lawful, Target: server})
	agentd.Args = []string{"--stay"}
	if err := agentd.Start(t); err != nil {
		t.Fatal(err)
	}
	old := agentd.Process
	if err := agentd.Start(t); err != nil {
		t.Fatal(err)
	}
	if got := output(t, agentd.Captured(t, psql(server, "select 'served';"))); got != "served\n" {
		t.Errorf("psql printed %q", got)
	}
	select {
	case <-old.Done():
		t.Error("the old agentd ended before it was told to")
	default:
	}
	old.Stop(syscall.SIGTERM)
	if err := old.Wait(); err != nil {
		t.Errorf("the old agentd ended with %v:\n%s", err, agentd.Said())
	}
}

// TestTheUnitsCapabilitiesAreEnough runs a daemon, and an upgrade, with what
// deploy/agentd.service leaves it.
func TestTheUnitsCapabilitiesAreEnough(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile("../deploy/agentd.service")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(unit), "\nCapabilityBoundingSet=")
	line, _, _ = strings.Cut(line, "\n")
	bounding := "-all"
	for _, name := range strings.Fields(line) {
		bounding += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
	}
	server := lab.Postgres(t)
	agentd := lab.NewAgentd(t, lab.Setup{Policy: lawful, Target: server})
	agentd.Wrap = []string{"setpriv", "--bounding-set=" + bounding, "--inh-caps=-all", "--no-new-privs"}
	for range 2 {
		if err := agentd.Start(t); err != nil {
			t.Fatal(err)
		}
		if got := output(t, agentd.Captured(t, psql(server, "select 'served';"))); got != "served\n" {
			t.Errorf("psql printed %q", got)
		}
	}
	if said := agentd.Said(); strings.Contains(said, "less confined") {
		t.Errorf("the grammar's workers lack a right to give up others:\n%s", said)
	}
}

func TestAnAgentdWithOtherMapsIsNotTakenOver(t *testing.T) {
	t.Parallel()
	agentd := lab.NewAgentd(t, lab.Setup{})
	running, err := handover.Listen(agentd.Socket + ".handover")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	ctx, end := context.WithCancel(t.Context())
	defer func() { end(); <-served; running.Close() }()
	config, err := daemon.LoadConfig(filepath.Join(agentd.Dir, "agentd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(served)
		_ = running.Serve(ctx, func(conn *handover.Conn) {
			defer conn.Close()
			var hello map[string]any
			if _, err := conn.Receive(&hello); err != nil {
				t.Error(err)
			}
			if err := conn.Send(map[string]any{
				"Version": "v0.0.1", "Node": config.Node, "State": config.State, "Root": config.Capture.Root, "Pins": config.Capture.Pins,
				"Shapes": map[string]string{"agentd_flows": "another"},
			}); err != nil {
				t.Error(err)
			}
			var ready map[string]any
			if _, err := conn.Receive(&ready); err == nil {
				t.Errorf("it said %v, want that it goes away", ready)
			}
		})
	}()
	want := "version v0.0.1 keeps agentd_flows in another form"
	if err := agentd.Start(t); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("start: %v, want %q", err, want)
	}
}

func TestAnAgentdThatHangsIsNotTakenOver(t *testing.T) {
	t.Parallel()
	agentd := lab.StartAgentd(t, lab.Setup{})
	hung := agentd.Process
	_ = hung.Cmd.Process.Signal(syscall.SIGSTOP)
	want := fmt.Sprintf("(pid %d)", hung.Cmd.Process.Pid)
	if err := agentd.Start(t); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("start: %v, want that %s does not answer", err, want)
	}
	hung.Stop(syscall.SIGKILL)
	if err := agentd.Start(t); err != nil {
		t.Errorf("start once it is gone: %v", err)
	}
}
