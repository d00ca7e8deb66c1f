package policy

import (
	"fmt"
	"strings"

	"agentd.dev/decoders"
)

// verdict is what an allow or deny that matched an event says.
func (c *candidate) verdict(r *Rules) Verdict {
	if c.do == &actions[allow] {
		return Verdict{Outcome: Forward, Rule: c.name}
	}
	v := Verdict{Outcome: Refuse, Rule: c.name, Reason: c.message, Hint: c.hint}
	if c.truth == fault {
		v.Reason += " (" + c.excuse() + ")"
	}
	if v.Hint == "" {
		v.Hint = r.allowed(c.on)
	}
	if v.Hint == "" {
		v.Hint = fmt.Sprintf("The session goes on; whoever runs agentd on this node can change rule %q.", c.name)
	}
	return v
}

// excuse says why a rule applies whose condition could not be evaluated.
func (c *candidate) excuse() string {
	return fmt.Sprintf("The condition of rule %q could not be evaluated, so it applies: %v.", c.name, c.err)
}

// unruled is the verdict on an event that no rule speaks of. The target's
// default is about requests: a login or cancel that nothing denies is let
// through, since by itself it reads and changes nothing, unless it is an
// exceptional one.
func (r *Rules) unruled(ev *decoders.Event) Verdict {
	const requests = decoders.Prepare | decoders.Request
	kind := ev.Kind
	if ev.Exceptional != "" {
		return Verdict{
			Outcome: Refuse,
			Rule:    "default",
			Reason:  ev.Exceptional,
			Hint:    "Whoever runs agentd on this node can let it in with a rule `on: login`, `do: allow`.",
		}
	}
	if kind&requests == 0 || r.target.Default == Allowing {
		return Verdict{Outcome: Forward, Rule: "default"}
	}
	v := Verdict{
		Outcome: Refuse,
		Rule:    "default",
		Reason:  fmt.Sprintf("No rule allows this on target %q.", r.target.Name),
		Hint:    r.allowed(kind),
	}
	if v.Hint == "" {
		v.Hint = "Whoever runs agentd on this node can add a rule that allows it."
	}
	return v
}

// allowed says what the rules allow instead, "" if nothing.
func (r *Rules) allowed(kinds decoders.Kinds) string {
	if r.plan == nil {
		return ""
	}
	return r.plan.allowed[kindName(kinds)]
}

// unclassified refuses what was not understood.
func (r *Rules) unclassified(ev *decoders.Event) Verdict {
	return Verdict{
		Outcome: Refuse,
		Rule:    "unclassified",
		Reason:  fmt.Sprintf("This %s was not understood: %s.", ev.Kind, strings.TrimSuffix(ev.Unclassified, ".")),
		Hint:    "Write it in a plainer form; or whoever runs agentd on this node can set `unclassified: allow`, or `approve`, for target \"" + r.target.Name + "\".",
	}
}

// misunderstood refuses what can only come of a mistake in agentd or of a
// target whose protocol is not known.
func (r *Rules) misunderstood(ev *decoders.Event) Verdict {
	return Verdict{
		Outcome: Refuse,
		Rule:    "unclassified",
		Reason:  fmt.Sprintf("An event of kind %q of protocol %q cannot be judged.", ev.Kind, r.target.Protocol),
		Hint:    "Whoever runs agentd on this node can correct the target's `protocol`.",
	}
}
