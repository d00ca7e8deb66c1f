package policy

import (
	"agentd.dev/decoders"
)

// mask fits the masks of the rules that match to the columns of a result. Of
// several for one column, one that leaves NULL wins; otherwise the first. Where
// none replaces whole values, what the rules look for is looked for together.
func (r *Rules) mask(a *answer, columns []decoders.Column) Verdict {
	r.masks = r.masks[:0]
	var by *rule
	for _, c := range columns {
		for _, rule := range a.masks {
			if !rule.masks(c) {
				continue
			}
			r.apply(c.Index, rule)
			if by == nil {
				by = rule
			}
		}
	}
	shadows, alerts := r.wouldMask(a, columns), r.heeded(a, columns)
	if by == nil {
		return Verdict{Outcome: Forward, Rule: "default", Shadows: shadows, Alerts: alerts}
	}
	for i := range r.masks {
		if m := &r.masks[i]; m.Search != nil {
			m.Search = r.together(m.Index, a, columns)
		}
	}
	return Verdict{Outcome: Rewrite, Rule: by.name, Reason: a.verdict.Reason, Masks: r.masks, Shadows: shadows, Alerts: alerts}
}

func (r *rule) masks(c decoders.Column) bool {
	for _, pattern := range r.columns {
		if covers(pattern, c) {
			return true
		}
	}
	return false
}

// some stands for a search that is still to be put together.
var some decoders.Search

// apply adds a mask, or makes the one that its column has stricter.
func (r *Rules) apply(index int, by *rule) {
	m := decoders.Mask{Index: index, Name: by.name, As: by.as, Way: by.way}
	if len(by.find) > 0 {
		m = decoders.Mask{Index: index, Search: &some}
	}
	if n := len(r.masks); n == 0 || r.masks[n-1].Index < index { // decoders go from left to right
		r.masks = append(r.masks, m)
		return
	}
	for i := range r.masks {
		if r.masks[i].Index == index {
			if stricter(&m, &r.masks[i]) {
				r.masks[i] = m
			}
			return
		}
	}
	r.masks = append(r.masks, m)
}

// stricter reports whether a hides more than b.
func stricter(a, b *decoders.Mask) bool {
	switch {
	case a.Search != nil:
		return false
	case b.Search != nil:
		return true
	}
	return a.Way == nil && b.Way != nil
}

// together is what the column with that index is searched for: what the
// session is, and what the rules for the column say.
func (r *Rules) together(index int, a *answer, columns []decoders.Column) *decoders.Search {
	r.found, r.key = r.found[:0], r.key[:0]
	for _, rule := range a.masks {
		if len(rule.find) == 0 || !rule.everywhere() && !rule.covers(index, columns) {
			continue
		}
		r.found = append(r.found, rule)
		r.key = append(append(r.key, rule.name...), 0)
	}
	if s, ok := r.searches[string(r.key)]; ok {
		return s
	}
	if r.searches == nil || len(r.searches) >= maxRemembered {
		r.searches = map[string]*decoders.Search{}
	}
	s := search(r.found)
	r.searches[string(r.key)] = s
	return s
}

// covers reports whether the rule is for one of the columns at that index.
func (r *rule) covers(index int, columns []decoders.Column) bool {
	for _, c := range columns {
		if c.Index == index && r.masks(c) {
			return true
		}
	}
	return false
}

// everything returns what all values of the session are searched for, as a mask:
// none if there is nothing. It is known once the login is.
func (r *Rules) everything() []decoders.Mask {
	a := r.about(&decoders.Event{Kind: decoders.Columns})
	if s := r.together(decoders.EveryColumn, a, nil); s != nil {
		return []decoders.Mask{{Index: decoders.EveryColumn, Search: s}}
	}
	return nil
}
