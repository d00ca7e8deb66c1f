package replay

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

// A session is one whose events are judged anew.
type session struct {
	replay *replay
	of     *recorder.Session
	rules  *policy.Rules // nil before the first event
	want   decoders.Want // of the rules
	login  *facts

	counters *counters
	policy   policy.Session
	entrance decoders.Event // the login
	// bounds are the limits that the rules would have set for the session, and
	// none did.
	bounds decoders.Limits

	unknown string // why nothing of it can be decided, "" if it can
	ended   bool   // the rules would have let it come no further
	facts   map[*recorder.Facts]*facts
	limits  map[uint64]allowance // of requests that go on
	refused map[uint64]bool      // prepares
}

// An allowance is what the rules would let a request have.
type allowance struct {
	limits decoders.Limits
	text   recorder.Text
}

func newSession(r *replay, of *recorder.Session) *session {
	return &session{replay: r, of: of, facts: map[*recorder.Facts]*facts{}, limits: map[uint64]allowance{}, refused: map[uint64]bool{}}
}

// begin finds the rules of the session: it is known by now how TLS is on it.
func (s *session) begin() {
	s.policy, s.unknown = Session(&s.of.Summary)
	if d := s.replay.options.Default; d != "" {
		s.policy.Target.Default = silence(d)
	}
	s.rules = s.replay.engine.For(&s.policy)
	s.counters = s.newCounters()
	s.rules.Count(s.counters)
	s.want = s.rules.Want()
	name, _, err := s.rules.Credential()
	switch {
	case s.unknown != "":
	case err != nil:
		s.unknown = "with which credential agentd logs in cannot be told: " + err.Error()
	case name != "" && s.of.Credential != name && s.of.User != "":
		s.unknown = fmt.Sprintf("agentd would log in with credential %q, not as it did", name)
	}
}

// Session is the session that a record tells of, as rules see it. Why is not ""
// if the record does not have all of it.
func Session(of *recorder.Summary) (p policy.Session, why string) {
	if of.Default == "" {
		why = "it was recorded by a version of agentd that kept no facts"
	}
	for _, text := range []string{of.Workload, of.Cgroup, of.Comm, of.Exe, of.Host, of.Image} {
		if strings.ContainsRune(text, '\ufffd') {
			why = "a name of it is not UTF-8, and not known exactly"
		}
	}
	p = policy.Session{
		ID: of.ID, Start: of.Start, Scope: policy.Scope(of.Scope),
		Identity: policy.Identity{
			Workload: of.Workload, Source: of.Source, Cgroup: of.Cgroup, Unit: of.Unit,
			Process:   policy.Process{PID: of.PID, Start: of.PIDStart, UID: of.UID, Comm: of.Comm, Exe: of.Exe},
			Container: of.Container, ContainerID: of.ContainerID, Image: of.Image,
			Namespace: of.Namespace, Pod: of.Pod, PodUID: of.PodUID, ServiceAccount: of.ServiceAccount,
			Owner: of.Owner, Labels: of.Labels, Claims: of.Claims,
		},
		Target: policy.Target{
			Name: of.Target, Host: of.Host, Protocol: of.Protocol, Labels: of.TargetLabels,
			Default: silence(of.Default), Unclassified: silence(of.NotUnderstood),
		},
		ClientTLS: secured(of.ClientTLS), ServerTLS: secured(of.ServerTLS),
	}
	if at, err := netip.ParseAddrPort(of.Address); err == nil {
		p.Target.Address = at
	}
	return p, why
}

func silence(word string) policy.Default {
	switch word {
	case "allow":
		return policy.Allowing
	case "approve":
		return policy.Asking
	}
	return policy.Refusing
}

func secured(t *recorder.Secured) *policy.TLS {
	if t == nil {
		return nil
	}
	return &policy.TLS{
		Version: t.Version, Cipher: t.Cipher, Name: t.Name, Verified: t.Verified,
		Subject: t.Subject, Issuer: t.Issuer, Fingerprint: t.SHA256, Until: t.Until,
	}
}

// own are the names under which agentd decides itself, before any rule.
var own = []string{"credential", "reload", "tls"}

// judge has the rules judge an event.
func (s *session) judge(e *recorder.Event) Trial {
	if s.rules == nil {
		s.begin()
	}
	ev, f := s.event(e)
	t := Trial{Event: e, session: s, asked: ev}
	switch {
	case slices.Contains(own, e.Rule):
		t.Change = ByAgentd
		return t
	case s.ended || s.refused[e.Ref]:
		t.Change = Unreached
		return t
	case s.unknown != "":
		t.Why = s.unknown
		return t
	}
	s.counters.lacking = ""
	t.Verdict = s.rules.Decide(&ev)
	t.Assumed = f != nil && f.assumed
	if t.Why = s.doubt(e, &t.Verdict, f); t.Why != "" {
		if e.Kind == "login" {
			s.unknown = t.Why
		}
		return t
	}
	if t.Verdict.Outcome == policy.Hold && e.Verdict == "allow" {
		t.Verdict.Limits = s.rules.Approved(&ev).Limits
	}
	if t.Verdict.Limits != nil && strings.HasPrefix(e.Reason, policy.BeyondLimits) {
		t.Verdict = policy.Verdict{Outcome: policy.Refuse, Rule: t.Verdict.Limits.Rule(), Reason: e.Reason}
	}
	t.Change = compare(e, &t.Verdict)
	s.follow(e, &t)
	return t
}

// granted has the rules count what people let through that was held.
func (s *session) granted(e *recorder.Event) {
	if s.rules == nil || s.unknown != "" || s.ended || e.Verdict != "allow" {
		return
	}
	ev, _ := s.event(e)
	if v := s.rules.Approved(&ev); v.Limits != nil {
		s.limits[e.Seq] = allowance{*v.Limits, e.Text}
	}
}

// event is what the rules are asked.
func (s *session) event(e *recorder.Event) (decoders.Event, *facts) {
	ev := decoders.Event{Seq: e.Seq, Ref: e.Ref, Unclassified: e.Unclassified, Exceptional: e.Exceptional}
	ev.Kind = 1 << slices.Index(decoders.Names[:], e.Kind)
	ev.Loosens = decoders.Loosens(e.Loosens)
	for key, value := range e.Claims {
		ev.Claims = append(ev.Claims, decoders.Claim{Key: key, Value: value})
	}
	for _, c := range e.Columns {
		ev.Columns = append(ev.Columns, decoders.Column{Index: c.Index, Schema: c.Schema, Table: c.Table, Name: c.Column, Derived: c.Derived})
	}
	f := s.factsOf(e.Facts)
	if f != nil {
		ev.Facts, ev.Exposures = f, f.exposures
	}
	if e.Kind == "login" {
		s.login, s.entrance = f, ev
	}
	return ev, f
}

// follow notes what the verdict changes for what comes after it.
func (s *session) follow(e *recorder.Event, t *Trial) {
	no := t.Verdict.Outcome == policy.Refuse || t.Verdict.Outcome == policy.Close
	wasNo := e.Verdict == "deny" || e.Verdict == "close"
	switch {
	case no && !wasNo && (e.Kind == "login" || t.Verdict.Outcome == policy.Close):
		s.ended = true
	case no && !wasNo && e.Kind == "prepare":
		s.refused[e.Seq] = true
	}
	if t.Verdict.Limits != nil && e.Kind == "login" {
		if e.Limited == "" {
			s.bounds = *t.Verdict.Limits
		}
		return
	}
	if t.Verdict.Limits != nil && !wasNo {
		s.limits[e.Seq] = allowance{*t.Verdict.Limits, e.Text}
	}
}

// told has the rules count what a request came to. It returns the limit that it
// would have gone beyond, nil if none.
func (s *session) told(e *recorder.Event) *decoders.Limit {
	if s.rules == nil || s.unknown != "" {
		return nil
	}
	d := &e.Done
	s.counters.Done(&decoders.Result{Rows: d.Rows, Bytes: d.Bytes, Affected: d.Affected})
	s.rules.Told(&decoders.Event{Kind: decoders.Outcome, Seq: e.Seq, Result: decoders.Result{
		Rows: d.Rows, Bytes: d.Bytes, Affected: d.Affected, Code: d.Code, Skipped: d.Skipped, Through: d.Through,
	}})
	a, ok := s.limits[e.Seq]
	for seq := e.Seq; seq <= max(e.Seq, d.Through) && len(s.limits) > 0; seq++ {
		delete(s.limits, seq)
	}
	if d.Code != "" || d.Skipped {
		return nil
	}
	if l := &s.bounds.Time; l.Set() && d.Took.Milliseconds() > l.Max && !d.Own {
		return l
	}
	if !ok {
		return nil
	}
	e.Text = a.text
	for _, l := range []struct {
		limit *decoders.Limit
		used  int64
	}{{&a.limits.Affected, d.Affected}, {&a.limits.Rows, d.Rows}, {&a.limits.Bytes, d.Bytes}} {
		if l.limit.Set() && l.used > l.limit.Max {
			return l.limit
		}
	}
	return nil
}
