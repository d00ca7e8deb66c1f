package agentd_test

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

// A talk is a psql that is told one statement at a time.
type talk struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err strings.Builder
}

func startTalk(t *testing.T, a *lab.Agentd, s *lab.Server) *talk {
	t.Helper()
	cmd := psql(s)
	cmd.Stdin = nil
	talk := &talk{t: t, cmd: a.Captured(t, cmd)}
	var err error
	if talk.in, err = talk.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := talk.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	talk.out = bufio.NewReader(out)
	talk.cmd.Stderr = &talk.err
	if err := talk.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return talk
}

// ask sends a statement that returns one line, and returns that.
func (k *talk) ask(statement string) string {
	k.t.Helper()
	fmt.Fprintln(k.in, statement)
	line, err := k.out.ReadString('\n')
	if err != nil {
		k.t.Fatalf("%s: %v\n%s", statement, err, k.err.String())
	}
	return strings.TrimSpace(line)
}

func TestStopOnPurposeLetsSessionsFinish(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server, Config: "limits: {drain: 5m}\n"})
	talk := startTalk(t, agentd, server)
	if got := talk.ask("select 'before';"); got != "before" {
		t.Fatalf("psql printed %q", got)
	}
	_ = agentd.Process.Cmd.Process.Signal(syscall.SIGTERM)
	for range 20 {
		if got := talk.ask("select 'still here';"); got != "still here" {
			t.Fatalf("while agentd drains, psql printed %q", got)
		}
	}
	talk.in.Close()
	if err := talk.cmd.Wait(); err != nil {
		t.Errorf("psql ended with %v: %s", err, talk.err.String())
	}
	if err := agentd.Process.Wait(); err != nil {
		t.Errorf("agentd ended with %v:\n%s", err, agentd.Said())
	}
}

func TestStopOnPurposeTellsSessionsThatDoNotFinish(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server, Config: "limits: {drain: 0s}\n"})
	talk := startTalk(t, agentd, server)
	if got := talk.ask("select 'before';"); got != "before" {
		t.Fatalf("psql printed %q", got)
	}
	_ = agentd.Process.Cmd.Process.Signal(syscall.SIGTERM)
	if err := agentd.Process.Wait(); err != nil {
		t.Errorf("agentd ended with %v:\n%s", err, agentd.Said())
	}
	fmt.Fprintln(talk.in, "select 'after';")
	talk.in.Close()
	_ = talk.cmd.Wait()
	if !strings.Contains(talk.err.String(), "57P01") || !strings.Contains(talk.err.String(), "is stopping") {
		t.Errorf("psql said %q, want to be told that agentd is stopping", talk.err.String())
	}
	if out, err := agentd.Ctl(t, "audit", "verify", "--dir", agentd.Log, "--key", agentd.Key); err != nil || !strings.Contains(out, "verified") {
		t.Errorf("audit verify after the stop: %v\n%s", err, out)
	}
}
