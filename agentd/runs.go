package agentd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/control"
)

// runsFolder is the cgroup, below the one agentd is attached to, that holds
// the cgroup of each run.
const runsFolder = "agentd-runs"

var runName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// runs are the programs started with `agentctl run`.
type runs struct {
	root    string // cgroup directory
	capture *capture.Capture
	down    capture.Down
	log     *slog.Logger

	mu   sync.Mutex // guards live
	live map[string]*run
}

// A run is a cgroup of its own, captured by name.
type run struct {
	control.Run
	captured uint64   // cgroup id
	caller   *os.File // pidfd of the agentctl that asked, nil once it is gone
}

// StartRun implements control.Runs. It fails closed: a cgroup that could not
// be captured is removed again.
func (r *runs) StartRun(_ context.Context, req control.RunRequest) (control.Run, error) {
	if !runName.MatchString(req.Name) {
		return control.Run{}, &control.Error{Code: http.StatusBadRequest, Message: fmt.Sprintf(
			"%q cannot name a run: use up to 64 letters, digits, dots, dashes and underscores", req.Name)}
	}
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", req.By.PID))
	if err != nil {
		return control.Run{}, fmt.Errorf("open the caller's network namespace: %w", err)
	}
	defer netns.Close()
	pidfd, err := unix.PidfdOpen(req.By.PID, 0)
	if err != nil {
		return control.Run{}, fmt.Errorf("watch the caller: %w", err)
	}
	caller := os.NewFile(uintptr(pidfd), "pidfd")

	id := req.Name + "-" + strings.ToLower(rand.Text()[:8])
	dir := filepath.Join(r.root, runsFolder, id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		caller.Close()
		return control.Run{}, fmt.Errorf("make the run's cgroup: %w", err)
	}
	captured, err := r.capture.Add(capture.Workload{Cgroup: dir, Name: req.Name, Source: "run", WhenDown: r.down}, netns)
	if err != nil {
		caller.Close()
		return control.Run{}, errors.Join(fmt.Errorf("capture the run: %w", err), os.Remove(dir))
	}
	run := &run{Run: control.Run{ID: id, Name: req.Name, Cgroup: dir}, captured: captured, caller: caller}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[id] = run
	return run.Run, nil
}

// EndRun implements control.Runs.
func (r *runs) EndRun(_ context.Context, id string, _ control.Peer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	run, ok := r.live[id]
	if !ok {
		return &control.Error{Code: http.StatusNotFound, Message: fmt.Sprintf("there is no run %q", id)}
	}
	run.forget()
	r.reap(run)
	return nil
}

// sweep ends the runs whose caller has died and whose cgroup is empty.
func (r *runs) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, run := range r.live {
		if run.caller != nil && !exited(run.caller) {
			continue
		}
		run.forget()
		r.reap(run)
	}
}

// reap removes an ended run. While something still runs in its cgroup, the
// kernel refuses to remove that, and the run stays captured.
func (r *runs) reap(run *run) {
	if err := removeTree(run.Cgroup); err != nil {
		return
	}
	if err := r.capture.Remove(run.captured); err != nil {
		r.log.Warn("release run", "run", run.ID, "error", err)
	}
	delete(r.live, run.ID)
}

// close ends every run, and leaves the cgroups of those that still run
// something to the next daemon's sweep.
func (r *runs) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, run := range r.live {
		run.forget()
		r.reap(run)
	}
	_ = os.Remove(filepath.Join(r.root, runsFolder)) // refused while a run is left
	return nil
}

// forget stops watching the caller.
func (r *run) forget() {
	if r.caller != nil {
		r.caller.Close()
		r.caller = nil
	}
}

// exited reports whether the process of a pidfd has ended.
func exited(pidfd *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

// removeTree removes a cgroup and those below it, if no process is left in
// any of them.
func removeTree(dir string) error {
	children, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, child := range children {
		if child.IsDir() {
			if err := removeTree(filepath.Join(dir, child.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(dir)
}
