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

	"agentd.dev/agentd/approvals"
	"agentd.dev/agentd/callback"
	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/credentials"
	"agentd.dev/agentd/grammar"
	"agentd.dev/agentd/handover"
	"agentd.dev/agentd/hosts"
	"agentd.dev/agentd/identity"
	"agentd.dev/agentd/names"
	"agentd.dev/agentd/pods/kube"
	"agentd.dev/agentd/relay"
	"agentd.dev/agentd/synthetic"
	"agentd.dev/agentd/usage"
	"agentd.dev/agentd/webhook"
	"agentd.dev/decoders"
	"agentd.dev/decoders/all"
	"agentd.dev/recorder"
)

const (
	reconcileEvery = time.Second     // how soon new processes, namespaces and ended runs are noticed
	maxServing     = 1024            // connections between accept and relay at once
	lastNotices    = 2 * time.Second // how long notices have when agentd stops
)

// A Daemon is one running agentd.
type Daemon struct {
	config  *Config
	log     *slog.Logger
	started time.Time

	recorder *recorder.Recorder
	inForce  atomic.Pointer[inForce]
	reloads  reloads
	hosts    *hosts.Hosts
	names    names.Names
	// credentials are those of the configuration in force.
	credentials credentials.Store
	capture     *capture.Capture
	sources     []identity.Source
	runs        *runs
	follower    *follower
	// containers are those of the node, nil without a runtime.
	containers containers
	// api is what the API server says of them, nil outside of Kubernetes.
	api      *kube.API
	verifier *synthetic.Verifier
	grammar  *grammar.Pool
	desk     *approvals.Desk // where requests wait for people
	webhooks *webhook.Sender
	links    *callback.Links // to requests, in notices
	alerts   alerts
	// departures are the ways that checkpoints leave by.
	departures departures
	usage      *usage.Store // what workloads have used
	held       heldRequests

	loops    []*relay.Loop
	looping  sync.WaitGroup // the loops' threads
	next     atomic.Uint64  // which loop gets the next session
	live     sync.WaitGroup // sessions, from accept to their last record
	dialling sync.WaitGroup // connections that are not sessions yet
	sessions liveSessions
	// greetings are connections that may come to TLS, and have no place.
	greetings greetings
	// serving is the context of connections that are not sessions yet; it
	// outlives accept, so that draining includes them. Ended by giveUp.
	serving context.Context
	giveUp  context.CancelCauseFunc

	socket  *control.Listener
	doors   *handover.Listener // where other agentds come
	metrics *os.File           // the socket, nil if there are none
	others  others
	// theirs: what outlives this process is another agentd's, and left to
	// it: not taken over yet, or handed over. Only Run's goroutine writes it.
	theirs bool

	notified sync.Once // whoever started us, that we are ready
	counts   counts
	tally    tally
}

// Run is agentd from start to stop. It returns when ctx has ended and what
// was going on has been drained, or when it could not start.
//
// Whatever fails on the way up is undone on the way out, in reverse order.
func Run(ctx context.Context, config *Config, log *slog.Logger) (err error) {
	d := &Daemon{config: config, log: log, started: time.Now()}
	d.serving, d.giveUp = context.WithCancelCause(context.WithoutCancel(ctx))
	var undo []func() error
	defer func() {
		for i := len(undo) - 1; i >= 0; i-- {
			err = errors.Join(err, undo[i]())
		}
	}()

	first, err := readPolicy(config)
	if err != nil {
		return err
	}
	if err := keepCores(config); err != nil {
		return err
	}
	d.credentials.Use(config.Credentials)
	d.inForce.Store(first)
	if first.ca, err = config.authority(nil, nil); err != nil {
		return fmt.Errorf("the CA that clients are to trust: %w", err)
	}
	from, err := d.inherit()
	if err != nil {
		return err
	}
	undo = append(undo, from.close)
	d.theirs = from != nil
	undo = append(undo, d.closeSockets)
	if err := d.listen(from); err != nil {
		return err
	}
	d.links = callback.NewLinks()
	d.webhooks = webhook.New(config.Node, log)
	undo = append(undo, func() error {
		d.alerts.flush(d.webhooks)
		d.webhooks.Close(lastNotices)
		return nil
	})
	if d.recorder, err = d.openRecorder(from); err != nil {
		return err
	}
	undo = append(undo, d.closeDepartures, d.closeRecorder) // in this order, of the end of the log
	if err := d.openDepartures(); err != nil {
		return err
	}
	d.webhooks.Use(config.hooks())
	d.hosts = hosts.New(hosts.ResolverAt(config.Resolver), d.targets().hosts(0))
	undo = append(undo, func() error { d.hosts.Close(); return nil })
	if d.capture, err = capture.Open(capture.Options{
		Root: config.Capture.Root, Pins: config.Capture.Pins, UDP: config.Capture.UDP,
		Heard: d.heard, Takeover: config.Capture.Takeover, From: from.captured(), Log: log,
	}); err != nil {
		return err
	}
	undo = append(undo, d.releaseCapture)
	if d.verifier, err = newVerifier(d.capture.Hierarchy()); err != nil {
		return err
	}
	endContainers, err := d.openContainers()
	if err != nil {
		return err
	}
	undo = append(undo, endContainers)
	d.sources = append(identity.Sources(d.capture.Names, d.containerOf()), identity.Environ{Variables: config.Environment})
	d.runs = &runs{root: d.capture.Root(), capture: d.capture, down: config.Capture.WhenDown, log: log, live: map[string]*run{}}
	undo = append(undo, func() error { return d.runs.close(d.theirs) })
	if err := d.runs.adopt(from); err != nil {
		return err
	}
	if d.grammar, err = grammar.Open(log); err != nil {
		return err
	}
	undo = append(undo, func() error { d.grammar.Close(); return nil })
	undo = append(undo, d.closeUsage)
	if err := d.startLoops(); err != nil {
		return err
	}
	undo = append(undo, d.stopLoops)

	if err := d.recorder.Note("start", "agentd "+Version+" started", first.attrs()...); err != nil {
		return fmt.Errorf("record the start: %w", err)
	}
	if err := d.took(from); err != nil {
		return err
	}
	d.openUsage()
	d.openDesk(from)
	undo = append(undo, d.closeDesk)
	for {
		err := d.work(ctx)
		if !errors.Is(err, errSuccessor) {
			return err
		}
		if d.handOver() {
			d.outlive(ctx)
			return nil
		}
	}
}

// work serves until ctx ends, a part fails that the rest cannot do without, or
// another agentd takes over (errSuccessor).
func (d *Daemon) work(ctx context.Context) error {
	socket, err := d.socket.Again()
	if err != nil {
		return err
	}
	defer socket.Close()
	if err := d.follow(); err != nil {
		return err
	}
	defer d.follower.close()
	endNRI, err := d.hearContainers()
	if err != nil {
		return err
	}
	defer endNRI()
	d.awaitHosts(ctx)
	parts := newGroup(ctx)
	handler := control.MetricsHandler(control.Collector{Read: d.snapshot})
	parts.run(func(ctx context.Context) error {
		server := control.Server{Log: d.log, Reporter: d, Runs: d.runs, Connections: d.connections, Folder: d.config.logFolder(), Keeper: d.recorder, Metrics: handler, Desk: control.Desk{Desk: d.desk, Captured: d.capturedAt}, RotateKey: d.rotateKey}
		return server.Serve(ctx, socket)
	})
	if d.metrics != nil {
		metrics, err := net.FileListener(d.metrics)
		if err != nil {
			return err
		}
		parts.run(func(ctx context.Context) error { return control.ServeMetrics(ctx, metrics, handler) })
	}
	parts.run(func(ctx context.Context) error { d.hosts.Run(ctx); return nil })
	parts.run(d.meet)
	parts.run(d.await)
	parts.run(d.reconcile)
	parts.run(d.follower.follow)
	parts.run(d.tellAlerts)
	parts.run(d.reload)
	parts.run(d.answerCallbacks)
	parts.run(d.usage.Run)
	parts.run(d.testify)
	parts.run(d.accept)
	d.log.Info("agentd is ready", "socket", d.config.Socket, "capture", d.capture.Root(), "took", time.Since(d.started).Round(time.Millisecond))
	d.notified.Do(func() { // a takeover that failed is no second start
		if err := notify(fmt.Sprintf("MAINPID=%d\nREADY=1", os.Getpid())); err != nil {
			d.log.Warn("start", "error", err)
		}
	})
	if err = parts.wait(); errors.Is(err, errSuccessor) {
		return err
	}
	err = errors.Join(err, d.closeSockets())
	d.desk.End("agentd was stopped") // nobody can decide any more
	d.drain()
	return err
}

// heard takes note of what a workload was told of names.
func (d *Daemon) heard(a *capture.Answer) {
	d.names.Hear(names.Place{NetNS: a.NetNS, Cgroup: a.Cgroup, Workload: a.Captured}, a.Message, a.At)
}

func (d *Daemon) isCaptured(workload uint64) bool {
	_, source := d.capture.Names(workload)
	return source != ""
}

// awaitHosts looks the hosts of targets up before the first connection comes.
// It does not wait for long: who connects to a host that is not known yet waits
// for DNS himself.
func (d *Daemon) awaitHosts(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	d.hosts.Await(ctx)
}

func (d *Daemon) openRecorder(from *inheritance) (*recorder.Recorder, error) {
	lock, err := from.logLock(d.config.logFolder())
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	options := recorder.Options{
		Dir:            d.config.logFolder(),
		KeyFile:        d.config.keyFile(),
		Node:           "agentd/" + d.config.Node,
		SegmentBytes:   int64(d.config.Record.Segment),
		Interval:       time.Duration(d.config.Record.Checkpoint),
		Heartbeat:      time.Duration(d.config.Record.Heartbeat),
		Reserve:        int64(d.config.Record.Floor.Size),
		ReservePercent: d.config.Record.Floor.Percent,
		Log:            d.log,
		Lock:           lock,
		Protocols:      all.Protocols,
	}
	if err := d.config.Record.sealing(&options); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	r, err := recorder.Open(options)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return r, nil
}

// closeRecorder ends the log, or leaves it to the agentd that it is not ours
// before or after.
func (d *Daemon) closeRecorder() error {
	if d.theirs {
		return d.recorder.Leave()
	}
	err := d.recorder.Close()
	if d.config.Record.Heartbeat > 0 {
		d.depose(d.recorder.Latest()) // of the very end
	}
	d.others.taking.Wait()
	return err
}

// releaseCapture gives the sockets of captured workloads back to the kernel,
// or leaves the programs in place to refuse them until the next start.
func (d *Daemon) releaseCapture() error {
	if d.theirs || d.inForce.Load().config.Capture.OnStop == OnStopHold {
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

// lastCall is how long connections are still taken that were made before the
// kernel knew that agentd stops.
const lastCall = 200 * time.Millisecond

// untilLastCall returns a context that ends when nothing more comes after ctx
// has ended: at once if another agentd takes over, else a moment after the
// kernel was told.
func (d *Daemon) untilLastCall(ctx context.Context) (context.Context, context.CancelFunc) {
	last, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		defer end()
		if errors.Is(context.Cause(ctx), errSuccessor) {
			return
		}
		if err := d.capture.GoAway(); err != nil {
			d.log.Error("tell the kernel that agentd stops", "error", err)
		}
		<-time.After(lastCall)
	})
	return last, func() { stop(); end() }
}

// accept takes connections until ctx ends, and serves what it has taken.
func (d *Daemon) accept(ctx context.Context) error {
	last, end := d.untilLastCall(ctx)
	defer end()
	places := place{make(chan struct{}, maxServing)}
	for {
		conn, err := d.capture.Accept(last)
		if last.Err() != nil && err != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if d.verifier.Answer(conn.FD, conn.Peer.TGID, conn.Dest) {
			continue
		}
		d.runs.taken.note(conn.Peer.Captured, conn.Dest)
		places.take()
		d.counts.sessions.Add(1)
		d.live.Add(1)
		d.dialling.Add(1)
		go func() {
			defer d.dialling.Done()
			defer places.leave()
			if err := d.serve(d.serving, conn, places); err != nil {
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

// sessionEnded is ended for one that is recorded.
func (d *Daemon) sessionEnded(id string) {
	d.sessions.remove(id)
	d.ended()
}

// turnAway refuses a connection that came when agentd was stopping.
func (d *Daemon) turnAway(conn capture.Conn) {
	resetClose(conn.FD)
	d.counts.refuse(errStopping)
}

// drain waits for the sessions that are going on, as long as the
// configuration says. Whatever connects all the same is turned away at once.
func (d *Daemon) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(d.inForce.Load().config.Limits.Drain))
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

// reconcile keeps capture in step with what comes and goes.
func (d *Daemon) reconcile(ctx context.Context) error {
	ticker := time.NewTicker(reconcileEvery)
	defer ticker.Stop()
	recording := "" // what was wrong with it
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := watchdog(); err != nil {
			d.log.Warn("tell the service manager that agentd is well", "error", err)
		}
		if problem := d.recordProblem(); (problem == "") != (recording == "") {
			recording = problem
			d.tellRecord(problem)
		}
		d.runs.sweep()
		d.names.Tidy(capture.Clock(), d.isCaptured)
		err := errors.Join(d.capture.Reconcile(), d.follower.catchUp())
		before := d.counts.problem.Swap(&err)
		if err != nil && (before == nil || fmt.Sprint(*before) != err.Error()) { // said once, not every second
			d.log.Error("capture", "error", err)
		}
	}
}

// targets are the targets in force.
func (d *Daemon) targets() Targets { return d.inForce.Load().config.Targets }

func (c *Config) logFolder() string { return filepath.Join(c.State, "log") }
func (c *Config) deskFile() string  { return filepath.Join(c.State, "approvals.json") }

// keyFile is the file of the key that signs the log.
func (c *Config) keyFile() string {
	if c.Record.Key != "" {
		return c.Record.Key
	}
	return filepath.Join(c.State, "keys", "node.key")
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
