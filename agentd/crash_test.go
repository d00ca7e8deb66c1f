package agentd_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentd.dev/agentd/internal/lab"
)

// crashes is how often the daemon is killed.
const crashes = 50

func TestEveryStatementAtTheServerHasARecord(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.NewAgentd(t, lab.Setup{Policy: lawful, Target: server})
	for round := range crashes {
		if err := agentd.Start(t); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		load := agentd.Captured(t, loadOf(t, server, fmt.Sprintf("crash%d", round), 1_000_000, 8))
		ready, err := load.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := load.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(ready).ReadString('\n'); line != "ready\n" {
			t.Fatalf("round %d: load printed %q, %v; agentd said:\n%s", round, line, err, agentd.Said())
		}
		// The moment is random; what is awaited is the process's end.
		<-time.After(time.Duration(rand.IntN(150_000)) * time.Microsecond)
		_ = agentd.Process.Cmd.Process.Signal(syscall.SIGKILL)
		<-agentd.Process.Done()
		if err := load.Wait(); err == nil {
			t.Fatalf("round %d: load finished although agentd was killed", round)
		}
	}
	if err := agentd.Start(t); err != nil {
		t.Fatal(err)
	}
	if out, err := agentd.Ctl(t, "audit", "verify"); err != nil {
		t.Errorf("audit verify after %d crashes: %v\n%s", crashes, err, out)
	}
	recorded := statementsIn(t, agentd.Log)
	seen := tagged.FindAllString(server.Log(), -1)
	for _, statement := range seen {
		if !recorded[statement] {
			t.Errorf("%s reached the server without a record", statement)
		}
	}
	t.Logf("%d statements at the server, %d recorded", len(seen), len(recorded))
	if len(seen) < 10*crashes {
		t.Errorf("only %d statements reached the server: the test is too tame to mean anything", len(seen))
	}
}

// tagged matches the statements of package load.
var tagged = regexp.MustCompile(`select 'crash\d+-\d+-\d+'`)

// statementsIn returns the load's statements that the log's files hold.
func statementsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range tagged.FindAllString(string(text), -1) {
			found[statement] = true
		}
	}
	return found
}

// loadOf returns a command that makes conns connections to server, some at a
// time, with 20 statements on each.
func loadOf(t *testing.T, server *lab.Server, tag string, conns, atOnce int) *exec.Cmd {
	cmd := exec.Command(lab.Binary(t, "./agentd/internal/lab/load"),
		"-tag", tag, "-conns", fmt.Sprint(conns), "-at-once", fmt.Sprint(atOnce), "-statements", "20")
	cmd.Env = append(os.Environ(), "PGHOST="+server.Addr.Addr().String(), fmt.Sprint("PGPORT=", server.Addr.Port()),
		"PGUSER="+server.User, "PGPASSWORD="+server.Password, "PGDATABASE="+server.Database, "PGSSLMODE=disable")
	return cmd
}

func TestWithoutTheDaemonNothingReachesTheServer(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: lawful, Target: server})
	// A shell that is captured before the crash, and connects after it.
	cmd := agentd.Captured(t, exec.Command("/bin/sh", "-c", `echo up; read go; exec psql -XqAt -c "select 'after the crash'"`))
	cmd.Env = psql(server).Env
	cmd.Env = append(cmd.Env, "PGHOST="+server.Addr.Addr().String(), fmt.Sprint("PGPORT=", server.Addr.Port()), "PGUSER="+server.User, "PGDATABASE="+server.Database)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("the shell printed %q, %v", line, err)
	}
	_ = agentd.Process.Cmd.Process.Signal(syscall.SIGKILL)
	<-agentd.Process.Done()
	fmt.Fprintln(in, "go")
	if err := cmd.Wait(); err == nil {
		t.Error("psql succeeded, want it refused")
	}
	if !strings.Contains(said.String(), "Connection refused") {
		t.Errorf("psql said %q, want a refused connection", said.String())
	}
	if strings.Contains(server.Log(), "after the crash") {
		t.Error("a statement reached the server without agentd")
	}
}
