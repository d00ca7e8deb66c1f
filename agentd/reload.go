package agentd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/watch"
	"agentd.dev/policy"
)

const (
	quietFor  = 50 * time.Millisecond // how long files must have been left alone to be read
	quietMost = time.Second           // how long that is waited for
)

// reloads is how reading the files again went.
type reloads struct {
	done, failed atomic.Int64
	problem      atomic.Pointer[refusedFiles] // of the last reading, nil if it is in force
}

// refusedFiles are why files as they are now are not in force.
type refusedFiles struct{ config, policy error }

func (r *refusedFiles) Error() string { return errors.Join(r.config, r.policy).Error() }

// A reloader reads the files again when they have changed.
type reloader struct {
	*Daemon
	files *watch.Watch
	// What was read last, whether or not it is in force: the configuration,
	// if it was one, and the sums of all.
	tried *Config
	sums  sums
	apply func(*CaptureConfig) error // makes capture follow
}

// reload reads the files again when they have changed, or on SIGHUP, until ctx
// ends. What it reads holds as a whole or not at all: while something is wrong
// with it, the last that was right stays in force.
func (d *Daemon) reload(ctx context.Context) error {
	return d.reloadWith(ctx, func(c *CaptureConfig) error {
		d.runs.use(c.WhenDown)
		return errors.Join(d.capture.SetUDP(c.UDP), d.follower.use(c))
	})
}

// reloadRules is reload for a daemon that was taken over: only its sessions
// are left to be judged, and capture is another's.
func (d *Daemon) reloadRules(ctx context.Context) error {
	return d.reloadWith(ctx, func(*CaptureConfig) error { return nil })
}

func (d *Daemon) reloadWith(ctx context.Context, apply func(*CaptureConfig) error) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, unix.SIGHUP)
	defer signal.Stop(hangup)
	files, err := watch.New()
	if err != nil {
		return err
	}
	defer files.Close()
	now := d.inForce.Load()
	r := reloader{Daemon: d, files: files, tried: now.config, sums: now.sums, apply: apply}
	for by := "a change that came before"; ; {
		if err := r.watch(); err != nil {
			d.log.Error("changes of files may go unnoticed; SIGHUP tells of them", "error", err)
		}
		r.read(by)
		if err := r.watch(); err != nil { // what it names now may lie elsewhere
			d.log.Error("changes of files may go unnoticed; SIGHUP tells of them", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
			by, r.sums = "SIGHUP", nil
		case <-files.Changed():
			by = "a change of files"
			settle(ctx, files)
		}
	}
}

// settle waits until nothing changes any more: files are often changed one by
// one.
func settle(ctx context.Context, files *watch.Watch) {
	most := time.After(quietMost)
	for {
		select {
		case <-files.Changed():
		case <-time.After(quietFor):
			return
		case <-most:
			return
		case <-ctx.Done():
			return
		}
	}
}

// watch watches whatever the files are read from: the folders that they are
// in, as named and as they are behind all links.
func (r *reloader) watch() error {
	folders := map[string]bool{}
	see := func(name string) {
		folders[filepath.Dir(name)] = true
		if real, err := filepath.EvalSymlinks(name); err == nil {
			folders[filepath.Dir(real)] = true
		}
	}
	for _, name := range append(slices.Clone(r.tried.Policies), r.tried.File) {
		see(name)
		if real, err := filepath.EvalSymlinks(name); err == nil && isFolder(real) {
			folders[real] = true
		}
	}
	for _, name := range policy.Files(r.tried.Policies) {
		see(name)
	}
	kept := map[string]bool{}
	var errs []error
	for folder := range folders {
		nearest, err := r.files.AddNearest(folder)
		kept[nearest] = true
		errs = append(errs, err)
	}
	r.files.Keep(func(folder string) bool { return kept[folder] })
	return errors.Join(errs...)
}

func isFolder(name string) bool {
	s, err := os.Stat(name)
	return err == nil && s.IsDir()
}

// read reads the files unless they are those that were read before, and makes
// them hold if they are right.
func (r *reloader) read(by string) {
	now := sumFiles(r.tried.File, r.tried.Policies)
	if r.tried.File == "" || maps.Equal(now, r.sums) {
		return
	}
	old := r.inForce.Load().sums
	config, err := LoadConfig(r.tried.File)
	if err != nil {
		r.sums = now
		r.refuseFiles(by, old, now, &refusedFiles{config: err})
		return
	}
	r.tried = config
	fresh, err := readPolicy(config)
	if err != nil {
		r.sums = sumFiles(config.File, config.Policies)
		r.refuseFiles(by, old, r.sums, &refusedFiles{policy: err})
		return
	}
	r.sums = sumFiles(config.File, config.Policies)
	if now[config.File] != r.sums[config.File] || !maps.Equal(fresh.sums, r.sums) {
		r.sums = nil
		return // they change right now, which will be told
	}
	fresh.policy.Follow(r.inForce.Load().policy)
	if err := r.enforce(by, fresh); err != nil {
		r.refuseFiles(by, old, fresh.sums, &refusedFiles{config: err})
	}
}

// enforce makes what was read hold, for every decision from here on. It fails
// closed: rules that cannot be recorded do not come into force.
func (r *reloader) enforce(by string, fresh *inForce) error {
	old := r.inForce.Load()
	var err error
	if fresh.ca, err = fresh.config.authority(old.config, old.ca); err != nil {
		return err
	}
	later := pending(r.Daemon.config, fresh.config)
	attrs := append([]any{"by", by, "changed", changed(old.sums, fresh.sums)}, fresh.attrs()...)
	if len(later) > 0 {
		attrs = append(attrs, "at the next start", strings.Join(later, ", "))
	}
	if err := r.recorder.Note("reload", "configuration and policies as they are now are in force", attrs...); err != nil {
		return fmt.Errorf("record the change: %w", err)
	}
	r.credentials.Use(fresh.config.Credentials)
	r.webhooks.Use(fresh.config.hooks())
	r.useSinks(fresh.config)
	r.usage.Learn(time.Duration(fresh.config.Drift.Learn))
	r.inForce.Store(fresh)
	r.hosts.Set(fresh.config.Targets.hosts(0))
	if r.reloads.problem.Swap(nil) != nil {
		r.tellReload(nil)
	}
	r.reloads.done.Add(1)
	r.log.Info("configuration and policies are in force", "by", by, "rules", len(fresh.policy.Rules()), "at the next start", later)
	if err := r.apply(&fresh.config.Capture); err != nil { // the kernel's or some cgroup's; reconcile tries again, and status tells
		r.log.Error("apply the configuration", "error", err)
	}
	return nil
}

// refuseFiles says everywhere that files are not in force, and why.
func (d *Daemon) refuseFiles(by string, old, now sums, why *refusedFiles) {
	d.reloads.problem.Store(why)
	d.reloads.failed.Add(1)
	d.tellReload(why)
	d.log.Error("the last good configuration and policies stay in force", "by", by, "error", why)
	attrs := append([]any{"by", by, "changed", changed(old, now), "error", why.Error()}, now.attrs()...)
	if err := d.recorder.Note("reload", "configuration and policies as they are now are not in force; the last good ones are", attrs...); err != nil {
		d.log.Error("record that files are wrong", "error", err)
	}
}

// changed lists the files in which two readings differ.
func changed(old, now sums) string {
	var names []string
	for name, sum := range now {
		if before, ok := old[name]; !ok || before != sum {
			names = append(names, name)
		}
	}
	for name := range old {
		if _, ok := now[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// attrs are the sums of the files, and the time zones that their rules go by, as
// attributes of a note.
func (f *inForce) attrs() []any {
	attrs := f.sums.attrs()
	zones := f.policy.Zones()
	for _, name := range slices.Sorted(maps.Keys(zones)) {
		attrs = append(attrs, "timezone "+name, zones[name])
	}
	return attrs
}

// attrs are sums as attributes of a note.
func (s sums) attrs() (attrs []any) {
	for _, name := range slices.Sorted(maps.Keys(s)) {
		attrs = append(attrs, "sha256 "+name, s[name])
	}
	return attrs
}
