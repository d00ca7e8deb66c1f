package relay

import (
	"time"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// grace is how much longer than it should a request may take before its session
// is ended: the server is to cancel it first, and to tell.
const grace = 2 * time.Second

// A clock ends sessions in which a request takes longer than the login's limits
// allow. Servers keep those themselves; it is for when they do not: a function
// changed the setting, a pooler left it out, or the server waits for a client
// that copies in and says nothing. The zero value has no limit.
type clock struct {
	limit decoders.Limit // in milliseconds
	last  uint64         // the newest request that was let through
	due   time.Time      // zero if none runs
}

// asked notes what was decided on an event.
func (c *clock) asked(ev *decoders.Event, v *policy.Verdict, now time.Time) {
	if v.Outcome != policy.Forward && v.Outcome != policy.Rewrite {
		return
	}
	switch {
	case ev.Kind == decoders.Login && v.Limits != nil:
		c.limit = v.Limits.Time
	case ev.Kind == decoders.Request && c.limit.Set():
		c.last = ev.Seq
		if c.due.IsZero() {
			c.start(now)
		}
	}
}

func (c *clock) start(now time.Time) {
	c.due = now.Add(time.Duration(c.limit.Max)*time.Millisecond + grace)
}

// told notes what a request came to: the time of the next begins.
func (c *clock) told(outcome *decoders.Event, now time.Time) {
	switch {
	case c.due.IsZero():
	case max(outcome.Seq, outcome.Result.Through) >= c.last:
		c.due = time.Time{}
	default:
		c.start(now)
	}
}

func (c *clock) over(now time.Time) bool { return !c.due.IsZero() && now.After(c.due) }

func (c *clock) refusal() decoders.Refusal {
	return decoders.Refusal{
		Rule:   c.limit.Rule,
		Reason: c.limit.Reason + " The server did not end this one in time, so that the session ends.",
		Hint:   c.limit.Hint,
	}
}
