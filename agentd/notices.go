package agentd

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"agentd.dev/agentd/approvals"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/webhook"
)

// maxParameters is how many parameters of a statement people are told, and
// maxParameter how long one may be, in bytes.
const (
	maxParameters = 20
	maxParameter  = 200
)

// tellApproval tells people what happens to a request for approval. It is called
// by the desk, in order, with its lock held, and does not block.
func (d *Daemon) tellApproval(what string, r approvals.Request) {
	if what == approvals.Used.String() || !d.webhooks.Wanted(webhook.Approval) {
		return
	}
	n := &webhook.Notice{Kind: webhook.Approval, What: what, At: time.Now(), Statement: cutText(r.Statement, maxAlertStatement), Facts: approvalFacts(&r)}
	n.Title = fmt.Sprintf("%s: %s on %s (%s)", approvalTitle(what, &r), r.Workload.Name, r.Target, r.Rule)
	if what == "asked" || what == "agreed" {
		n.Until = r.Expires
		if base := d.inForce.Load().config.Callback.URL; base != "" {
			n.Decide = func(as string) string { return d.links.Link(base, r.ID, as, r.Expires) }
		}
	}
	r.Statement = "" // it is in the notice
	r.Parameters = shown(r.Parameters)
	n.Data = r
	d.webhooks.Send(n)
}

func approvalTitle(what string, r *approvals.Request) string {
	switch what {
	case "asked":
		return "Approval needed"
	case "agreed":
		return fmt.Sprintf("Approval needed still, %d of %d have agreed", len(r.Votes), r.Need)
	}
	return "Approval " + what
}

func approvalFacts(r *approvals.Request) []webhook.Fact {
	facts := []webhook.Fact{{Name: "request", Value: r.ID}, {Name: "workload", Value: r.Workload.Name}, {Name: "target", Value: r.Target}}
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, webhook.Fact{Name: name, Value: value})
		}
	}
	add("rule", r.Rule)
	add("why", r.Message)
	add("user", r.User)
	add("database", r.Database)
	add("parameters", strings.Join(shown(r.Parameters), ", "))
	if n := len(r.Votes); n > 0 {
		add("by", r.Votes[n-1].By)
		add("reason", r.Votes[n-1].Reason)
	} else {
		add("reason", r.Reason)
	}
	if r.Need > 1 || len(r.By) > 0 {
		add("needs", strings.TrimSpace(strconv.Itoa(r.Need)+" "+strings.Join(r.By, ", ")))
	}
	return facts
}

// shown is what people are told of parameters.
func shown(parameters []string) (list []string) {
	for _, p := range parameters[:min(len(parameters), maxParameters)] {
		list = append(list, cutText(p, maxParameter))
	}
	return list
}

// cutText returns the first n bytes of text, less if that is in the midst of a
// rune.
func cutText(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// tellRecord tells people that what happens cannot be recorded, or can again.
func (d *Daemon) tellRecord(problem string) {
	n := &webhook.Notice{Kind: webhook.Record, What: "trouble", At: time.Now(), Title: "agentd cannot record, and lets nothing through"}
	if problem == "" {
		n.What, n.Title = "well", "agentd records again"
	} else {
		n.Facts = []webhook.Fact{{Name: "problem", Value: problem}}
	}
	d.webhooks.Send(n)
}

// tellReload tells people that changed files are wrong, or are right again.
func (d *Daemon) tellReload(why error) {
	n := &webhook.Notice{Kind: webhook.Reload, What: "trouble", At: time.Now(), Title: "Configuration or policies are wrong: the last good ones stay in force"}
	if why == nil {
		n.What, n.Title = "well", "Configuration and policies are in force again as they are now"
	} else {
		n.Facts = []webhook.Fact{{Name: "problem", Value: why.Error()}}
		n.Data = map[string]string{"error": cutText(why.Error(), 8<<10)}
	}
	d.webhooks.Send(n)
}

// addHooks adds the counters of webhooks.
func (d *Daemon) addHooks(s *control.Snapshot) {
	for _, m := range []*map[string]int64{&s.HookDelivered, &s.HookDropped, &s.HookWaiting, &s.HookFailures, &s.HookLag} {
		*m = map[string]int64{}
	}
	for name, state := range d.webhooks.States() {
		s.HookDelivered[name], s.HookDropped[name], s.HookFailures[name] = state.Delivered, state.Dropped, state.Failures
		s.HookWaiting[name], s.HookLag[name] = int64(state.Waiting), int64(state.Lag/time.Second)
	}
}
