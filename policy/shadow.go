package policy

import (
	"slices"

	"agentd.dev/decoders"
)

// What decided about an event, weakest first.
const (
	byDefault = iota
	byAllow
	byApproval
	byDeny
)

// Watched are the rules in shadow mode that match an event and of which it
// takes more than its facts to say what they would have done.
type watched struct{ masks, limits, alerts []*rule }

// watch notes what the rules in shadow mode that match would have done, each if
// it had been in force beside those that are: nothing, where something stronger
// decided, or where it would have come to the same.
func (a *answer) watch(kind decoders.Kinds, matching []candidate, by int) {
	would := func(c *candidate, o Outcome, strength int) {
		if by < strength && o != a.verdict.Outcome {
			a.shadows = append(a.shadows, Shadow{Outcome: o, Rule: c.name})
		}
	}
	for i := range matching {
		switch c := &matching[i]; {
		case !c.shadow:
		case c.do == &actions[deny]:
			would(c, Refuse, byDeny)
		case c.do == &actions[approve]:
			if kind == decoders.Request { // to prepare it is let through
				would(c, Hold, byApproval)
			}
		case c.do == &actions[allow]:
			would(c, Forward, byAllow)
		case c.do == &actions[mask]:
			a.watched.masks = append(a.watched.masks, c.rule)
		case c.do == &actions[limit]:
			a.watched.limits = append(a.watched.limits, c.rule)
		case kind == decoders.Columns:
			a.watched.alerts = append(a.watched.alerts, c.rule)
		case kind != decoders.Prepare: // would have told people, or chosen the credential
			a.shadows = append(a.shadows, Shadow{Outcome: a.verdict.Outcome, Rule: c.name})
		}
	}
}

// would adds a shadow to those of the verdict.
func (r *Rules) would(shadows []Shadow, s Shadow) []Shadow {
	r.shadows = append(append(r.shadows[:0], shadows...), s)
	return r.shadows
}

// wouldExpose adds the masks in shadow mode for which a request would have been
// refused.
func (r *Rules) wouldExpose(shadows []Shadow, exposures []decoders.Exposure) []Shadow {
	a := r.about(&decoders.Event{Kind: decoders.Columns})
	for _, m := range a.watched.masks {
		trusted := func(f string) bool {
			return m.trusts(f) || slices.ContainsFunc(a.masks, func(m *rule) bool { return m.trusts(f) })
		}
		if e, _ := m.exposed(exposures, trusted); e != nil {
			shadows = r.would(shadows, Shadow{Outcome: Refuse, Rule: m.name})
		}
	}
	return shadows
}

// wouldMask are the masks in shadow mode for columns that none in force masks,
// and the alerts for columns.
func (r *Rules) wouldMask(a *answer, columns []decoders.Column) []Shadow {
	var shadows []Shadow
	r.columns = r.columns[:0]
	for _, rule := range a.watched.masks {
		from := len(r.columns)
		for _, c := range columns {
			if rule.masks(c) && !slices.ContainsFunc(r.masks, func(m decoders.Mask) bool { return m.Index == c.Index }) && !slices.Contains(r.columns[from:], c.Index) {
				r.columns = append(r.columns, c.Index)
			}
		}
		if len(r.columns) > from {
			shadows = r.would(shadows, Shadow{Outcome: Rewrite, Rule: rule.name, Columns: r.columns[from:len(r.columns):len(r.columns)]})
		}
	}
	for _, rule := range a.watched.alerts {
		if rule.heeds(columns) {
			shadows = r.would(shadows, Shadow{Outcome: Forward, Rule: rule.name})
		}
	}
	return shadows
}
