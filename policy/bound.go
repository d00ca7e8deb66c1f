package policy

import "agentd.dev/decoders"

// bind puts the limits that a login is let through with into the verdict: of
// all rules that match the shortest time, and no writes if one says so. They
// hold for the whole session (docs/decisions/0021-time-out.md).
func (r *Rules) bind(a *answer, v *Verdict) {
	r.bounds = decoders.Limits{}
	for _, rule := range a.limits {
		b := &rule.bounds
		if ms := b.time.Milliseconds(); ms > 0 && (!r.bounds.Time.Set() || ms < r.bounds.Time.Max) {
			r.bounds.Time = decoders.Limit{Max: ms, Refusal: rule.keeps("A statement may take " + b.time.String() + " here.")}
		}
		if b.writes && !r.bounds.Writes.Set() {
			r.bounds.Writes = decoders.Limit{Refusal: rule.keeps("Nothing may be written here.")}
		}
	}
	if r.bounds.Rule() != "" {
		v.Limits = &r.bounds
	}
}

// keeps is what clients are told of a session's limit.
func (r *rule) keeps(reason string) decoders.Refusal {
	if r.message != "" {
		reason = r.message
	}
	return decoders.Refusal{Rule: r.name, Reason: reason, Hint: r.hint}
}

// loosened refuses a request that would lift a limit of its session. No allow
// outweighs that, and what was not understood is refused, too.
func (r *Rules) loosened(by *decoders.Loosens) (v Verdict, refused bool) {
	for _, one := range []struct {
		*decoders.Limit
		how string
	}{{&r.bounds.Writes, by.Writes}, {&r.bounds.Time, by.Time}} {
		if !one.Set() || one.how == "" {
			continue
		}
		v = Verdict{Outcome: Refuse, Rule: one.Rule, Reason: one.Reason + " This " + one.how + ".", Hint: one.Hint}
		if v.Hint == "" {
			v.Hint = "The session goes on, within that limit."
		}
		return v, true
	}
	return Verdict{}, false
}

// Tighter reports whether these rules bound their session more than those
// before did: the server was told of what held when it logged in.
func (r *Rules) Tighter(before *Rules) bool {
	now, had := &r.bounds, &before.bounds
	return now.Writes.Set() && !had.Writes.Set() || now.Time.Set() && (!had.Time.Set() || now.Time.Max < had.Time.Max)
}

// rebind finds out what bounds a session of which the login was judged by other
// rules.
func (r *Rules) rebind(login decoders.Facts) {
	var v Verdict
	r.bind(r.about(&decoders.Event{Kind: decoders.Login, Facts: login}), &v)
}
