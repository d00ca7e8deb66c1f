package agentd

import (
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"agentd.dev/agentd/control"
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

// whose is what counters call a workload: the same when its process, container or
// pod is started anew, and when what made its pod is rolled out anew. Who can
// choose another name for it could begin to count anew: names of pods do not
// matter, namespaces and service accounts do
// (docs/decisions/0025-webhooks-callback-counters-drift.md).
func whose(id *policy.Identity) string {
	if id.Namespace == "" {
		return id.Source + "/" + id.Workload
	}
	owner := lastingOwner(id)
	if owner == "" {
		owner = "Pod/" + id.Pod
	}
	return strings.Join([]string{"pod", id.Namespace, owner, id.ServiceAccount, id.Container}, "/")
}

// ofTime is what a CronJob's Job has at the end of its name.
var ofTime = regexp.MustCompile(`^Job/(.+)-[0-9]{8,}$`)

// lastingOwner is who made a pod, without what is another at each rollout.
func lastingOwner(id *policy.Identity) string {
	if hash := id.Labels["pod-template-hash"]; hash != "" && strings.HasPrefix(id.Owner, "ReplicaSet/") {
		return strings.TrimSuffix(id.Owner, "-"+hash)
	}
	if m := ofTime.FindStringSubmatch(id.Owner); m != nil {
		return "Job/" + m[1]
	}
	return id.Owner
}

// view returns what a session counts with.
func (d *Daemon) view(s *policy.Session) *usage.View {
	return d.usage.View(whose(&s.Identity), s.Target.Name, s.Identity.Process.Exe)
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
