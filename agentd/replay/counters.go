package replay

import (
	"strings"

	"agentd.dev/agentd/identity"
	"agentd.dev/agentd/usage"
	"agentd.dev/decoders"
	"agentd.dev/recorder"
)

// counters are what a session's workload has used, as far as the record tells:
// nothing of before it began, and so never what is typical or first. They
// implement policy.Counters.
type counters struct {
	*usage.View
	replay  *replay
	lacking string // the first that was asked and is not known
}

func (s *session) newCounters() *counters {
	p := &s.policy
	return &counters{replay: s.replay, View: s.replay.used().View(identity.Lasting(&p.Identity), p.Target.Name, p.Identity.Process.Exe)}
}

// used are the counters of all sessions, from the first record on.
func (r *replay) used() *usage.Store {
	if r.usage == nil {
		r.usage = usage.Since(r.clock)
	}
	return r.usage
}

// Counter implements policy.Counters.
func (c *counters) Counter(name string, facts decoders.Facts) (any, error) {
	v, err := c.View.Counter(name, facts)
	if (err != nil || strings.HasPrefix(name, "first.") || strings.HasPrefix(name, "usage.typical.") || strings.HasSuffix(name, ".tables") && c.replay.unnamed) && c.lacking == "" {
		c.lacking = name
	}
	return v, err
}

// count counts what became of an event, as it was recorded.
func (s *session) count(e *recorder.Event) {
	var facts decoders.Facts
	if e.Facts != nil {
		facts = e.Facts
	}
	switch {
	case s.counters == nil:
	case e.Verdict == "deny" || e.Verdict == "close":
		s.counters.Denied()
	case e.Verdict == "allow" && e.Kind == "request":
		s.counters.Through(facts)
		s.replay.unnamed = s.replay.unnamed || facts == nil || facts.Field("sql.tables") == nil
	}
}
