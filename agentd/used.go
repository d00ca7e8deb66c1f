package agentd

import (
	"path/filepath"
	"time"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/identity"
	"agentd.dev/agentd/usage"
	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/policy/document"
)

// A DriftConfig says when something is new to a workload.
type DriftConfig struct {
	Learn Duration // how long it is watched before anything is
}

func (c *DriftConfig) keys() []document.Key {
	return []document.Key{{Name: "learn", Read: duration(&c.Learn, 0, 90*24*time.Hour)}}
}

func (c *Config) usageFile() string { return filepath.Join(c.State, "usage.json") }

// openUsage opens what is known of what workloads have used, when the file is
// this agentd's.
func (d *Daemon) openUsage() {
	d.usage = usage.Open(d.config.usageFile(), d.log)
	d.usage.Learn(time.Duration(d.config.Drift.Learn))
}

// closeUsage keeps what was used for the next agentd, or for the one that has
// taken over.
func (d *Daemon) closeUsage() error {
	if d.usage == nil { // it never came to that
		return nil
	}
	return d.usage.Save()
}

// view returns what a session counts with.
func (d *Daemon) view(s *policy.Session) *usage.View {
	return d.usage.View(identity.Lasting(&s.Identity), s.Target.Name, s.Identity.Process.Exe)
}

// count counts what becomes of an event: when it is let through, or refused.
func (j *judge) count(ev *decoders.Event, v *policy.Verdict) {
	switch v.Outcome {
	case policy.Refuse, policy.Close:
		if !v.Cancelled {
			j.used.Denied()
		}
	case policy.Forward, policy.Rewrite:
		if ev.Kind == decoders.Request {
			j.used.Through(ev.Facts)
		}
	}
}

// addUsage adds what there is of counters.
func (d *Daemon) addUsage(s *control.Snapshot) {
	if d.usage == nil {
		return
	}
	state := d.usage.State()
	s.UsageWorkloads, s.UsageFull, s.UsageUncounted = int64(state.Workloads), int64(len(state.Full)), state.Turned
}
