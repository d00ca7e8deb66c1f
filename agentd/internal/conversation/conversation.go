// Package conversation holds long conversations between PostgreSQL and real,
// unmodified clients, and makes a transcript of each. Two conversations with
// the same server give the same transcript, so that a difference between a
// direct one and a captured one is the work of what stands between.
package conversation

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/conversation/script"
	"agentd.dev/agentd/internal/lab"
)

// Fixture is SQL for the superuser of a lab.Postgres: what the clients find.
// They leave it as it was, but for pgbench's tables.
//
//go:embed fixture.sql
var Fixture string

//go:embed psql/tail.sql
var psqlTail string

//go:embed psycopg/main.py
var psycopgMain string

//go:embed jdbc/Main.java
var jdbcMain []byte

//go:embed node/main.js
var nodeMain string

// A Client is a program that talks to a server for a while, in one way.
type Client struct {
	Name string
	// Cmd returns the program, ready to start but for its output. It logs in
	// as its environment says and prints every answer it gets.
	Cmd func(t testing.TB, s *lab.Server) *exec.Cmd
	// Exit is the program's exit status when all went as it should.
	Exit int
}

// Clients are all clients.
var Clients = []Client{
	{Name: "psql", Cmd: psql, Exit: 3}, // 3: its last query was cancelled
	{Name: "pgbench simple", Cmd: pgbench("simple")},
	{Name: "pgbench extended", Cmd: pgbench("extended")},
	{Name: "pgbench prepared", Cmd: pgbench("prepared")},
	{Name: "pgx simple", Cmd: program("pgx", "simple")},
	{Name: "pgx extended", Cmd: program("pgx", "extended")},
	{Name: "pgx prepared", Cmd: program("pgx", "prepared")},
	{Name: "pgx pipeline", Cmd: program("pgx", "pipeline")},
	{Name: "lib/pq", Cmd: program("pq", "text")},
	{Name: "lib/pq binary", Cmd: program("pq", "binary")},
	{Name: "psycopg2", Cmd: psycopg},
	{Name: "node-postgres", Cmd: node},
	{Name: "JDBC simple", Cmd: jdbc("simple")},
	{Name: "JDBC extended", Cmd: jdbc("extended")},
	{Name: "JDBC prepared", Cmd: jdbc("prepared")},
	{Name: "raw bytes", Cmd: program("raw")},
}

func psql(_ testing.TB, s *lab.Server) *exec.Cmd {
	cmd := login(s, "psql", "-X", "-e", "--pset=null=<null>", "--set=VERBOSITY=verbose")
	cmd.Stdin = strings.NewReader(script.Text() + psqlTail)
	return cmd
}

func pgbench(mode string) func(testing.TB, *lab.Server) *exec.Cmd {
	return func(_ testing.TB, s *lab.Server) *exec.Cmd {
		return login(s, "pgbench", "-n", "-M", mode, "-c", "2", "-t", "50", "--random-seed=7",
			"-b", "tpcb-like@1", "-b", "select-only@3")
	}
}

func program(name string, args ...string) func(testing.TB, *lab.Server) *exec.Cmd {
	return func(t testing.TB, s *lab.Server) *exec.Cmd {
		return login(s, lab.Binary(t, "./agentd/internal/conversation/"+name), args...)
	}
}

// The distribution's own Python has the distribution's psycopg2.
func psycopg(_ testing.TB, s *lab.Server) *exec.Cmd {
	cmd := login(s, "/usr/bin/python3", "-c", psycopgMain)
	cmd.Stdin = strings.NewReader(strings.Join(script.Statements(), "\x00"))
	return cmd
}

// The driver is Debian's, whoever Node itself is from (scripts/deps.sh).
func node(t testing.TB, s *lab.Server) *exec.Cmd {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cmd := login(s, "node", "-e", nodeMain)
	cmd.Env = append(cmd.Env, "NODE_PATH=/usr/share/nodejs:"+filepath.Join(cache, "agentd/nodejs/usr/share/nodejs"))
	cmd.Stdin = strings.NewReader(strings.Join(script.Statements(), "\x00"))
	return cmd
}

func jdbc(mode string) func(testing.TB, *lab.Server) *exec.Cmd {
	return func(t testing.TB, s *lab.Server) *exec.Cmd {
		main := filepath.Join(t.TempDir(), "Main.java")
		if err := os.WriteFile(main, jdbcMain, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := login(s, "java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", "/usr/share/java/postgresql.jar", main, mode)
		cmd.Stdin = strings.NewReader(strings.Join(script.Statements(), "\x00"))
		return cmd
	}
}

// login returns a command whose environment says, to libpq and to the Go
// drivers alike, where to log in and as whom.
func login(s *lab.Server, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PSQL_HISTORY=/dev/null",
		"PGHOST="+s.Addr.Addr().String(), fmt.Sprintf("PGPORT=%d", s.Addr.Port()),
		"PGUSER="+s.User, "PGPASSWORD="+s.Password, "PGDATABASE="+s.Database, "PGSSLMODE=prefer")
	return cmd
}

// Transcript runs the client's program, which may be wrapped by then, and
// returns what it printed, without what differs from run to run.
func (c *Client) Transcript(t testing.TB, cmd *exec.Cmd) []byte {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	if got := cmd.ProcessState.ExitCode(); got != c.Exit {
		t.Fatalf("%s: %v, want exit status %d; it printed, in the end:\n%s", c.Name, err, c.Exit, tail(out.Bytes()))
	}
	text := out.Bytes()
	for _, v := range varying {
		text = v.pattern.ReplaceAll(text, v.constant)
	}
	return text
}

// varying is what clients print that differs from run to run.
var varying = []struct {
	pattern  *regexp.Regexp
	constant []byte
}{
	// The number is of the backend's place in the server; the raw client prints the
	// message's length before it.
	{regexp.MustCompile(`(?m)^E \d+ (".*)pg_temp_\d+`), []byte("E # ${1}pg_temp_#")},
	{regexp.MustCompile(`pg_temp_\d+`), []byte("pg_temp_#")},
	{regexp.MustCompile(`process with PID \d+`), []byte("process with PID #")},
	{regexp.MustCompile(`(latency|initial connection time|tps)( \w+)? = [0-9.]+`), []byte("$1$2 = #")},
}

func tail(text []byte) []byte { return text[max(0, len(text)-2000):] }

// Difference describes the first line in which two transcripts differ, "" if
// they are the same byte for byte.
func Difference(got, want []byte) string {
	if bytes.Equal(got, want) {
		return ""
	}
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(g), len(w)) {
		if !bytes.Equal(g[i], w[i]) {
			return fmt.Sprintf("line %d:\n got %.2000q\nwant %.2000q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}
