package policy

import (
	"cmp"
	"math/bits"

	"agentd.dev/decoders"
)

// Decide judges an event. It never blocks, and allocates nothing for one
// whose facts were judged before. It fails closed: events of kinds that are
// not asked about, and of protocols that are not known, are refused, and a
// deny, approve or mask whose condition cannot be evaluated applies.
//
// Masks, limits, shadows and alerts of the verdict are valid until the next
// Decide. A login that is let through has what all values of its session are
// searched for.
func (r *Rules) Decide(ev *decoders.Event) Verdict { return r.decide(ev, false) }

// Approved judges a request that people have agreed to, as Decide would if no
// rule held it: limits bind it all the same.
func (r *Rules) Approved(ev *decoders.Event) Verdict { return r.decide(ev, true) }

func (r *Rules) decide(ev *decoders.Event, approved bool) Verdict {
	if ev.Unclassified != "" && !r.lenient(ev.Kind) {
		return r.alerted(ev, r.unclassified(ev))
	}
	if ev.Kind&judged == 0 || bits.OnesCount16(uint16(ev.Kind)) != 1 || !r.known && ev.Unclassified == "" {
		return r.misunderstood(ev)
	}
	if ev.Kind == decoders.Login {
		r.scope.introduce(ev.Claims)
		r.login(ev.Facts)
	}
	a := r.about(ev)
	if ev.Kind == decoders.Columns {
		return r.mask(a, ev.Columns)
	}
	v := a.verdict
	v.Shadows = a.shadows
	if v.Outcome == Hold && (approved || ev.Kind == decoders.Prepare) {
		v = Verdict{Outcome: Forward, Rule: v.Rule, Shadows: v.Shadows}
	}
	if ev.Loosens != (decoders.Loosens{}) && v.Outcome != Refuse {
		if no, refused := r.loosened(&ev.Loosens); refused {
			return a.alert(ev, no)
		}
	}
	if len(ev.Exposures) > 0 && v.Outcome != Refuse {
		if no, refused := r.exposed(ev.Exposures); refused {
			return a.alert(ev, no)
		}
		v.Shadows = r.wouldExpose(v.Shadows, ev.Exposures)
	}
	if ev.Kind == decoders.Request && v.Outcome != Refuse && len(a.limits)+len(a.watched.limits) > 0 {
		v = r.limit(a, v, ev.Seq)
	}
	if ev.Kind == decoders.Login && v.Outcome == Forward {
		v.Masks = r.everything()
		r.bind(a, &v)
	}
	return a.alert(ev, v)
}

// lenient reports whether events of that kind are judged though they were not
// understood.
func (r *Rules) lenient(kind decoders.Kinds) bool {
	switch r.target.Unclassified {
	case Allowing:
		return true
	case Asking: // somebody can be asked about requests alone
		return kind == decoders.Request || kind == decoders.Prepare
	}
	return false
}

// about returns the answer to an event, or to one like it that was answered
// before.
func (r *Rules) about(ev *decoders.Event) *answer {
	q := question{ev.Kind, ev.Facts, ev.Unclassified != ""}
	a, ok := r.seen[q]
	if !ok || a.personal(ev) || a.counted || a.minute != 0 && a.minute != minute(r.spender.meters.now()) {
		a = r.heard(ev)
		if a.personal(ev) {
			return a
		}
		if !q.unclear || q.facts != nil { // without facts, why it was not understood is all there is
			r.remember(q, a)
		}
	}
	return a
}

func (r *Rules) remember(q question, a *answer) {
	if r.seen == nil || len(r.seen) >= maxRemembered {
		r.seen = make(map[question]*answer)
	}
	r.seen[q] = a
}

// answer evaluates the rules on events of one kind.
func (r *Rules) answer(ev *decoders.Event) *answer {
	var a answer
	r.scope.moment, r.scope.asked, r.scope.counted = r.spender.meters.now(), false, false
	matching := r.matching(ev)
	if r.scope.asked {
		a.minute = minute(r.scope.moment)
	}
	a.counted = r.scope.counted
	var denies, asks, allows *candidate // the first of each
	var terms []Terms
	for i := range matching {
		switch c := &matching[i]; {
		case c.shadow:
		case c.do == &actions[deny]:
			denies = cmp.Or(denies, c)
		case c.do == &actions[approve]:
			asks = cmp.Or(asks, c)
			terms = append(terms, c.asks())
		case c.do == &actions[allow]:
			allows = cmp.Or(allows, c)
		case c.do == &actions[limit]:
			a.limits = append(a.limits, c.rule)
		case c.do == &actions[alert]:
			a.alerts = append(a.alerts, c.rule)
			a.names = append(a.names, c.name)
		case c.do == &actions[mask]:
			a.masks = append(a.masks, c.rule)
			if c.truth == fault {
				a.verdict.Reason = c.excuse()
			}
		}
	}
	if ev.Unclassified != "" && r.target.Unclassified == Asking {
		terms = append(terms, unclear(ev.Unclassified))
	}
	by := byDefault
	switch {
	case ev.Kind == decoders.Columns:
	case denies != nil:
		a.verdict, by = denies.verdict(r), byDeny
	case terms != nil:
		a.verdict, by = held(terms, asks.advice()), byApproval
	case allows != nil:
		a.verdict, by = allows.verdict(r), byAllow
	default:
		a.verdict = r.unruled(ev)
	}
	a.watch(ev.Kind, matching, by)
	return &a
}
