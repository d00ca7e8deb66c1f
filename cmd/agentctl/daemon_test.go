package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"agentd.dev/agentd/control"
)

// A daemon is the part of agentd that agentctl talks to: the real API, over
// real cgroups, without capture.
type daemon struct {
	cgroup string // its own; runs are below
	folder string
	status control.Status
	ended  chan string // ids of runs
	desk   control.Desk
}

// startDaemon answers on socket until stop is called, which fails if a process
// was left in a run's cgroup.
func startDaemon(socket, folder string) (d *daemon, stop func() error, err error) {
	root, err := cgroupRoot()
	if err != nil {
		return nil, nil, err
	}
	cgroup, err := os.MkdirTemp(root, "agentctl-test-*")
	if err != nil {
		return nil, nil, err
	}
	if err := os.Chmod(cgroup, 0o755); err != nil {
		return nil, nil, err
	}
	d = &daemon{cgroup: cgroup, folder: folder, ended: make(chan string, 16), status: sampleStatus(folder), desk: newDesk()}
	l, err := control.Listen(socket)
	if err != nil {
		return nil, nil, errors.Join(err, os.Remove(cgroup))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	server := &control.Server{Log: slog.New(slog.DiscardHandler), Reporter: d, Runs: d, Connections: d.connections, Folder: folder, Desk: d.desk}
	go func() { done <- server.Serve(ctx, l) }()
	return d, func() error {
		cancel()
		return errors.Join(<-done, removeCgroups(cgroup))
	}, nil
}

func sampleStatus(folder string) control.Status {
	return control.Status{
		Version: "v0.1.0", Node: "node-1", PID: 4711, Uptime: control.Seconds((3*time.Hour + 5*time.Minute) / time.Second),
		Capture:  control.Capture{Verified: true, Root: "/sys/fs/cgroup"},
		Sessions: control.SessionCount{Live: 1, Total: 12},
		Draining: []control.Draining{{PID: 4242, Sessions: 2}},
		Verdicts: map[string]int64{"deny": 1, "allow": 40},
		Config:   control.Config{File: "/etc/agentd/agentd.yaml", Pending: []string{"state", "limits.loops"}},
		Policy:   control.Policy{Files: []string{"a.yaml"}, Rules: 2},
		Log:      control.Log{Folder: folder, Key: folder + ".pub", Records: 99},
		Workloads: []control.Workload{
			{Name: "reporter", Source: "unit", Cgroup: "/system.slice/reporter.service", Namespace: "agents", Pod: "reporter-7d9f", Processes: 3, Namespaces: 1, Earlier: 1, WhenDown: "refuse", Verified: true, Seen: time.Date(2026, 11, 24, 12, 30, 0, 0, time.UTC)},
			{Name: "evil\x1b[2J\nname", Source: "run", WhenDown: "open", Problem: "a synthetic connection was not redirected"},
		},
		Credentials: []control.Credential{
			{Name: "orders-ro", Source: "file /run/secrets/orders", User: "reporter", Fetched: time.Date(2026, 11, 24, 12, 30, 0, 0, time.UTC), Warning: "/run/secrets/orders can be read by others (mode 0644)"},
			{Name: "orders-rw", Source: "helper /usr/local/libexec/token"},
			{Name: "iam", Source: "helper /usr/bin/iam", User: "x", Fetched: time.Date(2026, 11, 24, 12, 30, 0, 0, time.UTC), Expires: time.Date(2026, 11, 24, 12, 45, 0, 0, time.UTC)},
		},
		Targets: []control.Target{
			{Name: "orders", Addresses: []string{"10.0.0.7:5432"}, Protocol: "postgres", Default: "allow", Unclassified: "deny", TLS: control.TLS{Client: "require", Server: "verify-full"}, Labels: map[string]string{"env": "prod", "area": "eu"}},
			{Name: "replica", Host: "*.orders.internal", Addresses: []string{"10.0.0.8:5432"}, Problem: "lookup a.orders.internal: i/o timeout", Protocol: "postgres", Default: "deny", Unclassified: "deny", TLS: control.TLS{Client: "off", Server: "prefer", Problem: "open ca.crt: no such file"}},
		},
		CA: control.CA{PEM: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", Certificates: []control.CACertificate{
			{Subject: "CN=agentd CA of node-1,O=agentd", SHA256: "5ca1eba2309b", From: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Until: time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC), File: "/var/lib/agentd/ca/1.crt", Signing: true},
			{Subject: "CN=agentd CA of node-1,O=agentd", SHA256: "00ff", From: time.Date(2035, 1, 2, 3, 4, 5, 0, time.UTC), Until: time.Date(2045, 1, 2, 3, 4, 5, 0, time.UTC), File: "/var/lib/agentd/ca/2.crt"},
		}},
	}
}

func (d *daemon) connections(context.Context) ([]control.Connection, error) {
	return []control.Connection{
		{Workload: "reporter", Protocol: "tcp", Local: "10.0.0.2:40000", Remote: "10.0.0.7:5432", State: "established", PID: 4711},
		{Workload: "reporter", Protocol: "tcp", Local: "10.0.0.2:80", Remote: "10.0.0.9:50000", State: "close-wait", PID: 4711, Stays: "the other side connected"},
		{Workload: "evil\x1b[2J\nname", Protocol: "udp", Local: "10.0.0.2:40001", Remote: "10.0.0.8:443", State: "established"},
	}, nil
}

func (d *daemon) Status(context.Context) control.Status {
	s := d.status
	s.Approvals.Pending = d.desk.Counts().Pending
	return s
}

func (d *daemon) Targets() []control.Target { return d.status.Targets }
func (d *daemon) CA() control.CA            { return d.status.CA }

func (d *daemon) StartRun(_ context.Context, req control.RunRequest) (control.Run, error) {
	dir := filepath.Join(d.cgroup, req.Name)
	switch err := os.Mkdir(dir, 0o755); {
	case errors.Is(err, fs.ErrExist):
		return control.Run{}, &control.Error{Code: http.StatusConflict, Message: fmt.Sprintf("a run named %s is there already", req.Name)}
	case err != nil:
		return control.Run{}, err
	}
	return control.Run{ID: req.Name, Name: req.Name, Cgroup: dir}, nil
}

func (d *daemon) EndRun(_ context.Context, id string, _ control.Peer) error {
	d.ended <- id
	return os.Remove(filepath.Join(d.cgroup, id))
}

// cgroupRoot finds where this machine keeps its cgroup-v2 hierarchy.
func cgroupRoot() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1], nil
		}
	}
	return "", errors.New("no cgroup-v2 hierarchy is mounted")
}

// awaitEmpty waits until no process is left in a cgroup.
func awaitEmpty(dir string) error {
	f, err := os.Open(filepath.Join(dir, "cgroup.events"))
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		events := make([]byte, 256)
		n, err := f.ReadAt(events, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if strings.Contains(string(events[:n]), "populated 0") {
			return nil
		}
		fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}
		if n, err := unix.Poll(fds, int(patience.Milliseconds())); n == 0 {
			return fmt.Errorf("processes are left in %s", dir)
		} else if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// removeCgroups removes a cgroup of the test and the runs below it.
func removeCgroups(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(dir)
}

// serve starts a daemon for the script, with something that waits for people if
// it says so: serve [LOGFOLDER [approvals]].
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 2 || len(args) == 2 && args[1] != "approvals" {
		ts.Fatalf("usage: serve [LOGFOLDER [approvals]]")
	}
	folder := "log"
	if len(args) > 0 {
		folder = args[0]
	}
	d, stop, err := startDaemon(ts.Getenv("AGENTD_SOCKET"), ts.MkAbs(folder))
	ts.Check(err)
	if len(args) == 2 {
		for name, id := range d.samples() {
			ts.Setenv(name, id)
		}
	}
	ts.Defer(func() { ts.Check(stop()) })
}

// newDaemon starts a daemon for a test.
func newDaemon(t *testing.T) (*daemon, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agentd.sock")
	d, stop, err := startDaemon(socket, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return d, socket
}
