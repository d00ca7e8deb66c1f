package agentd

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"agentd.dev/agentd/webhook"
	"agentd.dev/decoders"
	"agentd.dev/policy"
)

const (
	// quietAlert is how long people are not told of an alert again that they were
	// told of: of the same rule, workload and target. How many there were is told
	// then. All are in the record.
	quietAlert = time.Minute
	// maxAlerts is how many of those are known. Beyond it people are told of none
	// that is new, until some are forgotten: an agent must not be able to make
	// agentd write to them without end.
	maxAlerts = 4096
)

// Alerts tells people what alerting rules have matched. It never blocks: what is
// on the way of statements only notes, and notices are made and sent by flush.
type alerts struct {
	mu      sync.Mutex // guards what follows
	of      map[alertKey]*raised
	ready   []*webhook.Notice
	dropped int64
}

// An alertKey is what alerts have in common that people are told of together.
type alertKey struct{ rule, workload, target string }

// A raised alert is one that people were told of a while ago.
type raised struct {
	until time.Time // when they are told again
	more  int       // since
	last  *webhook.Notice
}

// An alertData is what programs are told of an alert.
type alertData struct {
	Rule     string `json:"rule"`
	Workload string `json:"workload"`
	Target   string `json:"target"`
	Session  string `json:"session"`
	Seq      uint64 `json:"seq"`
	Event    string `json:"event"`
	Verdict  string `json:"verdict"`
	By       string `json:"by"`             // the rule that decided
	More     int    `json:"more,omitempty"` // that people were not told of since the last notice
}

// add takes note of the alerts of a verdict.
func (a *alerts) add(s *policy.Session, ev *decoders.Event, v *policy.Verdict) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, rule := range v.Alerts {
		key := alertKey{rule, s.Identity.Workload, s.Target.Name}
		r := a.of[key]
		switch {
		case r == nil && len(a.of) >= maxAlerts:
			a.dropped++
		case r == nil:
			if a.of == nil {
				a.of = map[alertKey]*raised{}
			}
			a.of[key] = &raised{until: now.Add(quietAlert)}
			a.ready = append(a.ready, alertNotice(rule, s, ev, v, now))
		default:
			if r.more++; r.last == nil { // the first of those that wait stands for all
				r.last = alertNotice(rule, s, ev, v, now)
			}
		}
	}
}

func alertNotice(rule string, s *policy.Session, ev *decoders.Event, v *policy.Verdict, now time.Time) *webhook.Notice {
	id := &s.Identity
	n := &webhook.Notice{
		Kind: webhook.Alert, What: "alert", At: now,
		Title:     fmt.Sprintf("Alert %s: %s on %s", rule, id.Workload, s.Target.Name),
		Statement: cutText(string(ev.Record[:min(len(ev.Record), maxAlertStatement)]), maxAlertStatement-4),
		Data: alertData{
			Rule: rule, Workload: id.Workload, Target: s.Target.Name, Session: s.ID, Seq: ev.Seq,
			Event: ev.Kind.String(), Verdict: v.Outcome.String(), By: v.Rule,
		},
	}
	for _, f := range []webhook.Fact{
		{Name: "rule", Value: rule},
		{Name: "workload", Value: id.Workload},
		{Name: "target", Value: s.Target.Name},
		{Name: "program", Value: id.Process.Exe},
		{Name: "verdict", Value: v.Outcome.String() + " (" + v.Rule + ")"},
		{Name: "session", Value: s.ID},
	} {
		if f.Value != "" {
			n.Facts = append(n.Facts, f)
		}
	}
	return n
}

// maxAlertStatement is how much of a statement is kept for a notice, in bytes.
const maxAlertStatement = 4 << 10

// alertEvery is how soon people are told of an alert.
const alertEvery = 200 * time.Millisecond

// tellAlerts tells people of alerts until ctx ends.
func (d *Daemon) tellAlerts(ctx context.Context) error {
	ticker := time.NewTicker(alertEvery)
	defer ticker.Stop()
	for {
		d.alerts.flush(d.webhooks)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// flush sends what people are to be told now.
func (a *alerts) flush(to *webhook.Sender) {
	now := time.Now()
	a.mu.Lock()
	ready := a.ready
	a.ready = nil
	for key, r := range a.of {
		switch {
		case now.Before(r.until):
		case r.more == 0:
			delete(a.of, key)
		default:
			n := *r.last
			data := n.Data.(alertData)
			if data.More = r.more - 1; data.More > 0 {
				n.Title += " (and " + strconv.Itoa(data.More) + " more)"
			}
			n.Data = data
			ready = append(ready, &n)
			*r = raised{until: now.Add(quietAlert)}
		}
	}
	a.mu.Unlock()
	for _, n := range ready {
		to.Send(n)
	}
}
