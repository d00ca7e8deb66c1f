package sql_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/decoders/sql"
)

// What a text says is the server's to decide: random texts are sent to a real
// one, under several settings, and what it ran is compared with what was said
// of them.
func TestTheServerCutsTextsInTheSameWay(t *testing.T) {
	c := startServer(t)
	random := rand.New(rand.NewPCG(5, 6))
	a := sql.NewAnalyzer(nil)
	c.query(t, "create temp table t (a int); set escape_string_warning = off; set backslash_quote = on")
	agreed := 0
	for _, strict := range []string{"on", "off"} {
		for _, encoding := range []string{"utf8", "sjis", "gbk", "big5", "latin1"} {
			c.query(t, "set standard_conforming_strings = "+strict+"; set client_encoding = "+encoding)
			for range 2000 {
				text := randomSelects(random)
				ran, err := c.query(t, text)
				f := a.Analyze([]byte(text))
				if err != "" || f.Unclassified != "" {
					continue
				}
				agreed++
				if len(ran) != f.Statements {
					t.Fatalf("strings %s, %s: the server ran %q, and %q was said to be %d statements that %q", strict, encoding, ran, text, f.Statements, f.Verbs)
				}
				for _, tag := range ran {
					verb, _, _ := strings.Cut(strings.ToLower(tag), " ")
					if verb != "select" && !strings.Contains(strings.Join(f.Verbs, " "), verb) { // VALUES is tagged SELECT
						t.Fatalf("strings %s, %s: the server ran %q, and %q was said to %q", strict, encoding, ran, text, f.Verbs)
					}
				}
			}
		}
	}
	if agreed < 2000 {
		t.Errorf("the server took %d texts that were classified, want more than 2000 to say something", agreed)
	}
}

// Where literals and comments begin and end, and what may be inside.
var (
	ends = [][2]string{
		{"'", "'"},
		{"E'", "'"},
		{"e'", "'"},
		{"$$", "$$"},
		{"$a$", "$a$"},
		{"U&'", "'"},
		{"N'", "'"},
		{"B'", "'"},
		{"'a'\n'", "'"},
		{"E'a' -- '\n  '", "'"},
		{"/*", "*/ 1"},
		{"--", "\n 1"},
		{`1 as "`, `"`},
		{"1 + -- ", "\n 2"},
		{"1 as a$", "$a"},
	}
	insides = []string{
		"a", "1", " ", "\n", "''", `\'`, `\\`, `\`, `\n`, "--", "/*", "*/", ";", `"`, "$a$", "$$", "$b$", "delete from t",
		"\x83", "\xb1\\", "\x83\\", "\x83\x83\\", "あ", "--'", "-- '\n", "'||'", "'\n'", "' --\n'", "'; notify z; --",
	}
	starts = []string{"select ", "(select ", "listen a; select ", "values (1); select "}
	joins  = []string{";", "; ", ";;\n", " /* ; */ ; "}
)

func randomSelects(random *rand.Rand) string {
	var b strings.Builder
	for i := range 1 + random.IntN(3) {
		if i > 0 {
			b.WriteString(joins[random.IntN(len(joins))])
		}
		start := starts[random.IntN(len(starts))]
		b.WriteString(start)
		for j := range 1 + random.IntN(3) {
			if j > 0 {
				b.WriteString(", ")
			}
			end := ends[random.IntN(len(ends))]
			b.WriteString(end[0])
			for range random.IntN(4) {
				b.WriteString(insides[random.IntN(len(insides))])
			}
			b.WriteString(end[1])
		}
		if start[0] == '(' {
			b.WriteByte(')')
		}
	}
	return b.String()
}

// A text with a syntax error at its end is rejected as a whole: an error that
// points there says that the grammar has everything before.
func TestTheServerKnowsTheStatementsOfTheTables(t *testing.T) {
	c := startServer(t)
	for _, tt := range nestedVerbs {
		const wrong = "\n; select selekt selekt selekt"
		_, where := c.query(t, tt.text+wrong)
		if want := "P" + strconv.Itoa(len([]rune(tt.text+wrong))-len("selekt")+1); where != want {
			t.Errorf("%q: the server finds an error at %s, want %s", tt.text, where, want)
		}
	}
}

// session is a connection to a server, in its simple query protocol.
type session struct{ net.Conn }

// query sends text and returns the tags of what was run, and where the
// server found an error, "" if it found none.
func (c session) query(t *testing.T, text string) (tags []string, fault string) {
	t.Helper()
	m := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(len(text)+5))
	if _, err := c.Write(append(append(m, text...), 0)); err != nil {
		t.Fatal(err)
	}
	return c.results(t)
}

// results reads until ReadyForQuery.
func (c session) results(t *testing.T) (tags []string, fault string) {
	t.Helper()
	for {
		var head [5]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(c, body); err != nil {
			t.Fatal(err)
		}
		switch head[0] {
		case 'C':
			tags = append(tags, strings.TrimRight(string(body), "\x00"))
		case 'E':
			for field := range strings.SplitSeq(string(body), "\x00") {
				if strings.HasPrefix(field, "P") || fault == "" {
					fault = field
				}
			}
		case 'Z':
			return tags, fault
		}
	}
}

// startServer starts a PostgreSQL that only this test can reach, and connects
// to it. It is gone when the test ends.
func startServer(t *testing.T) session {
	t.Helper()
	bin := serverPrograms(t)
	dir, err := os.MkdirTemp("", "sql")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	attr := unprivileged(t, dir)
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"), "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off")
	server.Dir, server.SysProcAttr = dir, attr
	attr.Pdeathsig = syscall.SIGQUIT // should the test be killed
	log, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // Pdeathsig means the thread that starts it
	t.Cleanup(runtime.UnlockOSThread)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGQUIT) // the data is thrown away
		<-read
		_ = server.Wait()
	})
	ready := make(chan error, 1)
	go func() {
		defer close(read)
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "ready to accept connections") {
				ready <- nil
			}
		}
		ready <- errors.New("it ended before it was ready")
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	return connect(t, filepath.Join(dir, ".s.PGSQL.5432"))
}

func connect(t *testing.T, socket string) session {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	const startup = "\x00\x03\x00\x00user\x00postgres\x00\x00"
	m := binary.BigEndian.AppendUint32(nil, uint32(len(startup)+4))
	if _, err := conn.Write(append(m, startup...)); err != nil {
		t.Fatal(err)
	}
	c := session{conn}
	if _, fault := c.results(t); fault != "" {
		t.Fatal("log in:", fault)
	}
	return c
}

// serverPrograms finds the newest server of the distribution, or one on the
// PATH.
func serverPrograms(t *testing.T) string {
	t.Helper()
	if found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); err == nil && len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		t.Fatal("no PostgreSQL server is installed: run scripts/deps.sh")
	}
	return filepath.Dir(path)
}

// unprivileged says whom to run the server as, and gives dir to them: it
// refuses to run as root.
func unprivileged(t *testing.T, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		return new(syscall.SysProcAttr)
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr, os.Chown(dir, int(uid), int(gid))); err != nil {
		t.Fatal(fmt.Errorf("give %s to %s: %w", dir, u.Username, err))
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}
