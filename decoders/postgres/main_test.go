package postgres_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// The PostgreSQL of these tests starts when the first of them needs it, trusts
// almost everybody, and is gone after the last.
var (
	startServer = sync.OnceValues(newServer)
	stopServer  = func() {}
)

func TestMain(m *testing.M) {
	code := m.Run()
	stopServer()
	os.Exit(code)
}

// serverAddr is where the server listens.
func serverAddr(t testing.TB) string {
	t.Helper()
	addr, err := startServer()
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	return addr
}

// newServer starts the server.
func newServer() (addr string, err error) {
	bin, err := bindir()
	if err != nil {
		return "", err
	}
	attr, err := unprivileged()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "decoders-postgres")
	if err != nil {
		return "", err
	}
	stopServer = func() { os.RemoveAll(dir) }
	if attr.Credential != nil {
		if err := os.Chown(dir, int(attr.Credential.Uid), int(attr.Credential.Gid)); err != nil {
			return "", err
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := guard(filepath.Join(data, "pg_hba.conf")); err != nil {
		return "", err
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	// The server ends with this process, whatever becomes of that.
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "autovacuum=off", "-c", "max_connections=200", "-c", "wal_level=logical")
	server.Dir, server.SysProcAttr = dir, attr
	attr.Pdeathsig = syscall.SIGQUIT
	log, err := server.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := startHere(server); err != nil {
		return "", err
	}
	lines := bufio.NewScanner(log)
	for up := false; !up; up = strings.Contains(lines.Text(), "ready to accept connections") {
		if !lines.Scan() {
			return "", fmt.Errorf("it ended: %w", server.Wait())
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
		}
	}()
	stopServer = func() {
		_ = server.Process.Signal(syscall.SIGQUIT) // immediate shutdown: the data is thrown away
		<-drained
		_ = server.Wait()
		os.RemoveAll(dir)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), nil
}

// guard makes the server ask users of these names for a password, each in
// another way. Everybody else is trusted.
func guard(hba string) error {
	const ways = `
host all scram_user all scram-sha-256
host all md5_user all md5
host all plain_user all password
host all nobody_user all reject
`
	trust, err := os.ReadFile(hba)
	if err != nil {
		return err
	}
	return os.WriteFile(hba, append([]byte(ways), trust...), 0o600)
}

// startHere starts cmd from a thread that lives as long as the tests: the
// signal that ends cmd with its parent comes when that thread ends.
func startHere(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		select {}
	}()
	return <-started
}

// bindir finds the newest server of the distribution, or one on the PATH.
func bindir() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err == nil && len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("no PostgreSQL server is installed: run scripts/deps.sh")
	}
	return filepath.Dir(path), nil
}

// unprivileged says whom to run the server as: it refuses root.
func unprivileged() (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return new(syscall.SysProcAttr), nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// caller says where a failure came from.
func caller() string {
	_, file, line, _ := runtime.Caller(2)
	return fmt.Sprintf("%s:%d", file[strings.LastIndexByte(file, '/')+1:], line)
}
