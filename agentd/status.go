package agentd

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/relay"
	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

// Version is what agentd calls itself. The build sets it.
var Version = "dev"

// Status implements control.Reporter.
func (d *Daemon) Status(ctx context.Context) control.Status {
	d.verify(ctx)
	s := d.snapshot()
	stats := d.recorder.Stats()
	return control.Status{
		Version:     Version,
		Node:        d.config.Node,
		PID:         os.Getpid(),
		Started:     d.started,
		Uptime:      control.Seconds(time.Since(d.started) / time.Second),
		Capture:     d.captureStatus(),
		Sessions:    control.SessionCount{Live: s.Live, Total: s.Sessions},
		Draining:    d.draining(),
		Verdicts:    s.Statements,
		Approvals:   d.deskStatus(),
		Config:      d.configStatus(),
		Policy:      d.policyStatus(),
		Workloads:   d.workloadStatus(),
		Targets:     d.Targets(),
		Credentials: d.credentialStatus(ctx),
		CA:          d.CA(),
		Log: control.Log{
			Folder:   d.config.logFolder(),
			Key:      d.config.keyFile() + ".pub",
			Records:  uint64(stats.TreeSize),
			Size:     uint64(stats.SignedSize),
			Failures: stats.Failures,
			Problem:  d.recordProblem(),
			Free:     d.space().Free,
			Floor:    d.space().Floor,
			Left:     d.departed(),
			Sealing:  d.recorder.Sealed().Problem,
		},
	}
}

// recordProblem is what is wrong with recording, "" if nothing is.
func (d *Daemon) recordProblem() string {
	if s := d.recorder.Stats(); s.Broken {
		return fmt.Sprintf("recording does not work: %d records lost, and nothing that is asked goes out: %v", s.Lost, d.recorder.Trouble())
	}
	if s := d.space(); s.Free < s.Floor {
		return fmt.Sprintf("no session begins: %d bytes are free where the record is, and record.floor is %d", s.Free, s.Floor)
	}
	return ""
}

// space is how much room there is for the record; none if that is not known.
func (d *Daemon) space() recorder.Space {
	s, _ := d.recorder.Space()
	return s
}

func (d *Daemon) captureStatus() control.Capture {
	c := control.Capture{Root: d.capture.Root(), Lacks: d.capture.Lacks()}
	var problems []string
	if err := d.counts.problem.Load(); err != nil && *err != nil {
		problems = append(problems, (*err).Error())
	}
	for _, w := range d.capture.Workloads() {
		if _, err := d.verdict(&w); err != nil {
			problems = append(problems, w.Name+": "+err.Error())
		}
	}
	if d.containers != nil {
		if s := d.containers.Status(); s.Problem != "" {
			problems = append(problems, s.Problem)
		}
	}
	if d.api != nil && d.api.Problem() != "" {
		problems = append(problems, "labels and owners of pods may be old: "+d.api.Problem())
	}
	if d.config.Capture.Takeover == capture.Destroy {
		if err := d.capture.CanDestroy(); err != nil {
			problems = append(problems, "capture.takeover: "+err.Error())
		}
	}
	c.Verified, c.Problem = len(problems) == 0, strings.Join(problems, "; ")
	return c
}

func (d *Daemon) workloadStatus() []control.Workload {
	list := []control.Workload{}
	places := d.places()
	for _, w := range d.capture.Workloads() {
		path := strings.TrimPrefix(w.Cgroup, d.capture.Hierarchy())
		seen, problem := d.verdict(&w)
		list = append(list, control.Workload{
			Name:       w.Name,
			Source:     w.Source,
			Cgroup:     path,
			Namespace:  places[path].Pod.Namespace,
			Pod:        places[path].Pod.Name,
			Container:  places[path].Name,
			Processes:  w.Processes,
			Namespaces: w.Namespaces,
			Earlier:    d.earlier(w.ID),
			WhenDown:   downs[w.WhenDown],
			Verified:   problem == nil,
			Seen:       seen,
			Problem:    text(problem),
		})
	}
	return list
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What the configuration calls these.
var (
	downs   = [...]string{capture.Refuse: "refuse", capture.Bypass: "bypass"}
	answers = [...]string{policy.Refusing: "deny", policy.Allowing: "allow", policy.Asking: "approve"}
)

func (d *Daemon) policyStatus() control.Policy {
	engine := d.inForce.Load().policy
	p := control.Policy{Files: engine.Files(), Rules: len(engine.Rules()), Loaded: engine.Loaded()}
	if refused := d.reloads.problem.Load(); refused != nil && refused.policy != nil {
		p.Error = refused.policy.Error()
	}
	return p
}

func (d *Daemon) configStatus() control.Config {
	now := d.inForce.Load()
	c := control.Config{File: now.config.File, Loaded: now.since, Pending: pending(d.config, now.config)}
	if refused := d.reloads.problem.Load(); refused != nil && refused.config != nil {
		c.Error = refused.config.Error()
	}
	return c
}

// Targets implements control.Reporter.
func (d *Daemon) Targets() []control.Target {
	list := []control.Target{}
	for _, t := range d.targets() {
		addresses, problem := d.where(&t)
		list = append(list, control.Target{
			Name:         t.Name,
			Host:         t.Host,
			Addresses:    addresses,
			Problem:      problem,
			Protocol:     t.Protocol,
			Default:      answers[t.Default],
			Unclassified: answers[t.Unclassified],
			Labels:       t.Labels,
			TLS:          t.TLS.status(),
		})
	}
	return list
}

// credentialStatus tells how the credentials are; helpers are not asked for it.
func (d *Daemon) credentialStatus(ctx context.Context) []control.Credential {
	list := []control.Credential{}
	for _, s := range d.credentials.States(ctx) {
		list = append(list, control.Credential(s))
	}
	return list
}

// snapshot reads every counter once.
func (d *Daemon) snapshot() control.Snapshot {
	stats := d.recorder.Stats()
	s := control.Snapshot{
		Sessions:       d.counts.sessions.Load(),
		Statements:     map[string]int64{},
		Bytes:          map[string]int64{},
		Latency:        control.Histogram{Bounds: relay.LatencyBounds[:], Counts: make([]int64, len(relay.LatencyBounds)+1)},
		Records:        stats.Records,
		RecordFailures: stats.Failures,
		Checkpoints:    stats.Checkpoints,
		Segments:       sealing(d.recorder.Sealed()),
		Syncs:          stats.Syncs,
		SyncTime:       int64(stats.SyncTime / time.Microsecond),
		RecordLost:     stats.Lost,
		RecordBroken:   stats.Broken,
		Space:          map[string]int64{"free": d.space().Free, "floor": d.space().Floor},
		Refused:        map[string]int64{},
		Reloads:        d.reloads.done.Load(),
		ReloadFailures: d.reloads.failed.Load(),
		ConfigLoaded:   d.inForce.Load().since.Unix(),
		Capture:        d.capture.Counters(),
		Workloads:      int64(len(d.capture.Workloads())),
		Verified:       d.captureStatus().Verified,
		Grammar:        d.grammar.Counts.Read(),
		Shadows:        d.tally.shadows.read(),
		Alerts:         d.tally.alerts.read(),
	}
	d.addDesk(&s)
	d.addHooks(&s)
	d.addDepartures(&s)
	d.addUsage(&s)
	for _, loop := range d.loops {
		addLoop(&s, &loop.Stats)
	}
	for i, r := range refusals {
		s.Refused[r.name] = d.counts.refused[i].Load()
	}
	return s
}

// addLoop adds the counters of one loop.
func addLoop(s *control.Snapshot, loop *relay.Stats) {
	s.Live += loop.Sessions.Load()
	for i := range loop.Verdicts {
		s.Statements[policy.Outcome(i).String()] += loop.Verdicts[i].Load()
	}
	for i := range loop.Bytes {
		s.Bytes[decoders.Dir(i).String()] += loop.Bytes[i].Load()
	}
	for i := range loop.Latency {
		s.Latency.Counts[i] += loop.Latency[i].Load()
	}
	s.Latency.Sum += time.Duration(loop.LatencySum.Load()).Seconds()
}

// where is a target's address as the configuration writes it. If it is where
// DNS says, those are its addresses now, and why the last lookup failed.
func (d *Daemon) where(t *TargetConfig) (addresses []string, problem string) {
	port := strconv.Itoa(int(t.Port))
	if t.Host == "" {
		host := t.Prefix.String()
		if t.Prefix.IsSingleIP() {
			host = t.Prefix.Addr().String()
		}
		return []string{net.JoinHostPort(host, port)}, ""
	}
	now, err := d.hosts.Addresses(t.Host)
	addresses = []string{}
	for _, a := range now {
		addresses = append(addresses, net.JoinHostPort(a.String(), port))
	}
	if err != nil {
		problem = err.Error()
	}
	return addresses, problem
}

// sealing is what became of segments that have ended.
func sealing(s recorder.SealStats) map[string]int64 {
	return map[string]int64{"sealed": s.Sealed, "emptied": s.Emptied, "unsealed": s.Plain, "held": s.Held}
}
