package decodertest

import (
	"errors"
	"slices"

	"agentd.dev/decoders"
)

// refusable checks promise 5: it plays the conversation against the stand-in
// of the server once for each Ask, refuses that one, and looks at what
// becomes of the others.
func (k *check) refusable() *Fault {
	asks, f := k.countAsks()
	if f != nil {
		return f
	}
	for refused := range asks {
		if f := k.refuse(refused, len(asks)); f != nil {
			return f
		}
	}
	return nil
}

// countAsks returns the texts of what the client side is asked about when all
// is allowed.
func (k *check) countAsks() ([]string, *Fault) {
	var asks []string
	w := k.wire(k.options.Want)
	w.Judge = func(ev *decoders.Event) Verdict {
		if ev.Kind != decoders.Columns {
			asks = append(asks, string(ev.Text))
		}
		return Verdict{}
	}
	for _, chunk := range k.conversation.Chunks {
		if err := w.Send(chunk.Dir, chunk.Bytes); err != nil {
			return nil, asFault(5, err)
		}
	}
	return asks, nil
}

// refuse plays the conversation with the nth ask refused.
func (k *check) refuse(nth, of int) *Fault {
	var (
		asks    int
		refused *decoders.Event
		settled = map[uint64]int{} // outcomes by Seq
		open    []uint64           // requests that have none
	)
	w := k.wire(k.options.Want)
	w.Judge = func(ev *decoders.Event) Verdict {
		if ev.Kind == decoders.Columns {
			return Verdict{}
		}
		asks++
		if ev.Kind == decoders.Request {
			open = append(open, ev.Seq)
		}
		if asks != nth+1 {
			return Verdict{}
		}
		refused = snapshot(ev)
		open = slices.DeleteFunc(open, func(s uint64) bool { return s == ev.Seq })
		return Verdict{Refuse: &decoders.Refusal{Rule: "kit", Reason: "refused by the test kit"}}
	}
	w.Saw = func(_ decoders.Dir, ev *decoders.Event) {
		if ev.Kind == decoders.Outcome {
			settled[ev.Seq]++
			through := max(ev.Seq, ev.Result.Through)
			open = slices.DeleteFunc(open, func(s uint64) bool { return s >= ev.Seq && s <= through })
		}
	}
	if f := k.talk(w, &refused); f != nil {
		return f
	}
	if w.Closed {
		return nil // a refusal may end the session
	}
	for seq, n := range settled {
		if n > 1 {
			return fault(5, "with ask %d refused, request %d has %d outcomes", nth+1, seq, n)
		}
	}
	switch {
	case asks != of:
		return fault(5, "with ask %d refused, %d things were asked, want %d", nth+1, asks, of)
	case w.Pending(decoders.FromClient) > 0 || w.Pending(decoders.FromServer) > 0:
		return fault(5, "with ask %d refused, %d bytes of the client and %d of the server wait for ever",
			nth+1, w.Pending(decoders.FromClient), w.Pending(decoders.FromServer))
	case len(settled) > 0 && len(open) > 0:
		return fault(5, "with ask %d refused, requests %d have no outcome", nth+1, open)
	case k.options.Refused != nil:
		if err := k.options.Refused(refused, w.Out[decoders.FromServer], w.Out[decoders.FromClient]); err != nil {
			return fault(5, "with ask %d refused: %v", nth+1, err)
		}
	}
	return nil
}

// talk sends what the client says, and what the stand-in answers to what
// reaches it.
func (k *check) talk(w *Wire, refused **decoders.Event) *Fault {
	var server func([]byte) []byte
	if k.options.Server != nil {
		server = k.options.Server()
	}
	heard := 0
	for _, chunk := range k.conversation.Chunks {
		if chunk.Dir == decoders.FromServer && server != nil {
			continue
		}
		if err := w.Send(chunk.Dir, chunk.Bytes); err != nil {
			return asFault(5, err)
		}
		if w.Closed {
			return nil
		}
		if server == nil && *refused != nil {
			return fault(5, "a refusal keeps the session: Options.Server must say what the server answers")
		}
		for server != nil && heard < len(w.Out[decoders.FromClient]) {
			said := server(w.Out[decoders.FromClient][heard:])
			heard = len(w.Out[decoders.FromClient])
			if err := w.Send(decoders.FromServer, said); err != nil {
				return asFault(5, err)
			}
		}
	}
	return nil
}

func snapshot(ev *decoders.Event) *decoders.Event {
	c := *ev
	c.Text, c.Record = slices.Clone(ev.Text), slices.Clone(ev.Record)
	return &c
}

// asFault returns err if it is a fault, and otherwise that the decoder gave
// up.
func asFault(promise int, err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	return fault(promise, "the decoder gives up: %v", err)
}
