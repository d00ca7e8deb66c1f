package agentd_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/internal/faults"
	"agentd.dev/agentd/internal/lab"
)

// tries is a client's session with statements that tagged finds.
func tries(s *lab.Server, round int) *exec.Cmd {
	return psql(s, fmt.Sprintf("select 'crash%d-0-1';", round), fmt.Sprintf("select 'crash%d-0-2' limit 1;", round))
}

// agentd is killed before each step of a session by which it records and
// forwards, one after another: files, syncs and sockets.
func TestAKillBetweenAnyTwoStepsLeavesNoStatementWithoutItsRecord(t *testing.T) {
	for _, durability := range []string{"page", "disk"} {
		t.Run(durability, func(t *testing.T) {
			t.Parallel()
			server := lab.Postgres(t)
			agentd := lab.NewAgentd(t, lab.Setup{
				Policy: lawful, Target: server, Keys: "durability: " + durability,
				Config: "record: {checkpoint: 1h}\n", // so that the steps are those of the session
			})
			var left atomic.Int64 // steps until the kill; none is counted below 0
			left.Store(-1)
			var last atomic.Pointer[faults.Step]
			faults.Set(t, agentd, func(s *faults.Step) (a faults.Act) {
				if left.Load() >= 0 && left.Add(-1) < 0 {
					last.Store(s)
					a.Before = true
				}
				return a
			})
			rounds, kinds := 0, map[faults.Kind]int{}
			for ; ; rounds++ {
				if err := agentd.Start(t); err != nil {
					t.Fatalf("round %d: %v", rounds, err)
				}
				left.Store(int64(rounds))
				out, err := agentd.Captured(t, tries(server, rounds)).CombinedOutput()
				if left.Swap(-1) >= 0 && err == nil { // fewer steps than that
					break
				}
				<-agentd.Process.Done()
				if err == nil && strings.Count(string(out), "crash") != 2 {
					t.Errorf("round %d: psql was told nothing of the kill and said %q", rounds, out)
				}
				kinds[last.Load().Kind]++
			}
			if out, err := agentd.Ctl(t, "audit", "verify"); err != nil {
				t.Errorf("audit verify after %d kills: %v\n%s", rounds, err, out)
			}
			recorded := statementsIn(t, agentd.Log)
			seen := tagged.FindAllString(server.Log(), -1)
			for _, statement := range seen {
				if !recorded[statement] {
					t.Errorf("%s reached the server without a record", statement)
				}
			}
			t.Logf("%d kills before %v; %d statements at the server, %d recorded", rounds, kinds, len(seen), len(recorded))
			if kinds[faults.Write] < 3 || kinds[faults.Send] < 6 || (kinds[faults.Sync] > 2) != (durability == "disk") {
				t.Errorf("kills before %v: not the steps of a session", kinds)
			}
		})
	}
}

// A talkative is a psql that is told one statement after another.
type talkative struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	said bytes.Buffer
}

func talkTo(t *testing.T, a *lab.Agentd, s *lab.Server) *talkative {
	t.Helper()
	p := &talkative{}
	cmd := psql(s)
	cmd.Stdin = nil
	p.cmd = a.Captured(t, cmd)
	p.cmd.Stderr = &p.said
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// ask says a statement of one line and returns its answer.
func (p *talkative) ask(text string) string {
	fmt.Fprintln(p.in, text+";")
	line, _ := p.out.ReadString('\n')
	return line
}

// end waits for its end and returns what it said of errors.
func (p *talkative) end() (string, error) {
	p.in.Close()
	_, _ = io.Copy(io.Discard, p.out)
	err := p.cmd.Wait()
	return p.said.String(), err
}

// isLog reports whether a step is of a segment.
func isLog(s *faults.Step) bool {
	return strings.HasSuffix(s.Path, ".seg") || strings.HasSuffix(s.Path, ".anew")
}

func TestWhateverFailsNothingRunsUnrecordedAndTheGapIsSigned(t *testing.T) {
	for _, tt := range []struct {
		name       string
		durability string
		kind       faults.Kind
		err        unix.Errno
	}{
		{"a write fails", "page", faults.Write, unix.EIO},
		{"the disk is full", "page", faults.Write, unix.ENOSPC},
		{"the filesystem is read-only", "page", faults.Write, unix.EROFS},
		{"a sync fails", "disk", faults.Sync, unix.EIO},
		{"a sync fails for want of space", "disk", faults.Sync, unix.ENOSPC},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := lab.Postgres(t)
			agentd := lab.NewAgentd(t, lab.Setup{
				Policy: lawful, Target: server, Keys: "durability: " + tt.durability, Config: "record: {checkpoint: 20ms}\n",
			})
			var fails atomic.Bool
			gap := make(chan struct{}, 1)
			trap := faults.Set(t, agentd, func(s *faults.Step) (a faults.Act) {
				if fails.Load() && s.Kind == tt.kind && isLog(s) {
					a.Fail = tt.err
				}
				return a
			})
			trap.Done = func(s *faults.Step) {
				if s.Kind == faults.Write && bytes.Contains(s.Data, []byte(`"type":"gap"`)) {
					gap <- struct{}{}
				}
			}
			if err := agentd.Start(t); err != nil {
				t.Fatal(err)
			}
			session := talkTo(t, agentd, server)
			if got := session.ask("select 'before'"); got != "before\n" {
				t.Fatalf("got %q", got)
			}
			fails.Store(true)
			session.ask("select 'in the gap'")
			if said, err := session.end(); err == nil || !strings.Contains(said, "FATAL") || !strings.Contains(said, "cannot record") {
				t.Errorf("psql ended with %v and said %q, want to be told that recording failed", err, said)
			}
			if out, err := agentd.Captured(t, psql(server, "select 'in the gap';")).CombinedOutput(); err == nil || !strings.Contains(string(out), "cannot record") {
				t.Errorf("a new session ended with %v and said %q, want to be told that recording failed", err, out)
			}
			if out, err := agentd.Ctl(t, "status"); err == nil || !strings.Contains(out, tt.err.Error()) {
				t.Errorf("agentctl status: %v\n%s", err, out)
			}
			fails.Store(false)
			<-gap
			if out, err := agentd.Captured(t, psql(server, "select 'after';")).CombinedOutput(); err != nil || string(out) != "after\n" {
				t.Errorf("after the gap psql ended with %v and said %q", err, out)
			}
			agentd.Process.Stop(unix.SIGTERM)
			if strings.Contains(server.Log(), "in the gap") {
				t.Error("a statement reached the server without its record")
			}
			if out, err := agentd.Ctl(t, "audit", "verify", "--dir", agentd.Log, "--key", agentd.Key); err != nil || strings.Contains(out, "not signed") {
				t.Errorf("audit verify: %v\n%s", err, out)
			}
		})
	}
}

func TestOnlySessionsOfDurableTargetsWaitForTheDisk(t *testing.T) {
	t.Parallel()
	page, disk := lab.Postgres(t), lab.Postgres(t)
	agentd := lab.NewAgentd(t, lab.Setup{Policy: lawful, Config: fmt.Sprintf(`
record: {checkpoint: 1h}
limits: {loops: 1}
targets:
  - {name: page, address: %q, protocol: postgres, default: allow}
  - {name: disk, address: %q, protocol: postgres, default: allow, durability: disk}
`, page.Addr, disk.Addr)})
	var slow atomic.Bool
	ended, waits := make(chan struct{}), make(chan struct{}, 8)
	faults.Set(t, agentd, func(s *faults.Step) (a faults.Act) {
		if slow.Load() && s.Kind == faults.Sync && isLog(s) {
			a.Until = ended
			waits <- struct{}{}
		}
		return a
	})
	if err := agentd.Start(t); err != nil {
		t.Fatal(err)
	}
	quick, durable := talkTo(t, agentd, page), talkTo(t, agentd, disk)
	if got := durable.ask("select 'to begin with'") + quick.ask("select 'to begin with'"); got != "to begin with\nto begin with\n" {
		t.Fatalf("got %q", got)
	}
	slow.Store(true)
	answer := make(chan string)
	go func() { answer <- durable.ask("select 'on the disk'") }()
	<-waits
	for i := range 100 {
		if got := quick.ask(fmt.Sprintf("select %d", i)); got != fmt.Sprintf("%d\n", i) {
			t.Fatalf("statement %d of a session that need not wait: got %q", i, got)
		}
	}
	if strings.Contains(disk.Log(), "on the disk") {
		t.Error("a statement reached the server before its record was on the disk")
	}
	close(ended)
	if got := <-answer; got != "on the disk\n" {
		t.Errorf("got %q", got)
	}
	for _, p := range []*talkative{quick, durable} {
		if said, err := p.end(); err != nil {
			t.Errorf("%v: %s", err, said)
		}
	}
}
