package lab_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/lab"
)

func TestPostgresAnswersItsUserAndLogsTheStatement(t *testing.T) {
	server := lab.Postgres(t)
	psql := exec.Command("psql", "-XAt", "-c", "select 'seen in the log'",
		"-h", server.Addr.Addr().String(), "-p", port(server), "-U", server.User, "-d", server.Database)
	psql.Env = append(os.Environ(), "PGPASSWORD="+server.Password)
	out, err := psql.CombinedOutput()
	if err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	if got, want := string(out), "seen in the log\n"; got != want {
		t.Errorf("psql printed %q, want %q", got, want)
	}
	if log := server.Log(); !strings.Contains(log, "statement: select 'seen in the log'") {
		t.Errorf("the log does not show the statement:\n%s", log)
	}
}

func TestPostgresWantsThePassword(t *testing.T) {
	server := lab.Postgres(t)
	psql := exec.Command("psql", "-Xw", "-c", "select 1", "-h", server.Addr.Addr().String(),
		"-p", port(server), "-U", server.User, "-d", server.Database)
	psql.Env = append(os.Environ(), "PGPASSWORD=wrong")
	out, err := psql.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "password authentication failed") {
		t.Errorf("psql with a wrong password: %v\n%s", err, out)
	}
}

func TestPostgresIsGoneAfterItsTest(t *testing.T) {
	var server *lab.Server
	t.Run("inner", func(t *testing.T) {
		server = lab.Postgres(t, lab.Setting("log_statement=none"))
		if got, want := server.SQL(t, "create table t (a int, b text); insert into t values (1, 'x'), (2, null); select * from t"), "1|x\n2|"; got != want {
			t.Errorf("SQL returned %q, want %q", got, want)
		}
	})
	select {
	case <-server.Process.Done():
	default:
		t.Error("the server still runs")
	}
	if _, err := os.Stat(server.Socket); !os.IsNotExist(err) {
		t.Errorf("stat %s: %v, want that it does not exist", server.Socket, err)
	}
}

func TestBinaryBuildsAProgramThatRuns(t *testing.T) {
	program := lab.Binary(t, "./agentd/internal/lab/testdata/hello")
	out, err := exec.Command(program).Output()
	if got, want := string(out), "hello\n"; got != want || err != nil {
		t.Errorf("the program printed %q (%v), want %q", got, err, want)
	}
}

func port(server *lab.Server) string {
	return strconv.Itoa(int(server.Addr.Port()))
}
