package agentd

import (
	"maps"
	"sync"

	"agentd.dev/policy"
)

// A tally counts what rules said beside verdicts.
type tally struct {
	shadows ruleCounts // what those in shadow mode would have decided
	alerts  ruleCounts
}

// verdict counts what is in one.
func (t *tally) verdict(v *policy.Verdict) {
	for i := range v.Shadows {
		t.shadows.add(v.Shadows[i].Rule)
	}
	for _, rule := range v.Alerts {
		t.alerts.add(rule)
	}
}

// maxCounted is how many rules are counted by name. Those beyond, of an agentd
// whose rules were changed very often, are counted together.
const maxCounted = 4096

// RuleCounts counts by rule.
type ruleCounts struct {
	mu sync.Mutex // guards by
	by map[string]int64
}

func (c *ruleCounts) add(rule string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[string]int64{}
	}
	if _, known := c.by[rule]; !known && len(c.by) >= maxCounted {
		rule = "" // no rule is called so
	}
	c.by[rule]++
}

func (c *ruleCounts) read() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.by)
}
