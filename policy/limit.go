package policy

import (
	"fmt"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/policy/document"
)

// Bounds are what a rule limits. Zero is no bound; -1 stands for none at all.
type bounds struct {
	rows, bytes, affected, statements int64

	// per is the time in which all requests together may use that much, from
	// the first of them on. 0: each request may, or with by session, all of a
	// session.
	per time.Duration
	by  by

	// Of every request of a session, by its login.
	time   time.Duration
	writes bool // none may write
}

// BeyondLimits is how the reason begins where a request is refused because its
// limits cannot be kept.
const BeyondLimits = "This cannot be held to its limits: "

// maxPer is the longest time in which uses are counted together.
const maxPer = 31 * 24 * time.Hour

// By says whose requests are counted together.
type by uint8

const (
	byRequest by = iota
	byWorkload
	byUser
	bySession
)

// count reads a number of things. None at all is a limit, too.
func count(to *int64) func(document.Value) {
	return func(v document.Value) {
		if n, ok := v.Int(); ok {
			*to = int64(n)
			if n == 0 {
				*to = -1
			}
		}
	}
}

func (b *bounds) readBytes(v document.Value) {
	var size document.Size
	document.ReadSize(&size, 1, 1<<50)(v)
	b.bytes = int64(size)
}

func (b *bounds) readPer(v document.Value) {
	var d document.Duration
	document.ReadDuration(&d, time.Second, maxPer)(v)
	b.per = time.Duration(d)
}

func (b *bounds) readBy(v document.Value) {
	if i, ok := v.Choice([]string{"workload", "user", "session"}); ok {
		b.by = by(i) + byWorkload
	}
}

func (b *bounds) readTime(v document.Value) {
	var d document.Duration
	document.ReadDuration(&d, time.Millisecond, 24*time.Hour)(v)
	b.time = time.Duration(d)
}

func (b *bounds) readWrites(v document.Value) {
	_, b.writes = v.Choice([]string{"deny"})
}

// fits reports what of the bounds does not go together.
func (b *bounds) fits(v document.Value, login, shadow bool) {
	requests := b.rows != 0 || b.bytes != 0 || b.affected != 0 || b.statements != 0 || b.per != 0 || b.by != byRequest
	switch {
	case login && requests:
		v.Problem("rows, bytes, affected and statements are of requests: write them in a rule `on: request`")
	case login && b.time == 0 && !b.writes:
		v.Problem("limits nothing: give time or writes")
	case login && shadow:
		v.Problem("time and writes cannot be tried out: only the server knows what would go beyond them")
	case login:
		return
	case b.time != 0 || b.writes:
		v.Problem("time and writes hold for a session: write them in a rule `on: login`")
	case b.rows == 0 && b.bytes == 0 && b.affected == 0 && b.statements == 0:
		v.Problem("limits nothing: give rows, bytes, affected or statements")
	case b.by != byRequest && b.by != bySession && b.per == 0:
		v.Problem("by whom without a time: give `per`, as 1h")
	case b.statements != 0 && b.per == 0 && b.by == byRequest:
		v.Problem("every request is one statement or few: say in which time, as `per: 1m`, or `by: session`")
	}
	if b.per != 0 && b.by == byRequest {
		b.by = byWorkload
	}
}

// most is a bound as a number.
func most(bound int64) int64 { return max(bound, 0) }

// limit bounds a request that is let through: by each rule that matches, with
// what is left of its time. A request that comes when nothing is left is
// refused. What requests that go on at the same time use is only known when
// they end, so that together they can go beyond, each by no more than what was
// left when it began.
//
// A request that is held uses nothing up yet, but is refused where nothing is
// left. Limits in shadow mode count as the others do.
func (r *Rules) limit(a *answer, v Verdict, seq uint64) Verdict {
	now := r.spender.meters.now()
	r.limits = decoders.Limits{}
	var open []*meter
	for _, rule := range a.limits {
		b := &rule.bounds
		if b.by == byRequest {
			r.bound(rule, used{})
			continue
		}
		m := r.spender.meter(rule, now)
		u := m.read(now, b.per)
		if short := b.usedUp(u); short != "" {
			return refuseSpent(rule, short, m.renewed(b.per))
		}
		r.bound(rule, u)
		open = append(open, m)
	}
	if v.Outcome == Hold {
		return v
	}
	for _, rule := range a.watched.limits {
		if rule.bounds.by == byRequest {
			continue // what it returns is seen at its end
		}
		m := r.spender.meter(rule, now)
		if rule.bounds.usedUp(m.read(now, rule.bounds.per)) != "" {
			v.Shadows = r.would(v.Shadows, Shadow{Outcome: Refuse, Rule: rule.name})
		}
		open = append(open, m)
	}
	for _, m := range open {
		m.add(used{statements: 1})
	}
	r.spender.begin(seq, open, a.watched.limits)
	if r.limits.Rule() != "" {
		v.Limits = &r.limits
	}
	return v
}

// usedUp says of what nothing is left, "" if there is some of all.
func (b *bounds) usedUp(u used) string {
	for _, one := range []struct {
		bound, used int64
		what        string
	}{
		{b.statements, u.statements, "statements"}, {b.rows, u.rows, "rows"}, {b.bytes, u.bytes, "bytes"}, {b.affected, u.affected, "affected rows"},
	} {
		if one.bound != 0 && one.used >= most(one.bound) {
			return fmt.Sprintf("%d %s", most(one.bound), one.what)
		}
	}
	return ""
}

// bound narrows the limits of the request to what the rule leaves.
func (r *Rules) bound(rule *rule, u used) {
	b := &rule.bounds
	narrow(&r.limits.Rows, rule, b.rows, u.rows, "rows")
	narrow(&r.limits.Bytes, rule, b.bytes, u.bytes, "bytes")
	narrow(&r.limits.Affected, rule, b.affected, u.affected, "rows may be changed")
}

func narrow(l *decoders.Limit, rule *rule, bound, used int64, what string) {
	left := most(bound) - used
	if bound == 0 || l.Set() && l.Max <= left {
		return
	}
	reason := rule.message
	if reason == "" {
		switch what {
		case "rows", "bytes":
			reason = fmt.Sprintf("The result is longer than the %d %s that are allowed here.", left, what)
		default:
			reason = fmt.Sprintf("At most %d %s here, and this statement changes more.", left, what)
		}
	}
	hint := rule.hint
	if hint == "" {
		hint = "Ask for less: with a WHERE or a LIMIT."
	}
	*l = decoders.Limit{Max: left, Refusal: decoders.Refusal{Rule: rule.name, Reason: reason, Hint: hint}}
}

// refuseSpent refuses a request for which nothing is left.
func refuseSpent(rule *rule, short string, renewed time.Time) Verdict {
	v := Verdict{Outcome: Refuse, Rule: rule.name, Reason: rule.message, Hint: rule.hint}
	if v.Reason == "" {
		v.Reason = "The " + short + " that are allowed here are used up."
	}
	if v.Hint == "" {
		v.Hint = "Connect again, or ask whoever runs agentd on this node."
		if !renewed.IsZero() {
			v.Hint = "Try again at " + renewed.UTC().Format("2006-01-02 15:04:05") + " UTC."
		}
	}
	return v
}

// Told takes note of what a request came to, and writes into its Result which
// limits in shadow mode it went beyond.
func (r *Rules) Told(outcome *decoders.Event) { r.spender.end(outcome) }

// beyond reports whether a request went beyond what the rule leaves each.
func (b *bounds) beyond(r *decoders.Result) bool {
	over := func(bound, used int64) bool { return bound != 0 && used > most(bound) }
	return b.by == byRequest && (over(b.rows, r.Rows) || over(b.bytes, r.Bytes) || over(b.affected, r.Affected))
}
