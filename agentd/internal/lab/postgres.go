package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Server is a private PostgreSQL of the distribution. It listens on TCP,
// where User logs in with Password (SCRAM-SHA-256), and on a unix socket only
// the test can reach, where the superuser "postgres" needs no password.
type Server struct {
	Addr     netip.AddrPort // the first TCP address it listens on
	User     string         // owns Database, and is no superuser
	Password string
	Database string
	Socket   string // folder of the unix socket
	Process  *Process

	log string // path of the server's log
}

// A PostgresOption changes how Postgres sets a server up.
type PostgresOption func(*postgresSetup)

type postgresSetup struct {
	netns    string
	hosts    []string
	port     int
	settings []string
	files    []dataFile
	access   string   // lines of pg_hba.conf, "" for the usual ones
	hba      []string // lines before those of every server
}

// InNetns runs the server in the network namespace at path, on port 5432.
func InNetns(path string) PostgresOption {
	return func(s *postgresSetup) { s.netns, s.port = path, 5432 }
}

// ListenOn makes the server listen on these addresses in place of 127.0.0.1.
func ListenOn(hosts ...string) PostgresOption {
	return func(s *postgresSetup) { s.hosts = hosts }
}

// Setting adds a line of postgresql.conf, as "log_statement=none".
func Setting(line string) PostgresOption {
	return func(s *postgresSetup) { s.settings = append(s.settings, line) }
}

// HBA adds a line of pg_hba.conf, as "host all md5_user all md5", before those
// that there are. Of all lines the first that fits counts.
func HBA(line string) PostgresOption {
	return func(s *postgresSetup) { s.hba = append(s.hba, line) }
}

// Replication lets users who may replicate do so with their password.
func Replication() PostgresOption {
	return func(s *postgresSetup) { s.hba = append(s.hba, "host replication all all scram-sha-256") }
}

// PostgresProgram returns the path of a program that belongs to the server.
func PostgresProgram(t testing.TB, name string) string {
	t.Helper()
	r, err := postgresRelease()
	if err != nil {
		t.Fatal(err)
	}
	return r.program(name)
}

// Postgres starts a server that logs every statement and returns once it
// answers. It and its data are gone when the test ends.
func Postgres(t testing.TB, opts ...PostgresOption) *Server {
	t.Helper()
	setup := postgresSetup{hosts: []string{"127.0.0.1"}}
	for _, opt := range opts {
		opt(&setup)
	}
	if setup.port == 0 {
		setup.port = freePort(t)
	}
	release, err := postgresRelease()
	if err != nil {
		t.Fatal(err)
	}
	dir := postgresDir(t, release)
	setup.furnish(t, filepath.Join(dir, "data"), release.owner)
	s := &Server{
		Addr:     netip.AddrPortFrom(netip.MustParseAddr(setup.hosts[0]), uint16(setup.port)),
		User:     postgresUser,
		Password: postgresPassword,
		Database: postgresDatabase,
		Socket:   dir,
		log:      filepath.Join(dir, "log"),
	}
	if err := prependHBA(filepath.Join(dir, "data", "pg_hba.conf"), setup.hba); err != nil {
		t.Fatal(err)
	}
	if err := s.start(t, release, &setup); err != nil {
		t.Fatalf("start PostgreSQL: %v\n%s", err, s.Log())
	}
	return s
}

func (s *Server) start(t testing.TB, release *release, setup *postgresSetup) error {
	t.Helper()
	logFile, err := os.Create(s.log)
	if err != nil {
		return err
	}
	defer logFile.Close()
	ready, err := readyListener(filepath.Join(s.Socket, "notify"))
	if err != nil {
		return err
	}
	defer ready.Close()

	cmd := exec.Command(release.program("postgres"),
		"-D", filepath.Join(s.Socket, "data"),
		"-k", s.Socket,
		"-p", strconv.Itoa(setup.port),
		"-c", "listen_addresses="+strings.Join(setup.hosts, ","))
	for _, line := range setup.settings {
		cmd.Args = append(cmd.Args, "-c", line)
	}
	cmd.Dir = s.Socket
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+ready.LocalAddr().String(), "LC_ALL=C.UTF-8", "TZ=UTC")
	cmd.SysProcAttr = release.owner.attr()
	// SIGQUIT is PostgreSQL's immediate shutdown: the data is thrown away.
	s.Process = Start(t, cmd, setup.netns, syscall.SIGQUIT)
	return awaitReady(ready, s.Process)
}

// prependHBA puts lines before those of a pg_hba.conf: the first that fits a
// connection decides.
func prependHBA(path string, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	rest, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append([]byte(strings.Join(lines, "\n")+"\n"), rest...), 0o600)
}

// Log returns what the server has logged. A statement is logged before it
// runs, so that whoever has its answer finds it here.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// SQL runs statements in Database as the superuser, through psql on the unix
// socket, and returns what psql prints: rows without headings, columns
// between bars. An error in a statement fails the test.
func (s *Server) SQL(t testing.TB, statements string) string {
	t.Helper()
	cmd := exec.Command("psql", "-XqAt", "-v", "ON_ERROR_STOP=1",
		"-h", s.Socket, "-p", strconv.Itoa(int(s.Addr.Port())), "-U", "postgres", "-d", s.Database)
	cmd.Stdin = strings.NewReader(statements)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("psql: %v\n%s", err, stderr.String())
	}
	return strings.TrimSuffix(string(out), "\n")
}

// readyListener opens the socket on which the server says that it is up, as
// systemd's services do.
func readyListener(path string) (*net.UnixConn, error) {
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o777) // the folder is closed to others already
}

// awaitReady waits until the server says READY=1 or is gone.
func awaitReady(ready *net.UnixConn, server *Process) error {
	up := make(chan error, 1)
	go func() { up <- readReady(ready) }()
	select {
	case err := <-up:
		return err
	case <-server.Done():
		return fmt.Errorf("it ended: %v", server.Wait())
	}
}

func readReady(ready *net.UnixConn) error {
	if err := ready.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for {
		n, err := ready.Read(buf)
		if err != nil {
			return err
		}
		if strings.Contains(string(buf[:n]), "READY=1") {
			return nil
		}
	}
}

// freePort returns a loopback port that nothing listens on.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A credential is the user whom a server runs as. PostgreSQL refuses root.
type credential struct{ uid, gid int }

// unprivileged returns the user to run servers as: ourselves unless we are
// root.
func unprivileged() (credential, error) {
	if uid := os.Getuid(); uid != 0 {
		return credential{uid, os.Getgid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			return credential{}, err
		}
		gid, err := strconv.Atoi(u.Gid)
		return credential{uid, gid}, err
	}
	return credential{}, fmt.Errorf("neither user postgres nor nobody exists to run PostgreSQL as")
}

func (c credential) attr() *syscall.SysProcAttr {
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.gid)}}
}
