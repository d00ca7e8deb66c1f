// Package agentd is the daemon: it wires capture, identity, policy, relay and
// recorder together, and is the only package that knows them all.
package agentd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/identity"
	"agentd.dev/agentd/relay"
	"agentd.dev/agentd/synthetic"
	"agentd.dev/decoders"
	"agentd.dev/decoders/all"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

const (
	reconcileEvery = time.Second // how soon new processes, namespaces and ended runs are noticed
	maxServing     = 1024        // connections between accept and relay at once
)

// A Daemon is one running agentd.
type Daemon struct {
	config  *Config
	log     *slog.Logger
	started time.Time

	recorder *recorder.Recorder
	policy   *policy.Engine
	targets  Targets
	capture  *capture.Capture
	sources  []identity.Source
	runs     *runs
	verifier *synthetic.Verifier

	loops   []*relay.Loop
	looping sync.WaitGroup // the loops' threads
	next    atomic.Uint64  // which loop gets the next session
	live    sync.WaitGroup // sessions, from accept to their last record
	// serving is the context of connections that are not sessions yet; it
	// outlives accept, so that draining includes them. Ended by giveUp.
	serving context.Context
	giveUp  context.CancelCauseFunc

	counts counts
}

// Run is agentd from start to stop. It returns when ctx has ended and what
// was going on has been drained, or when it could not start.
//
// Whatever fails on the way up is undone on the way out, in reverse order.
func Run(ctx context.Context, config *Config, log *slog.Logger) (err error) {
	d := &Daemon{config: config, log: log, started: time.Now(), targets: config.Targets}
	d.serving, d.giveUp = context.WithCancelCause(context.WithoutCancel(ctx))
	var undo []func() error
	defer func() {
		for i := len(undo) - 1; i >= 0; i-- {
			err = errors.Join(err, undo[i]())
		}
	}()

	socket, err := control.Listen(config.Socket)
	if err != nil {
		return err
	}
	undo = append(undo, func() error { return ignoreClosed(socket.Close()) })
	if d.policy, err = policy.Load(config.Policies, all.Protocols); err != nil {
		return err
	}
	if d.recorder, err = d.openRecorder(); err != nil {
		return err
	}
	undo = append(undo, d.recorder.Close)
	if d.capture, err = capture.Open(capture.Options{Root: config.Capture.Root, Pins: config.Capture.Pins, UDP: []uint16{53}, Log: log}); err != nil {
		return err
	}
	undo = append(undo, d.releaseCapture)
	if d.verifier, err = newVerifier(d.capture.Hierarchy()); err != nil {
		return err
	}
	d.sources = identity.Sources(d.capture.Names)
	d.runs = &runs{root: d.capture.Root(), capture: d.capture, down: config.Capture.WhenDown, log: log, live: map[string]*run{}}
	undo = append(undo, d.runs.close)
	if err := d.runs.adopt(); err != nil {
		return err
	}
	if err := d.startLoops(); err != nil {
		return err
	}
	undo = append(undo, d.stopLoops)

	if err := d.recorder.Note("start", "agentd "+Version+" started"); err != nil {
		return fmt.Errorf("record the start: %w", err)
	}
	return d.work(ctx, socket)
}

// work serves until ctx ends or a part fails that the rest cannot do without.
func (d *Daemon) work(ctx context.Context, socket *control.Listener) error {
	metrics, err := d.listenMetrics()
	if err != nil {
		return err
	}
	if err := d.follow(); err != nil {
		return err
	}
	parts := newGroup(ctx)
	handler := control.MetricsHandler(control.Collector{Read: d.snapshot})
	parts.run(func(ctx context.Context) error {
		server := control.Server{Log: d.log, Reporter: d, Runs: d.runs, Folder: d.config.logFolder(), Metrics: handler}
		return server.Serve(ctx, socket)
	})
	if metrics != nil {
		parts.run(func(ctx context.Context) error { return control.ServeMetrics(ctx, metrics, handler) })
	}
	parts.run(d.reconcile)
	parts.run(d.accept)
	d.log.Info("agentd is ready", "socket", d.config.Socket, "capture", d.capture.Root(), "took", time.Since(d.started).Round(time.Millisecond))
	if err := notify("READY=1"); err != nil {
		d.log.Warn("start", "error", err)
	}
	err = parts.wait()
	d.drain()
	return err
}

func (d *Daemon) openRecorder() (*recorder.Recorder, error) {
	r, err := recorder.Open(recorder.Options{
		Dir:          d.config.logFolder(),
		KeyFile:      d.config.keyFile(),
		Node:         "agentd/" + d.config.Node,
		SegmentBytes: int64(d.config.Record.Segment),
		Interval:     time.Duration(d.config.Record.Checkpoint),
		Reserve:      int64(d.config.Record.Reserve),
		Log:          d.log,
	})
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return r, nil
}

// releaseCapture gives the sockets of captured workloads back to the kernel,
// or leaves the programs in place to refuse them until the next start.
func (d *Daemon) releaseCapture() error {
	if d.config.Capture.OnStop == OnStopHold {
		return d.capture.Close()
	}
	return d.capture.Detach()
}

func (d *Daemon) startLoops() error {
	n := d.config.Limits.Loops
	if n == 0 {
		n = max(1, runtime.NumCPU()/2) // docs/decisions/0001-event-loop.md
	}
	for range n {
		loop, err := relay.New(d.recorder)
		if err != nil {
			return errors.Join(err, d.stopLoops())
		}
		d.loops = append(d.loops, loop)
		d.looping.Go(loop.Run)
	}
	return nil
}

// stopLoops ends what is still going on, its clients told so, and returns when
// the last record of each session is written.
func (d *Daemon) stopLoops() error {
	d.giveUp(errStopping)
	for _, loop := range d.loops {
		loop.Stop(decoders.Refusal{Rule: "shutdown", Reason: "agentd on this node is stopping", Hint: "Connect again later."})
	}
	d.looping.Wait()
	d.live.Wait()
	return nil
}

func (d *Daemon) listenMetrics() (net.Listener, error) {
	if d.config.Metrics == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", d.config.Metrics)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics: %w (set `metrics: \"\"` to go without)", err)
	}
	return l, nil
}

// accept takes connections until ctx ends.
func (d *Daemon) accept(ctx context.Context) error {
	places := make(chan struct{}, maxServing)
	for {
		conn, err := d.capture.Accept(ctx)
		if ctx.Err() != nil {
			if err == nil {
				d.turnAway(conn)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if d.verifier.Answer(conn.FD, conn.Peer.TGID, conn.Dest) {
			continue
		}
		d.runs.taken.note(conn.Peer.Captured, conn.Dest)
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			d.turnAway(conn)
			return nil
		}
		d.counts.sessions.Add(1)
		d.live.Add(1)
		go func() {
			defer func() { <-places }()
			if err := d.serve(d.serving, conn); err != nil {
				d.refused(conn, err)
			}
		}()
	}
}

// refused accounts for a connection that never became a session.
func (d *Daemon) refused(conn capture.Conn, err error) {
	defer d.live.Done()
	d.counts.refuse(err)
	d.log.Warn("connection refused", "pid", conn.Peer.TGID, "destination", conn.Dest, "error", err)
}

// relay hands a session to the loops in turn.
func (d *Daemon) relay(s *relay.Session) bool {
	return d.loops[d.next.Add(1)%uint64(len(d.loops))].Add(s)
}

// ended accounts for a session's end.
func (d *Daemon) ended() { d.live.Done() }

// turnAway refuses a connection that came when agentd was stopping.
func (d *Daemon) turnAway(conn capture.Conn) {
	resetClose(conn.FD)
	d.counts.refuse(errStopping)
}

// drain waits for the sessions that are going on, as long as the
// configuration says. What connects meanwhile is refused at once.
func (d *Daemon) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(d.config.Limits.Drain))
	defer cancel()
	go func() { defer cancel(); d.live.Wait() }() // stopLoops waits for the same
	for {
		conn, err := d.capture.Accept(ctx)
		if err != nil {
			break
		}
		d.turnAway(conn)
	}
	<-ctx.Done()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		d.log.Info("ending the sessions that are left")
	}
}

// follow captures the workloads that the configuration names and that are
// there.
func (d *Daemon) follow() error {
	for _, w := range d.config.Capture.Workloads {
		if err := d.captureWorkload(w); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("capture %s: %w", w.Name, err)
		}
	}
	return nil
}

// captureWorkload captures a configured workload as it is now; one that is
// captured already is left alone.
func (d *Daemon) captureWorkload(w WorkloadConfig) error {
	dir, err := w.dir(d.capture.Hierarchy())
	if err != nil {
		return err
	}
	_, err = d.capture.Add(capture.Workload{Cgroup: dir, Name: w.Name, Source: w.source(), WhenDown: d.config.Capture.WhenDown})
	return err
}

// reconcile keeps capture in step with what comes and goes.
func (d *Daemon) reconcile(ctx context.Context) error {
	ticker := time.NewTicker(reconcileEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		d.runs.sweep()
		err := errors.Join(d.capture.Reconcile(), d.follow())
		before := d.counts.problem.Swap(&err)
		if err != nil && (before == nil || fmt.Sprint(*before) != err.Error()) { // said once, not every second
			d.log.Error("capture", "error", err)
		}
	}
}

func (c *Config) logFolder() string { return filepath.Join(c.State, "log") }
func (c *Config) keyFile() string   { return filepath.Join(c.State, "keys", "node.key") }

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
