package grammar_test

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/grammar"
	"agentd.dev/agentd/grammar/walk"
	"agentd.dev/decoders/sql"
)

func TestMain(m *testing.M) {
	if grammar.Main(readOrMisbehave) {
		return
	}
	os.Exit(m.Run())
}

// readOrMisbehave is what this test's workers read texts with: some texts have
// found a way to make the C code do what an attacker wants.
func readOrMisbehave(text string) sql.Meaning {
	switch text {
	case hangs:
		for {
			runtime.Gosched()
		}
	case crashes:
		_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSEGV)
	case panics:
		panic("a bug")
	case grows:
		for {
			hoard = append(hoard, make([]byte, 64<<20))
		}
	case calls:
		return sql.Meaning{Unclear: strings.Join(forbidden(), ", ")}
	case floods:
		return sql.Meaning{Unclear: strings.Repeat("x", 2<<20)}
	}
	if strings.HasPrefix(text, swells) {
		hoard = append(hoard, bytes.Repeat([]byte{1}, 32<<20))
	}
	return walk.Read(text)
}

// Texts that do, and the beginning of some.
const (
	hangs   = "select hangs"
	crashes = "select crashes"
	panics  = "select panics"
	grows   = "select grows"
	swells  = "select swells"
	calls   = "select calls"
	floods  = "select floods"
)

var hoard [][]byte

// forbidden tries what a worker must not do, and returns what it could.
func forbidden() (done []string) {
	try := func(what string, err error) {
		if err == nil {
			done = append(done, what)
		}
	}
	_, err := os.Open("/etc/hostname")
	try("open a file", err)
	_, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	try("make a socket", err)
	try("start a program", unix.Exec("/bin/true", []string{"true"}, nil))
	_, _, errno := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	if errno == 0 {
		try("start a process", nil)
	}
	try("signal another process", unix.Kill(os.Getppid(), 0))
	try("signal a thread of another process", unix.Tgkill(os.Getppid(), os.Getppid(), 0))
	_, err = unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	try("make code", err)
	memory, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return append(done, err.Error())
	}
	try("turn data into code", unix.Mprotect(memory, unix.PROT_READ|unix.PROT_EXEC))
	try("trace", unix.PtraceAttach(os.Getppid()))
	try("become root", unix.Setresuid(0, 0, 0))
	try("be dumped", unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0))
	return done
}

// open opens a pool, and waits until both of its workers are ready.
func open(t testing.TB) *grammar.Pool {
	t.Helper()
	p, err := grammar.Open(slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	for end := time.Now().Add(time.Minute); p.Counts.Started.Load() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the second worker is not ready after a minute")
		}
	}
	return p
}

func study(p *grammar.Pool, text string) *sql.Meaning {
	f := sql.NewAnalyzer(nil).Analyze([]byte(text))
	return p.Study(f.Key, f.Skeleton()).(*sql.Meaning)
}

func TestAStatementIsStudiedOnceAndKnownThen(t *testing.T) {
	p := open(t)
	key := sql.NewAnalyzer(nil).Analyze([]byte("select a from t where b = 'x'")).Key
	if _, ok := p.Known(key); ok {
		t.Error("it is known before it was studied")
	}
	m := study(p, "select a from t where b = 'x'")
	if m.Unclear != "" || len(m.Statements) != 1 || m.Statements[0].Kind != "SelectStmt" {
		t.Errorf("it means %+v, want a SelectStmt", m)
	}
	got, ok := p.Known(key)
	if !ok || got != any(m) {
		t.Errorf("then it is known to mean %v, want %v", got, m)
	}
}
