package policy

import "agentd.dev/decoders"

// Approved judges a request that people have agreed to. It still keeps to its
// limits.
func (r *Rules) Approved(ev *decoders.Event) Verdict {
	granted := *r.about(ev)
	granted.verdict = Verdict{Outcome: Forward, Rule: granted.verdict.Rule}
	if ev.Kind == decoders.Request && len(granted.limits) > 0 {
		return r.limit(&granted, ev.Seq)
	}
	return granted.verdict
}
