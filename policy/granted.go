package policy

import "agentd.dev/decoders"

// Granted judges a request that people have let through under terms, which
// Decide has just said. What they have agreed to still keeps to its limits.
func (r *Rules) Granted(ev *decoders.Event, terms *Terms) Verdict {
	granted := *r.about(ev)
	granted.verdict = Verdict{Outcome: Forward, Rule: terms.Rule}
	if ev.Kind == decoders.Request && len(granted.limits) > 0 {
		return r.limit(&granted, ev.Seq)
	}
	return granted.verdict
}
