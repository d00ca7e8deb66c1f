package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A bench is a server, and what stands in front of it, all running.
type bench struct {
	root       string     // of the repository
	dir        string     // scratch; gone afterwards
	port       int        // the server's
	server     *contender // the server itself, which answers as one
	contenders []*contender
	drain      string // path of the program that reads long results
}

// contender returns the one of that name, nil if it does not take part.
func (b *bench) contender(name string) *contender {
	i := slices.IndexFunc(b.contenders, func(c *contender) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return b.contenders[i]
}

// newBench starts everything. It returns what there is to clear even if it
// failed.
func newBench(ctx context.Context, p *plan) (*bench, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	b := &bench{root: root}
	if b.dir, err = os.MkdirTemp("", "agentd-bench-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(b.dir, 0o711); err != nil {
		return b, err
	}
	if err := b.startServer(ctx, p.scale); err != nil {
		return b, err
	}
	for _, c := range contenders {
		if c.start != nil && len(p.only) > 0 && !slices.Contains(p.only, c.name) {
			continue
		}
		if err := b.start(ctx, &c); err != nil {
			return b, fmt.Errorf("start %s: %w", c.name, err)
		}
	}
	return b, nil
}

func (b *bench) startServer(ctx context.Context, scale int) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	b.port = port
	b.server = &contender{name: "postgres", port: port}
	script, dir := filepath.Join(b.root, "scripts/postgres.sh"), filepath.Join(b.dir, "postgres")
	cmd := exec.Command(script, "run", dir, fmt.Sprint(port), "max_connections=300", "shared_buffers=512MB")
	cmd.Env = append(os.Environ(), "HOST_AUTH=trust")
	if err := b.launch(b.server, cmd); err != nil {
		return err
	}
	if err := await(ctx, b.server); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	fill := b.server.command(ctx, "pgbench", "-i", "-q", "-s", fmt.Sprint(scale))
	if out, err := fill.CombinedOutput(); err != nil {
		return fmt.Errorf("fill pgbench's tables: %w\n%s", err, out)
	}
	return b.requirePassword(ctx)
}

// start starts a contender, if it is a program, and waits until it answers.
func (b *bench) start(ctx context.Context, c *contender) error {
	c.port = b.port
	b.contenders = append(b.contenders, c)
	if c.start == nil {
		return nil
	}
	if err := c.start(b, c); err != nil {
		return err
	}
	return await(ctx, c)
}

// launch starts the contender's program, to be ended with us.
func (b *bench) launch(c *contender, cmd *exec.Cmd) error {
	log, err := os.Create(filepath.Join(b.dir, strings.ReplaceAll(c.name, " ", "-")+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Dir = b.dir
	cmd.Stdout, cmd.Stderr = log, log
	c.log = log.Name()
	if err := cmd.Start(); err != nil {
		return err
	}
	c.cmd = cmd
	c.gone = make(chan struct{})
	go func() {
		_ = cmd.Wait() // however it ended, await and stop look at its log
		close(c.gone)
	}()
	return nil
}

// await returns once psql gets an answer through the contender.
func await(ctx context.Context, c *contender) error {
	deadline := time.Now().Add(20 * time.Second)
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		cmd := c.command(ctx, "psql", "-Xqc", "select 1")
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		select {
		case <-c.gone:
			return fmt.Errorf("it ended:\n%s", c.said())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer through it: %s\n%s", out, c.said())
		}
	}
}

// stop ends the contender's program.
func (c *contender) stop() {
	if c.after != nil {
		defer c.after()
	}
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-c.gone:
	case <-time.After(15 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.gone
	}
}

// said returns the end of what the contender's program printed.
func (c *contender) said() string {
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// clear ends everything and removes what is left.
func (b *bench) clear() error {
	for _, c := range slices.Backward(b.contenders) {
		c.stop()
	}
	if b.server != nil {
		b.server.stop()
	}
	return os.RemoveAll(b.dir)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
