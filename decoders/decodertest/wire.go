package decodertest

import (
	"bytes"
	"fmt"

	"agentd.dev/decoders"
)

// A Verdict answers an Ask. The zero value forwards.
type Verdict struct {
	Refuse *decoders.Refusal
	Masks  []decoders.Mask // for an event of kind Columns
}

// A Wire does with a decoder's steps what the relay does, in memory, and
// notices where the decoder breaks the contract. Set the fields you need, then
// Send.
type Wire struct {
	Decoder decoders.Decoder
	// Judge answers what is asked; nil forwards everything.
	Judge func(*decoders.Event) Verdict
	// Saw, if not nil, is shown each event before it is judged.
	Saw func(decoders.Dir, *decoders.Event)
	// MaxMore is the most bytes the decoder may ask to see; 0: no limit.
	MaxMore int
	// Fields are the protocol's, for the comparison of events.
	Fields []decoders.Field
	// Late overwrites lent buffers only before the next call in their
	// direction, and checks that events were intact until then. Otherwise
	// they are overwritten as soon as the step is done.
	Late bool

	// Out is what has come out in each direction.
	Out [2][]byte
	// Closed: a refusal ended the session. What is sent now is lost.
	Closed bool
	// Shown are the rows that were shown, with the columns before and why they
	// were cut behind them.
	Shown []string

	legs [2]leg
}

// A leg is one direction.
type leg struct {
	in      []byte // not consumed yet
	rest    int    // bytes still to come of the last step
	studies int    // since the last step that was something else
	discard bool   // they are dropped
	stuck   bool   // Next has nothing to say before there is something new
	waits   bool   // namely a call in the other direction
	lent    []byte // what Next saw last
	event   *decoders.Event
	was     string // event, as it was when it came
}

// Send puts b on the wire and does all steps that this allows. A *Fault means
// that the decoder broke the contract; any other error is the decoder's own,
// and ends the session.
func (w *Wire) Send(dir decoders.Dir, b []byte) error {
	w.legs[dir].in = append(w.legs[dir].in, b...)
	w.legs[dir].stuck = w.legs[dir].waits
	for again := true; again; {
		again = false
		for _, d := range []decoders.Dir{dir, dir.Other()} {
			l := &w.legs[d]
			for len(l.in) > 0 && !l.stuck && !w.Closed {
				again = true
				if err := w.step(d); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Pending returns how many bytes of a direction were not consumed.
func (w *Wire) Pending(dir decoders.Dir) int { return len(w.legs[dir].in) }

// step does one step in direction d, which has bytes.
func (w *Wire) step(d decoders.Dir) error {
	l := &w.legs[d]
	if l.rest > 0 {
		w.consume(d)
		return nil
	}
	if err := w.reclaim(d); err != nil {
		return err
	}
	l.lent = bytes.Clone(l.in)
	s, err := w.Decoder.Next(d, l.lent)
	if other := &w.legs[d.Other()]; other.waits {
		other.waits, other.stuck = false, false
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(l.lent, l.in) {
		return fault(3, "it wrote into the %s's buffer", d)
	}
	if f := w.valid(&s, len(l.in)); f != nil {
		return f
	}
	if s.Op == decoders.Study {
		return w.study(d, &s)
	}
	l.studies = 0
	if s.Op == decoders.More || s.Op == decoders.Wait {
		l.stuck, l.waits = true, s.Op == decoders.Wait
	} else if err := w.do(d, &s); err != nil {
		return err
	}
	if !w.Late {
		l.event = nil
		return w.reclaim(d)
	}
	return nil
}

// maxStudies is how many studies one step may take.
const maxStudies = 16

// study does what the relay does on a goroutine, where the bytes that it is
// about are gone.
func (w *Wire) study(d decoders.Dir, s *decoders.Step) error {
	l := &w.legs[d]
	if l.studies++; l.studies > maxStudies {
		return fault(4, "%d studies, and still no step", maxStudies)
	}
	if err := w.reclaim(d); err != nil {
		return err
	}
	s.Study()
	return nil
}

// valid checks a step that was given for n bytes.
func (w *Wire) valid(s *decoders.Step, n int) *Fault {
	switch s.Op {
	case decoders.Wait:
	case decoders.Study:
		if s.Study == nil || s.N != 0 || s.Event != nil || len(s.Out) > 0 || len(s.Back) > 0 {
			return fault(4, "Study without a study, or with something else")
		}
	case decoders.More:
		switch {
		case s.N != 0 && s.N <= n:
			return fault(4, "More asks for %d bytes where it has %d", s.N, n)
		case w.MaxMore > 0 && max(s.N, n) > w.MaxMore:
			return fault(4, "More at %d bytes asks for %d; the limit is %d", n, s.N, w.MaxMore)
		}
	case decoders.Pass, decoders.Drop, decoders.Ask:
		switch {
		case s.N <= 0:
			return fault(4, "a step over %d bytes makes no progress", s.N)
		case s.Op == decoders.Ask && s.Event == nil:
			return fault(4, "Ask without an event")
		case s.Op == decoders.Ask && len(s.Back) > 0:
			return fault(4, "Ask with bytes to send back")
		}
	default:
		return fault(4, "a step with the unknown op %d", s.Op)
	}
	return nil
}

// do does a step that consumes bytes.
func (w *Wire) do(d decoders.Dir, s *decoders.Step) error {
	l := &w.legs[d]
	l.rest, l.discard = s.N, s.Op == decoders.Drop
	if s.Event != nil {
		if w.Saw != nil {
			w.Saw(d, s.Event)
		}
		l.event, l.was = s.Event, describe(s.Event, w.Fields)
	}
	if s.Shown != nil {
		if f := w.show(d, s); f != nil {
			return f
		}
	}
	if s.Op == decoders.Ask && w.Judge != nil {
		refused, err := w.ask(d, s.Event)
		if err != nil {
			return err
		}
		if refused {
			l.discard = true
			w.consume(d)
			return nil
		}
	}
	w.Out[d] = append(w.Out[d], s.Out...)
	w.consume(d)
	w.Out[d.Other()] = append(w.Out[d.Other()], s.Back...)
	return nil
}

// show notes what a step shows, row by row, as it is valid now.
func (w *Wire) show(d decoders.Dir, s *decoders.Step) *Fault {
	sh := s.Shown
	if d != decoders.FromServer || s.Op == decoders.Ask || sh.Empty() {
		return fault(8, "a step of op %d from the %s shows %+v", s.Op, d, *sh)
	}
	place := fmt.Sprintf("%d.%d", sh.Seq, sh.Result)
	if len(sh.Columns) > 0 {
		w.Shown = append(w.Shown, fmt.Sprintf("%s columns %q", place, sh.Columns))
	}
	at := 0
	for i, end := range sh.Ends {
		if end < at || end > len(sh.Values) {
			return fault(8, "rows end at %v where there are %d values", sh.Ends, len(sh.Values))
		}
		row := fmt.Sprintf("%s row %d:", place, sh.From+int64(i))
		for _, v := range sh.Values[at:end] {
			row += fmt.Sprintf(" %d%q", v.Kind, v.Text)
		}
		w.Shown = append(w.Shown, row)
		at = end
	}
	if sh.Cut != decoders.Whole {
		w.Shown = append(w.Shown, place+" cut: "+sh.Cut.String())
	}
	return nil
}

// ask judges ev and tells the decoder the verdict.
func (w *Wire) ask(d decoders.Dir, ev *decoders.Event) (refused bool, err error) {
	v := w.Judge(ev)
	switch {
	case v.Refuse != nil && d == decoders.FromServer:
		w.Closed = true // the relay ends the session: a result cannot be refused
		return true, nil
	case v.Refuse != nil:
		w.legs[d].event = nil
		answer := w.Decoder.Refuse(*v.Refuse)
		w.Out[d] = append(w.Out[d], answer.Out...)
		w.Out[d.Other()] = append(w.Out[d.Other()], answer.Back...)
		w.Closed = answer.Close
		return true, nil
	case len(v.Masks) > 0:
		m, ok := w.Decoder.(decoders.Masker)
		if !ok {
			return false, fmt.Errorf("masks for a decoder that cannot mask")
		}
		w.legs[d].event = nil
		m.Mask(v.Masks)
	}
	return false, nil
}

// consume moves or drops what is there of the last step's bytes.
func (w *Wire) consume(d decoders.Dir) {
	l := &w.legs[d]
	n := min(l.rest, len(l.in))
	if !l.discard {
		w.Out[d] = append(w.Out[d], l.in[:n]...)
	}
	l.rest -= n
	l.in = l.in[n:]
}

// reclaim takes the lent buffer back, as a relay that reads into it does.
func (w *Wire) reclaim(d decoders.Dir) error {
	l := &w.legs[d]
	if l.event != nil {
		if now := describe(l.event, w.Fields); now != l.was {
			return fault(3, "an event changed while it was valid:\n was %s\n now %s", l.was, now)
		}
	}
	for i := range l.lent {
		l.lent[i] = 0xa5
	}
	l.lent, l.event = nil, nil
	return nil
}

// describe writes an event in full.
func describe(ev *decoders.Event, fields []decoders.Field) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %d ref %d text %q record %q unclassified %q columns %+v result %+v",
		ev.Kind, ev.Seq, ev.Ref, ev.Text, ev.Record, ev.Unclassified, ev.Columns, ev.Result)
	if ev.Binding != nil { // of the digest, only that it can be told
		_ = ev.Binding.Digest()
		fmt.Fprintf(&b, " parameters %q open %v", ev.Binding.Parameters(), ev.Binding.Open())
	}
	for _, f := range fields {
		if ev.Facts != nil && f.Kinds&ev.Kind != 0 {
			fmt.Fprintf(&b, " %s %q", f.Name, fmt.Sprint(ev.Facts.Field(f.Name)))
		}
	}
	return b.String()
}
