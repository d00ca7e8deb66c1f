package agentd

import (
	"slices"

	"agentd.dev/agentd/usage"
	"agentd.dev/decoders"
	"agentd.dev/decoders/all"
	"agentd.dev/policy"
)

// A judge judges one session by the rules in force at each event: rules that
// change bite at the session's next statement. It belongs to the session's
// loop.
//
// What the decoder looks for is settled when a session begins. A session that
// new rules need more of, as columns to mask, cannot be judged by them, and
// neither can one whose target is none any more: it is closed, fail closed,
// and the client may connect again.
type judge struct {
	daemon  *Daemon
	session policy.Session
	listed  bool // the target is one that the configuration names
	want    decoders.Want
	login   loginKeeper
	holder  holder
	used    *usage.View

	by    *inForce // whose rules are
	rules *policy.Rules
	over  *policy.Verdict // why the session cannot go on, nil if it can
	// refused is why it never could, whatever the rules are: said at its first event.
	refused *policy.Verdict
}

// newJudge returns the judge of a session that begins.
// By is what was in force before its target was looked up.
func (d *Daemon) newJudge(s *policy.Session, by *inForce) *judge {
	j := &judge{daemon: d, session: *s, listed: s.Target.Name != unlistedName, by: by}
	j.rules = j.by.policy.For(&j.session)
	j.used = d.view(&j.session)
	j.rules.Count(j.used)
	j.want = j.rules.Want()
	if d.config.Record.Facts == FactsAll {
		j.want.Fields = learned(s.Target.Protocol)
	}
	j.want.Results = s.Results
	j.want.MaxText = j.by.config.Limits.Statement.Int()
	j.want.Grammar = d.grammar.For(s.Identity.CgroupID)
	return j
}

// learned are all learned fields of a protocol.
func learned(protocol string) (fields []string) {
	p, _ := all.Lookup(protocol)
	for _, f := range p.Fields {
		if f.Learned {
			fields = append(fields, f.Name)
		}
	}
	slices.Sort(fields)
	return fields
}

// Decide implements relay.Judge.
func (j *judge) Decide(ev *decoders.Event) policy.Verdict {
	v := j.settle(ev)
	j.count(ev, &v)
	return v
}

// settle is Decide, before it is counted.
func (j *judge) settle(ev *decoders.Event) policy.Verdict {
	v := j.decide(ev)
	was := j.unhold()
	if len(v.Alerts) > 0 && was == nil { // else it was told when it began to wait
		j.daemon.alerts.add(&j.session, ev, &v)
	}
	switch {
	case v.Outcome == policy.Hold:
		return j.approve(ev, v, was)
	case was != nil: // other rules decide now
		return j.undecided(was, v)
	case ev.Kind == decoders.Login:
		j.holder.loggedIn(ev.Facts)
	case v.Outcome == policy.Forward && ev.Kind == decoders.Cancel:
		j.cancel()
	}
	return v
}

// decide is Decide by the rules alone.
func (j *judge) decide(ev *decoders.Event) policy.Verdict {
	if j.refused != nil {
		return *j.refused
	}
	if now := j.daemon.inForce.Load(); now != j.by {
		j.renew(now)
	}
	if j.over != nil {
		return *j.over
	}
	if v := j.login.objection(ev); v != nil {
		return *v
	}
	v := j.rules.Decide(ev)
	j.daemon.tally.verdict(&v)
	return v
}

// Told implements relay.Judge.
func (j *judge) Told(outcome *decoders.Event) {
	j.rules.Told(outcome)
	j.used.Done(&outcome.Result)
	for _, rule := range outcome.Result.Over {
		j.daemon.tally.shadows.add(rule)
	}
}

// renew goes over to other rules.
func (j *judge) renew(now *inForce) {
	j.by = now
	switch target, found := now.config.Targets.named(j.session.Target.Name); {
	case j.listed && (!found || target.Protocol != j.session.Target.Protocol):
		j.close("The target of this session was removed from agentd's configuration.")
		return
	case j.listed:
		t := &j.session.Target
		t.Labels, t.Default, t.Unclassified = target.Labels, target.Default, target.Unclassified
	case now.config.Unlisted == UnlistedRefuse:
		j.close("Targets that agentd's configuration does not name are refused now.")
		return
	}
	before := j.rules
	j.rules = now.policy.Renew(&j.session, before)
	if !sees(j.want, j.rules.Want()) || j.rules.Tighter(before) {
		j.close("The rules have changed in a way that this session cannot follow.")
	}
}

func (j *judge) close(reason string) {
	j.over = &policy.Verdict{Outcome: policy.Close, Rule: "reload", Reason: reason, Hint: "Connect again."}
}

// sees reports whether a decoder that looks for what had says sees all that
// want asks for.
func sees(had, want decoders.Want) bool {
	return want.Kinds&^had.Kinds == 0 && (had.Bounds || !want.Bounds) &&
		!slices.ContainsFunc(want.Fields, func(f string) bool { return !slices.Contains(had.Fields, f) }) &&
		!slices.ContainsFunc(want.Columns, func(c decoders.ColumnName) bool { return !slices.Contains(had.Columns, c) }) &&
		!slices.ContainsFunc(want.Searches, func(s string) bool { return !slices.Contains(had.Searches, s) })
}
