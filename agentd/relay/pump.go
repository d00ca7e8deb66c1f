package relay

import (
	"errors"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

var (
	errNoProgress = errors.New("the decoder made no progress")
	errNoMask     = errors.New("results of this protocol cannot be masked")
	errNoLimit    = errors.New("requests of this protocol cannot be limited")
)

// minDirect is how much a decoder must send in place of something for that to
// be written from where it is: a batch of rows is, for which a copy is what
// costs most.
const minDirect = 16 << 10

// pump moves data, in direction d, as the decoder's steps say. It returns how
// many bytes were used up; an error is the decoder's.
func (l *Loop) pump(s *session, d decoders.Dir, data []byte) (used int, err error) {
	src, dst := &s.legs[d], &s.legs[d.Other()]
	run, pos := 0, 0 // data[run:pos] is to pass unchanged
	for pos < len(data) && !s.closing {
		if src.rest > 0 {
			n := min(src.rest, len(data)-pos)
			if src.discard {
				dst.push(data[run:pos])
				run = pos + n
			}
			src.rest -= n
			pos += n
			continue
		}
		step, err := s.Decoder.Next(d, data[pos:])
		if err != nil {
			l.send(s, dst, data[run:pos])
			return pos, err
		}
		if step.Op == decoders.More || step.Op == decoders.Wait {
			src.waiting = step.Op == decoders.Wait
			break
		}
		if step.Op == decoders.Study {
			l.study(s, d, step.Study)
			break
		}
		if step.N <= 0 {
			l.send(s, dst, data[run:pos])
			return pos, errNoProgress
		}
		if step.Op == decoders.Ask || len(step.Out) > 0 {
			if len(step.Out) >= minDirect {
				l.send(s, dst, data[run:pos])
			} else {
				dst.push(data[run:pos])
			}
			run = pos
		}
		src.rest, src.discard = step.N, step.Op == decoders.Drop
		if step.Shown != nil {
			s.Log.Shown(&l.turn, l.now, step.Shown)
		}
		if step.Op == decoders.Ask {
			if src.discard, err = l.ask(s, d, &step); err != nil {
				return pos, err
			}
			if s.waits(d) {
				n := min(step.N, len(data)-pos)
				s.stay.keep(data, pos, n)
				src.rest -= n
				pos += n
				run = pos
				break
			}
		} else if step.Event != nil {
			l.tell(s, step.Event)
		}
		if !src.discard || step.Op == decoders.Drop {
			if len(step.Out) >= minDirect {
				l.send(s, dst, step.Out)
			} else {
				dst.push(step.Out)
			}
		}
		src.push(step.Back)
	}
	if !s.closing {
		l.send(s, dst, data[run:pos])
	}
	return pos, nil
}

// ask has the event of a step judged and recorded, and answers the decoder. It
// reports whether the step's bytes are to be dropped.
func (l *Loop) ask(s *session, d decoders.Dir, step *decoders.Step) (drop bool, err error) {
	l.hold(s)
	l.asked++
	if s.Durable {
		l.durable++
	}
	v := s.Judge.Decide(step.Event)
	if v.Outcome == policy.Hold && (v.Wait == nil || d == decoders.FromServer) {
		v = policy.Verdict{Rule: v.Rule, Reason: "This needs the approval of a person, and cannot wait for it.", Hint: v.Hint}
	}
	var instead []byte
	if v.Limits != nil {
		if instead, v, err = limit(s, v); err != nil {
			return true, err
		}
	}
	s.clock.asked(step.Event, &v, l.now)
	s.Log.Asked(&l.turn, l.now, step.Event, v)
	l.Stats.Verdicts[v.Outcome].Add(1)
	if s.parked && v.Outcome == policy.Forward {
		s.unpark()
	}
	if d == decoders.FromClient && (v.Outcome == policy.Forward || v.Outcome == policy.Rewrite) {
		s.ran = step.Event.Seq
	}
	switch v.Outcome {
	case policy.Forward: // a login comes with what its session is searched for
		s.legs[d.Other()].push(instead)
		drop, err := mask(s, v.Masks, len(v.Masks) > 0)
		return drop || instead != nil, err
	case policy.Rewrite:
		return mask(s, v.Masks, true)
	case policy.Hold:
		l.stay(s, step, &v)
		return false, nil
	}
	l.refuse(s, d, v)
	return true, nil
}

// limit has the decoder keep the limits of a request that may go on, and
// returns what goes in its place. Where they cannot be kept, the verdict is no.
func limit(s *session, v policy.Verdict) (instead []byte, _ policy.Verdict, err error) {
	limiter, ok := s.Decoder.(decoders.Limiter)
	if !ok {
		return nil, v, errNoLimit
	}
	if instead, err = limiter.Limit(*v.Limits); err != nil {
		return nil, policy.Verdict{Outcome: policy.Refuse, Rule: v.Limits.Rule(), Reason: policy.BeyondLimits + err.Error() + ".", Hint: v.Hint}, nil
	}
	return instead, v, nil
}

// mask tells the decoder what to replace, if wanted. It fails closed: what
// cannot be masked does not pass.
func mask(s *session, masks []decoders.Mask, wanted bool) (drop bool, err error) {
	if !wanted {
		return false, nil
	}
	masker, ok := s.Decoder.(decoders.Masker)
	if !ok {
		return true, errNoMask
	}
	masker.Mask(masks)
	return false, nil
}

// refuse tells the client no. A result cannot be refused any more, only the
// session that it belongs to.
func (l *Loop) refuse(s *session, d decoders.Dir, v policy.Verdict) {
	r := decoders.Refusal{Rule: v.Rule, Reason: v.Reason, Hint: v.Hint, Cancelled: v.Cancelled}
	if v.Outcome == policy.Close || d == decoders.FromServer {
		l.abort(s, r, d == decoders.FromServer || s.atEdge())
		return
	}
	answer := s.Decoder.Refuse(r)
	s.legs[d.Other()].push(answer.Out)
	s.legs[d].push(answer.Back)
	if answer.Close {
		l.dismiss(s, v.Reason)
	}
}

// tell records what needs no verdict. What agentd itself asks of the server
// waits for its record like any statement.
func (l *Loop) tell(s *session, ev *decoders.Event) {
	switch ev.Kind {
	case decoders.Own:
		l.hold(s)
	case decoders.Outcome:
		s.clock.told(ev, l.now)
		s.Judge.Told(ev)
	}
	s.Log.Told(&l.turn, l.now, ev)
}

// send sends b after what is queued already. Bytes that wait for no record,
// and that nothing waits in front of, are written from where they are.
func (l *Loop) send(s *session, dst *leg, b []byte) {
	if !s.held && len(dst.out) == 0 {
		b = b[dst.write(b):]
	}
	dst.push(b)
}
