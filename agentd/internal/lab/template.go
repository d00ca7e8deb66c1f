package lab

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	postgresUser     = "agent"
	postgresPassword = "lab-password"
	postgresDatabase = "orders"

	postgresConf = `
fsync = off
full_page_writes = off
log_statement = all
log_line_prefix = '%m [%p] %q%u@%d '
lc_messages = 'C.UTF-8'
timezone = 'UTC'
log_timezone = 'UTC'
unix_socket_permissions = 0700
`
	postgresHBA = `
local all postgres trust
host all all 0.0.0.0/0 scram-sha-256
host all all ::/0 scram-sha-256
`
	postgresSQL = `CREATE ROLE ` + postgresUser + ` LOGIN PASSWORD '` + postgresPassword + `'
CREATE DATABASE ` + postgresDatabase + ` OWNER ` + postgresUser + `
`
)

// A release is an installed PostgreSQL.
type release struct {
	bin   string // folder of its programs
	owner credential
}

func (r *release) program(name string) string { return filepath.Join(r.bin, name) }

// postgresRelease finds the newest PostgreSQL that the distribution installed.
func postgresRelease() (*release, error) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return nil, err
	}
	best, newest := "", -1
	for _, path := range dirs {
		bin := filepath.Dir(path)
		version, err := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
		if err == nil && version > newest {
			best, newest = bin, version
		}
	}
	if best == "" {
		return nil, fmt.Errorf("no PostgreSQL server under /usr/lib/postgresql: run scripts/deps.sh test")
	}
	owner, err := unprivileged()
	return &release{bin: best, owner: owner}, err
}

// postgresDir makes a folder with fresh data for one server, in "data".
func postgresDir(t testing.TB, r *release) string {
	t.Helper()
	template, err := postgresTemplate(r)
	if err != nil {
		t.Fatalf("prepare PostgreSQL's data: %v", err)
	}
	// Not t.TempDir: its parents are closed to the server's user.
	dir, err := os.MkdirTemp("", "agentd-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chown(dir, r.owner.uid, r.owner.gid); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", template, filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("copy PostgreSQL's data: %v\n%s", err, out)
	}
	return dir
}

// postgresTemplate returns the data folder that all servers' data are copied
// from, making it if this machine has none for this release and set-up yet.
func postgresTemplate(r *release) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	version, err := exec.Command(r.program("postgres"), "--version").Output()
	if err != nil {
		return "", err
	}
	recipe := sha256.Sum256([]byte(string(version) + postgresConf + postgresHBA + postgresSQL + strconv.Itoa(r.owner.uid)))
	template := filepath.Join(cache, fmt.Sprintf("postgres-%x", recipe[:8]))
	if _, err := os.Stat(template); err == nil {
		return template, nil
	}

	made, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(made)
	if err := os.Chown(made, r.owner.uid, r.owner.gid); err != nil {
		return "", err
	}
	data := filepath.Join(made, "data")
	if err := makeData(r, data); err != nil {
		return "", err
	}
	// Whoever comes second finds the first one's folder in place, as good.
	if err := os.Rename(data, template); err != nil {
		if _, exists := os.Stat(template); exists != nil {
			return "", err
		}
	}
	return template, nil
}

// makeData makes the data folder of a server with a role and a database.
func makeData(r *release, data string) error {
	if err := r.run("", "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync",
		"--encoding=UTF8", "--locale=C.UTF-8", "--wal-segsize=1"); err != nil {
		return err
	}
	conf, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := conf.WriteString(postgresConf); err != nil {
		return err
	}
	if err := conf.Close(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(postgresHBA), 0o600); err != nil {
		return err
	}
	return r.run(postgresSQL, "postgres", "--single", "-D", data, "postgres")
}

// run runs one of the release's programs as its user.
func (r *release) run(input, program string, args ...string) error {
	cmd := exec.Command(r.program(program), args...)
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(input)
	cmd.SysProcAttr = r.owner.attr()
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "ERROR:") {
		return fmt.Errorf("%s: %v\n%s", program, err, out)
	}
	return nil
}
