package policy

import (
	"agentd.dev/decoders"
)

// mask fits the masks of the rules that match to the columns of a result. Of
// several for one column, one that leaves NULL wins; otherwise the first.
func (r *Rules) mask(a *answer, columns []decoders.Column) Verdict {
	r.masks = r.masks[:0]
	var by *rule
	for _, c := range columns {
		for _, rule := range a.masks {
			if rule.masks(c) {
				r.apply(decoders.Mask{Index: c.Index, Text: rule.text})
				if by == nil {
					by = rule
				}
			}
		}
	}
	if by == nil {
		return Verdict{Outcome: Forward, Rule: "default"}
	}
	return Verdict{Outcome: Rewrite, Rule: by.name, Reason: a.verdict.Reason, Masks: r.masks}
}

func (r *rule) masks(c decoders.Column) bool {
	for _, pattern := range r.columns {
		if covers(pattern, c) {
			return true
		}
	}
	return false
}

// apply adds a mask, or makes the one that its column has stricter.
func (r *Rules) apply(m decoders.Mask) {
	if n := len(r.masks); n == 0 || r.masks[n-1].Index < m.Index { // decoders go from left to right
		r.masks = append(r.masks, m)
		return
	}
	for i := range r.masks {
		if r.masks[i].Index == m.Index {
			if m.Text == "" {
				r.masks[i].Text = ""
			}
			return
		}
	}
	r.masks = append(r.masks, m)
}
