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
	"agentd.dev/agentd/cgroup"
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
	log     *slog.Logger
	taken   taken

	mu   sync.Mutex // guards what is below
	down capture.Down
	live map[string]*run
}

// A run is a cgroup of its own, captured by name.
type run struct {
	control.Run
	captured uint64   // cgroup id
	caller   *os.File // pidfd of the agentctl that asked, nil once it is gone
}

// adopt takes over the runs that an earlier daemon left. Those in which
// something runs are captured, again if need be; the others are removed, unless
// the daemon lives, and has said that their callers are about to use them.
func (r *runs) adopt(from *inheritance) error {
	folder := filepath.Join(r.root, runsFolder)
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for earlier runs: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, entry := range entries {
		name, _, ok := cutLast(entry.Name(), "-")
		if !entry.IsDir() || !ok || !runName.MatchString(name) {
			continue // not a run: StartRun makes no such name
		}
		dir := filepath.Join(folder, entry.Name())
		run := &run{Run: control.Run{ID: entry.Name(), Name: name, Cgroup: dir}}
		if run.captured, err = cgroup.ID(dir); err != nil {
			return fmt.Errorf("adopt run %s: %w", run.ID, err)
		}
		r.taken.begin(run.captured)
		r.live[run.ID] = run
		run.caller = from.caller(run.ID)
		if run.caller == nil {
			r.reap(run)
		}
		if r.live[run.ID] == nil {
			continue
		}
		if _, err := r.capture.Add(r.workload(run)); err != nil {
			return fmt.Errorf("adopt run %s: %w", run.ID, err)
		}
	}
	return nil
}

// use makes later runs those that down applies to while agentd is away.
func (r *runs) use(down capture.Down) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// workload is what a run is to capture. The caller holds r.mu.
func (r *runs) workload(run *run) capture.Workload {
	return capture.Workload{Cgroup: run.Cgroup, Name: run.Name, Source: "run", WhenDown: r.down}
}

// cutLast is strings.Cut at the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
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
	r.markStarter(dir, req.By)
	run := &run{Run: control.Run{ID: id, Name: req.Name, Cgroup: dir}, caller: caller}
	r.mu.Lock()
	defer r.mu.Unlock()
	if run.captured, err = r.capture.Add(r.workload(run), netns); err != nil {
		caller.Close()
		return control.Run{}, errors.Join(fmt.Errorf("capture the run: %w", err), os.Remove(dir))
	}
	r.taken.begin(run.captured)
	r.live[id] = run
	return run.Run, nil
}

// RunStatus implements control.RunReporter.
func (r *runs) RunStatus(_ context.Context, id string) (control.RunStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	run, ok := r.live[id]
	if !ok {
		return control.RunStatus{}, noRun(id)
	}
	return control.RunStatus{Run: run.Run, Connections: r.taken.of(run.captured)}, nil
}

func noRun(id string) error {
	return &control.Error{Code: http.StatusNotFound, Message: fmt.Sprintf("there is no run %q", id)}
}

// EndRun implements control.Runs.
func (r *runs) EndRun(_ context.Context, id string, _ control.Peer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	run, ok := r.live[id]
	if !ok {
		return noRun(id)
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
	if err := cgroup.Remove(run.Cgroup); err != nil {
		return
	}
	if err := r.capture.Remove(run.captured); err != nil {
		r.log.Warn("release run", "run", run.ID, "error", err)
	}
	r.taken.end(run.captured)
	delete(r.live, run.ID)
}

// bequest returns the runs for the daemon that takes over.
func (r *runs) bequest() (all []inheritedRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, run := range r.live {
		all = append(all, inheritedRun{run.Run, run.caller})
	}
	return all
}

// caller returns what watches the caller of a run that was handed over, nil if
// it is gone or the run was not.
func (in *inheritance) caller(id string) (caller *os.File) {
	if in == nil {
		return nil
	}
	for i := range in.runs {
		if in.runs[i].ID == id {
			caller, in.runs[i].caller = in.runs[i].caller, nil
			return caller
		}
	}
	return nil
}

// close ends every run, and leaves the cgroups of those that still run
// something to the next daemon's adopt. If the runs are another daemon's, it
// only stops watching.
func (r *runs) close(theirs bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, run := range r.live {
		run.forget()
		if !theirs {
			r.reap(run)
		}
	}
	if theirs {
		return nil
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
