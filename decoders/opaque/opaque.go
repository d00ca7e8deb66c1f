// Package opaque stands in for a protocol that nobody here decodes. It asks
// once, before the first byte, whether the connection may go on unseen.
package opaque

import (
	"fmt"
	"math"

	"agentd.dev/decoders"
)

// Protocol is never sniffed: it is what is left when no other matched.
var Protocol = decoders.Protocol{
	Name:  "opaque",
	Sniff: func(decoders.Dir, []byte) decoders.Match { return decoders.No },
	New:   func(decoders.Want) decoders.Decoder { return new(decoder) },
}

// sample is how many of the first bytes the event shows.
const sample = 16

type decoder struct {
	asked bool
	first decoders.Event
}

// Next asks about the first bytes, whichever side they come from, and passes
// all others. The event is an unclassified request: a policy that says
// nothing of those refuses it.
func (d *decoder) Next(dir decoders.Dir, buf []byte) (decoders.Step, error) {
	if d.asked {
		return decoders.Step{Op: decoders.Pass, N: math.MaxInt}, nil
	}
	d.asked = true
	d.first = decoders.Event{
		Kind: decoders.Request,
		Seq:  1,
		Unclassified: fmt.Sprintf("no known protocol: the %s began with %q",
			dir, buf[:min(sample, len(buf))]),
	}
	return decoders.Step{Op: decoders.Ask, N: math.MaxInt, Event: &d.first}, nil
}

// Refuse closes: there is no way to say no in a protocol that is not known.
func (d *decoder) Refuse(decoders.Refusal) decoders.Answer { return decoders.Answer{Close: true} }

// Abort has nothing to say either.
func (d *decoder) Abort(decoders.Refusal) []byte { return nil }
