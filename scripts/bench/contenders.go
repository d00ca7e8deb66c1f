package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// A contender is one way for pgbench to reach the server.
type contender struct {
	name  string
	start func(*bench, *contender) error // nil: there is nothing in between

	port   int      // where clients connect
	prefix []string // what clients run under
	cmd    *exec.Cmd
	gone   chan struct{} // closed when cmd has ended
	log    string
	after  func() // clears what cmd leaves
}

// contenders are in the order in which they take turns.
var contenders = []contender{
	{name: "direct"},
	{name: "agentd", start: startAgentd},
	{name: "haproxy", start: startHAProxy},
	{name: "pgbouncer", start: startPgBouncer},
	{name: "C epoll", start: startEpoll},
	{name: "Go io.Copy", start: startCopy},
}

// command returns a PostgreSQL client that reaches the server through c.
func (c *contender) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append(append([]string{}, c.prefix...), args...)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PGHOST=127.0.0.1", fmt.Sprintf("PGPORT=%d", c.port), "PGUSER=postgres", "PGDATABASE=postgres")
	return cmd
}

// commandAs is command for a client that agentd is to know by a name.
func (c *contender) commandAs(ctx context.Context, workload string, args ...string) *exec.Cmd {
	named := *c
	if n := len(c.prefix); n > 0 && workload != "" {
		named.prefix = append(append([]string{}, c.prefix[:n-1]...), "--name", workload, "--")
	}
	return named.command(ctx, args...)
}

const haproxyConfig = `# for %[3]s
global
	maxconn 1000
defaults
	mode tcp
	timeout connect 5s
	timeout client 1h
	timeout server 1h
listen postgres
	bind 127.0.0.1:%[1]d
	server postgres 127.0.0.1:%[2]d
`

// startHAProxy uses as many threads as HAProxy does by itself: one per core.
func startHAProxy(b *bench, c *contender) error {
	file, err := b.configure(c, "haproxy.cfg", haproxyConfig)
	if err != nil {
		return err
	}
	return b.launch(c, exec.Command("haproxy", "-db", "-f", file))
}

const pgbouncerConfig = `
[databases]
* = host=127.0.0.1 port=%[2]d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %[1]d
unix_socket_dir =
auth_type = trust
auth_file = %[3]s/users.txt
pool_mode = session
max_client_conn = 1000
default_pool_size = 250
log_connections = 0
log_disconnections = 0
ignore_startup_parameters = extra_float_digits
`

// startPgBouncer pools by session: by transaction it could not serve prepared
// statements in the versions that distributions have.
func startPgBouncer(b *bench, c *contender) error {
	if err := os.WriteFile(filepath.Join(b.dir, "users.txt"), []byte("\"postgres\" \"\"\n"), 0o644); err != nil {
		return err
	}
	file, err := b.configure(c, "pgbouncer.ini", pgbouncerConfig)
	if err != nil {
		return err
	}
	return b.launch(c, exec.Command("pgbouncer", "-u", "postgres", file))
}

func startEpoll(b *bench, c *contender) error {
	program := filepath.Join(b.dir, "epoll")
	build := exec.Command("gcc", "-O2", "-o", program, filepath.Join(b.root, "scripts/bench/epoll/epoll.c"))
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if err := c.choosePort(); err != nil {
		return err
	}
	return b.launch(c, exec.Command(program, fmt.Sprint(c.port), fmt.Sprint(b.port)))
}

func startCopy(b *bench, c *contender) error {
	program := filepath.Join(b.dir, "copy")
	build := exec.Command("go", "build", "-o", program, "./scripts/bench/copy")
	build.Dir = b.root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if err := c.choosePort(); err != nil {
		return err
	}
	return b.launch(c, exec.Command(program, fmt.Sprintf("127.0.0.1:%d", c.port), fmt.Sprintf("127.0.0.1:%d", b.port)))
}

func (c *contender) choosePort() (err error) {
	c.port, err = freePort()
	return err
}

// configure gives the contender a port and writes its configuration, with the
// port, the server's and the scratch folder filled in.
func (b *bench) configure(c *contender, name, format string) (string, error) {
	if err := c.choosePort(); err != nil {
		return "", err
	}
	file := filepath.Join(b.dir, name)
	return file, os.WriteFile(file, fmt.Appendf(nil, format, c.port, b.port, b.dir), 0o644)
}
