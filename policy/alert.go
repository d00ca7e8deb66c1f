package policy

import (
	"math/bits"
	"slices"

	"agentd.dev/decoders"
)

// alert adds to a verdict whom to tell of it. To prepare something is worth it
// only where that is all that happens, because it was refused.
func (a *answer) alert(ev *decoders.Event, v Verdict) Verdict {
	if ev.Kind != decoders.Prepare || v.Outcome == Refuse {
		v.Alerts = a.names
	}
	return v
}

// alerted is alert for an event that no rule was asked about.
func (r *Rules) alerted(ev *decoders.Event, v Verdict) Verdict {
	if ev.Kind&judged == 0 || ev.Kind == decoders.Columns || bits.OnesCount16(uint16(ev.Kind)) != 1 {
		return v
	}
	if !r.pool(ev.Kind).alerts(r.candidates()) {
		return v
	}
	return r.about(ev).alert(ev, v)
}

// heeds reports whether an alert is about one of the columns of a result.
func (r *rule) heeds(columns []decoders.Column) bool {
	return len(r.columns) == 0 || slices.ContainsFunc(columns, r.masks)
}

// heeded are the alerts about a result.
func (r *Rules) heeded(a *answer, columns []decoders.Column) []string {
	r.alerts = r.alerts[:0]
	for _, rule := range a.alerts {
		if rule.heeds(columns) {
			r.alerts = append(r.alerts, rule.name)
		}
	}
	if len(r.alerts) == 0 {
		return nil
	}
	return r.alerts
}
