package control_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"agentd.dev/agentd/control"
)

// A daemon is as much of agentd as the API needs. It answers a fixed status
// and remembers who started and ended runs.
type daemon struct {
	status control.Status

	mu   sync.Mutex // guards acts
	acts []string
}

func (d *daemon) Status(context.Context) control.Status { return d.status }

func (d *daemon) Targets() []control.Target { return d.status.Targets }
func (d *daemon) CA() control.CA            { return d.status.CA }

func (d *daemon) connections(context.Context) ([]control.Connection, error) { return nil, nil }

func (d *daemon) StartRun(_ context.Context, req control.RunRequest) (control.Run, error) {
	if req.Name == "taken" {
		return control.Run{}, &control.Error{Code: http.StatusConflict, Message: "the name is taken"}
	}
	if req.Name == "broken" {
		return control.Run{}, errors.New("make a cgroup: no space left on device")
	}
	d.note("start %s by %s", req.Name, req.By)
	return control.Run{ID: req.Name + "-1", Name: req.Name, Cgroup: "/sys/fs/cgroup/" + req.Name}, nil
}

func (d *daemon) EndRun(_ context.Context, id string, by control.Peer) error {
	d.note("end %s by %s", id, by)
	return nil
}

func (d *daemon) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acts = append(d.acts, fmt.Sprintf(format, args...))
}

// serve answers for d on a socket of its own until the test ends.
func serve(t *testing.T, d *daemon, metrics http.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "agentd.sock")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &control.Server{Log: slog.New(slog.DiscardHandler), Reporter: d, Runs: d, Connections: d.connections, Metrics: metrics}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return path
}

func client(t *testing.T, socket string) *control.Client {
	c := control.NewClient(socket)
	t.Cleanup(c.Close)
	return c
}

func TestClientSeesWhatTheDaemonSays(t *testing.T) {
	d := &daemon{status: control.Status{
		Version: "v1", Node: "n", PID: 7, Started: time.Unix(100, 0).UTC(), Uptime: 60,
		Capture:   control.Capture{Verified: true, Root: "/sys/fs/cgroup"},
		Verdicts:  map[string]int64{"allow": 2},
		Log:       control.Log{Folder: "/var/log", Key: "/etc/key.pub", Records: 12},
		Workloads: []control.Workload{{Name: "w", Namespaces: 1}},
	}}
	c := client(t, serve(t, d, nil))
	got, err := c.Status(t.Context())
	if err != nil || !reflect.DeepEqual(got, d.status) {
		t.Errorf("Status() = %+v, %v, want %+v", got, err, d.status)
	}
	log, err := c.Log(t.Context())
	if err != nil || !reflect.DeepEqual(log, d.status.Log) {
		t.Errorf("Log() = %+v, %v, want %+v", log, err, d.status.Log)
	}
	workloads, err := c.Workloads(t.Context())
	if err != nil || !reflect.DeepEqual(workloads, d.status.Workloads) {
		t.Errorf("Workloads() = %+v, %v, want %+v", workloads, err, d.status.Workloads)
	}
	targets, err := c.Targets(t.Context())
	if err != nil || targets == nil || len(targets) != 0 {
		t.Errorf("Targets() = %#v, %v, want an empty list, not null", targets, err)
	}
	connections, err := c.Connections(t.Context())
	if err != nil || connections == nil || len(connections) != 0 {
		t.Errorf("Connections() = %#v, %v, want an empty list, not null", connections, err)
	}
}

func TestRunsAreStartedForWhoeverTheKernelSaysAsked(t *testing.T) {
	d := &daemon{}
	c := client(t, serve(t, d, nil))
	run, err := c.StartRun(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	if want := (control.Run{ID: "job-1", Name: "job", Cgroup: "/sys/fs/cgroup/job"}); run != want {
		t.Errorf("StartRun() = %+v, want %+v", run, want)
	}
	if err := c.EndRun(t.Context(), run.ID); err != nil {
		t.Error(err)
	}
	me := fmt.Sprintf("pid %d uid %d gid %d", os.Getpid(), os.Getuid(), os.Getgid())
	if want := []string{"start job by " + me, "end job-1 by " + me}; !reflect.DeepEqual(d.acts, want) {
		t.Errorf("acts %q, want %q", d.acts, want)
	}
}

func TestErrorsKeepTheirWordsAndCode(t *testing.T) {
	c := client(t, serve(t, &daemon{}, nil))
	for _, tt := range []struct {
		name    string
		code    int
		message string
	}{
		{"taken", http.StatusConflict, "the name is taken"},
		{"broken", http.StatusInternalServerError, "make a cgroup: no space left on device"},
	} {
		_, err := c.StartRun(t.Context(), tt.name)
		var told *control.Error
		if !errors.As(err, &told) || told.Code != tt.code || told.Message != tt.message {
			t.Errorf("StartRun(%q) = %v, want %d %q", tt.name, err, tt.code, tt.message)
		}
	}
}

// raw sends one request over the socket and returns the answer.
func raw(t *testing.T, socket, method, path, body string) (int, string) {
	t.Helper()
	hc := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return net.Dial("unix", socket)
		},
	}}
	req, err := http.NewRequest(method, "http://agentd"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestOddRequestsAreRefusedInJSON(t *testing.T) {
	d := &daemon{}
	socket := serve(t, d, nil)
	for _, tt := range []struct {
		method, path, body string
		code               int
		says               string
	}{
		{"GET", "/v1/nothing", "", 404, "agentd has no GET /v1/nothing"},
		{"GET", "/", "", 404, "agentd has no GET /"},
		{"PUT", "/v1/status", "", 404, "agentd has no PUT /v1/status"},
		{"GET", "/metrics", "", 404, "agentd has no GET /metrics"},
		{"GET", "/v1/sessions?limit=x", "", 400, "limit: "},
		{"GET", "/v1/sessions?since=now", "", 400, "since: "},
		{"GET", "/v1/sessions?denied=true&denied=false", "", 400, "denied is given 2 times"},
		{"GET", "/v1/sessions?colour=red", "", 400, "colour: sessions cannot be chosen by it"},
		{"GET", "/v1/sessions", "", 500, "open the log folder"},
		{"GET", "/v1/sessions/x", "", 500, "open the log folder"},
		{"POST", "/v1/runs", "", 400, "EOF"},
		{"POST", "/v1/runs", `{"name":`, 400, "unexpected EOF"},
		{"POST", "/v1/runs", `{"name":"x"}{"name":"y"}`, 400, "more than one value"},
		{"POST", "/v1/runs", `{"name":"x","uid":0}`, 400, `unknown field \"uid\"`},
		{"POST", "/v1/runs", `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, 400, "request body too large"},
	} {
		code, body := raw(t, socket, tt.method, tt.path, tt.body)
		if code != tt.code || !strings.HasPrefix(body, `{"error":"`) || !strings.Contains(body, tt.says) {
			t.Errorf("%s %s %.40s: %d %s, want %d and %q", tt.method, tt.path, tt.body, code, body, tt.code, tt.says)
		}
	}
	if len(d.acts) != 0 {
		t.Errorf("acts %q, want none", d.acts)
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	conn, err := net.Dial("unix", serve(t, &daemon{}, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /v1/status HTTP/1.1\r\nHost: a\r\nX-Never"); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a request that never ends is waited for, want it cut off")
	}
}

func TestSocketIsForRootAndItsGroup(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	path := serve(t, &daemon{}, nil)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o660 {
		t.Errorf("mode %o, want 660", got)
	}
}

func TestSocketOfADeadDaemonIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agentd.sock")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false) // as kill -9 leaves it
	dead.Close()
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("socket after Close: %v, want none", err)
	}
}

func TestSocketOfALivingDaemonIsLeftAlone(t *testing.T) {
	path := serve(t, &daemon{status: control.Status{Node: "first"}}, nil)
	if _, err := control.Listen(path); !errors.Is(err, control.ErrRunning) {
		t.Errorf("Listen() = %v, want %v", err, control.ErrRunning)
	}
	if s, err := client(t, path).Status(t.Context()); err != nil || s.Node != "first" {
		t.Errorf("Status() = %q, %v, want the first daemon's", s.Node, err)
	}
}

func TestSocketOfAnotherProgramIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.sock")
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := control.Listen(path); !errors.Is(err, control.ErrRunning) {
		t.Errorf("Listen() = %v, want %v", err, control.ErrRunning)
	}
}

func TestAFileIsNotReplacedByASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(path, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("Listen() = %v, want an error that says it is no socket", err)
	}
	if b, err := os.ReadFile(path); string(b) != "keep" {
		t.Errorf("file %q, %v, want it kept", b, err)
	}
}

func TestOneOfManyDaemonsThatStartAtOnceWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agentd.sock")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()

	listeners := make(chan *control.Listener, 16)
	var wg sync.WaitGroup
	for range cap(listeners) {
		wg.Go(func() {
			l, err := control.Listen(path)
			if err != nil && !errors.Is(err, control.ErrRunning) {
				t.Errorf("Listen() = %v, want %v", err, control.ErrRunning)
			}
			if err == nil {
				listeners <- l
			}
		})
	}
	wg.Wait()
	if got := len(listeners); got != 1 {
		t.Fatalf("%d daemons listen, want 1", got)
	}
	l := <-listeners
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestClientSaysThatNobodyAnswers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agentd.sock")
	_, err := client(t, path).Status(t.Context())
	if !errors.Is(err, control.ErrNoDaemon) || !strings.Contains(err.Error(), path) {
		t.Errorf("Status() = %v, want %v and the path", err, control.ErrNoDaemon)
	}
}
