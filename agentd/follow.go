package agentd

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/pods"
	"agentd.dev/agentd/selection"
	"agentd.dev/agentd/watch"
)

// containers are those of this node, as package pods knows them.
type containers interface {
	Lookup(ctx context.Context, cgroupPath string) (pods.Container, bool)
	Containers() []pods.Found
	Changes() <-chan struct{}
	Status() pods.Status
}

// A follower keeps capture in step with what is selected, as cgroups,
// containers and rules come and go.
//
// Enforcement fails closed: what cannot be decided on stays unknown, and is
// held or refused where capture.unknown says so.
type follower struct {
	capture    *capture.Capture
	containers containers // nil if there is no runtime
	watch      *watch.Watch
	log        *slog.Logger
	own        string // path of agentd's own cgroup, which capture sees to

	mu      sync.Mutex // guards what is below; held while deciding
	rules   *selection.Rules
	unknown capture.Unknown
	stands  map[string]standing   // what was decided, by path
	told    map[string]pods.Found // containers that were announced and that the runtime does not tell of yet, by path
	started time.Time
	settled bool // what an earlier agentd had decided is decided on again, or forgotten
}

// A standing is what was decided on a cgroup.
type standing struct {
	id uint64
	selection.Verdict
	unknown capture.Unknown // of a watched one
}

// follow decides on what is there, before anything is served.
func (d *Daemon) follow() (err error) {
	if d.follower, err = newFollower(d.capture, d.containers, d.log); err != nil {
		return err
	}
	if err := d.follower.use(&d.inForce.Load().config.Capture); err != nil {
		return errors.Join(err, d.follower.close())
	}
	return nil
}

func newFollower(c *capture.Capture, known containers, log *slog.Logger) (*follower, error) {
	own, err := cgroup.Own(c.Hierarchy())
	if err != nil {
		return nil, err
	}
	w, err := watch.New()
	if err != nil {
		return nil, err
	}
	f := &follower{capture: c, containers: known, watch: w, log: log, stands: map[string]standing{}, told: map[string]pods.Found{}, started: time.Now()}
	f.own = f.path(own)
	return f, nil
}

func (f *follower) close() error { return f.watch.Close() }

// path is a cgroup's path below the root of the hierarchy.
func (f *follower) path(dir string) string {
	return filepath.Join("/", strings.TrimPrefix(dir, f.capture.Hierarchy()))
}

// dir is the directory of the cgroup with that path.
func (f *follower) dir(path string) string { return filepath.Join(f.capture.Hierarchy(), path) }

// follow decides on what comes until ctx ends.
func (f *follower) follow(ctx context.Context) error {
	var known <-chan struct{}
	if f.containers != nil {
		known = f.containers.Changes()
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.watch.Changed():
		case <-known:
		case s := <-f.capture.Strangers():
			asking.Go(func() { f.meet(ctx, s) })
		}
		if err := f.catchUp(); err != nil {
			f.log.Error("decide what is captured", "error", err)
		}
	}
}

// meet asks the runtime about a stranger: the answer is told as a change of the
// containers.
func (f *follower) meet(ctx context.Context, s capture.Stranger) {
	if f.containers == nil {
		return
	}
	if dir, err := cgroup.Dir(f.capture.Hierarchy(), s.Cgroup); err == nil {
		_, _ = f.containers.Lookup(ctx, f.path(dir))
	}
}

// use makes other rules hold, and applies them.
func (f *follower) use(c *CaptureConfig) error {
	rules := c.rules()
	if root := f.path(f.capture.Root()); root != "/" {
		rules.Root = root
	}
	f.mu.Lock()
	f.rules, f.unknown = rules, c.Unknown
	f.mu.Unlock()
	return f.catchUp()
}

// catchUp decides on everything there is, and makes capture differ from that
// in nothing. It goes on after an error.
func (f *follower) catchUp() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.decideAll(nil)
}

// announced decides on a container that waits for that with its first
// instruction, and listens in its network namespace. It is told of by several
// goroutines at once.
func (f *follower) announced(_ context.Context, c pods.Found, netns string) {
	ns, err := os.Open(netns)
	if err != nil {
		f.log.Warn("decide on a container that starts", "container", c.ID, "error", err)
		return // then it is unknown, until the runtime tells of it
	}
	defer ns.Close()
	path := f.path(c.Cgroup)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told[path] = c
	if err := f.decideAll(map[string]*os.File{path: ns, selection.PodCgroup(path, c.Pod.UID): ns}); err != nil {
		f.log.Error("decide on a container that starts", "container", c.ID, "error", err)
	}
}

// decideAll is catchUp for cgroups that, by path, are in a network namespace even
// before a process is. The caller holds f.mu.
func (f *follower) decideAll(netns map[string]*os.File) error {
	s := f.survey()
	f.watch.Keep(func(dir string) bool { return s.seen[dir] })

	// What is to stand is entered from the bottom up, and what is not any
	// more forgotten from the top down: nothing is unknown in between that
	// was decided on before and after.
	paths := make([]string, 0, len(s.want))
	for path := range s.want {
		paths = append(paths, path)
	}
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(b, a) })
	errs := s.errs
	for _, path := range paths {
		errs = append(errs, f.apply(path, s.want[path], netns[path]))
	}
	var gone []string
	for path := range f.stands {
		if _, ok := s.want[path]; !ok {
			gone = append(gone, path)
		}
	}
	slices.Sort(gone)
	for _, path := range gone {
		errs = append(errs, f.forget(path))
	}
	if !f.settled && f.complete() {
		f.settled = true
		errs = append(errs, f.capture.Settle())
	}
	return errors.Join(errs...)
}

// lookAround is how long after a start the containers that were there before
// may take to be known.
const lookAround = time.Second

// complete reports whether everything that was there before is known. Until
// then, what an earlier agentd had decided holds.
func (f *follower) complete() bool {
	if f.containers == nil {
		return true
	}
	s := f.containers.Status()
	return s.Problem == "" && s.Unknown == 0 && time.Since(f.started) > lookAround
}

// apply makes a cgroup stand as was decided. One that is gone is no error.
func (f *follower) apply(path string, v selection.Verdict, netns *os.File) error {
	dir := f.dir(path)
	id, err := cgroup.ID(dir)
	if err != nil {
		return ignoreGone(err)
	}
	now := standing{id: id, Verdict: v, unknown: f.unknown}
	if v.State != selection.Watched {
		now.unknown = 0
	}
	if f.stands[path] == now {
		return nil
	}
	switch v.State {
	case selection.Captured:
		w := capture.Workload{Cgroup: dir, Name: v.Name, Source: v.Source, WhenDown: v.WhenDown, Strict: v.Strict}
		if netns != nil {
			_, err = f.capture.Add(w, netns)
		} else {
			_, err = f.capture.Add(w)
		}
	case selection.Free:
		_, err = f.capture.Free(dir)
	case selection.Watched:
		_, err = f.capture.Watch(dir, f.unknown, v.WhenDown)
	}
	if err != nil {
		return ignoreGone(err)
	}
	f.stands[path] = now
	return nil
}

// forget makes a cgroup stand as those above it.
func (f *follower) forget(path string) error {
	s := f.stands[path]
	if id, err := cgroup.ID(f.dir(path)); err == nil && id == s.id { // else it is gone, and capture forgets it by itself
		if err := f.capture.Remove(s.id); err != nil {
			return err
		}
	}
	delete(f.stands, path)
	return nil
}
