// Package relay moves bytes between a client and a server while a decoder
// looks on, a judge decides, and a log keeps what was decided.
//
// Relay does not know protocols or rules. It promises that nothing a decoder
// asked about leaves before its record is written, that what is passed is
// passed byte for byte, and that a slow or stalled peer holds up no other
// session and a bounded amount of memory.
package relay

import (
	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

// A Judge answers what a decoder asks, and hears what requests came to. It is
// called by one goroutine, must not block, and a Verdict is used before the
// next call.
type Judge interface {
	Decide(ev *decoders.Event) policy.Verdict
	Told(outcome *decoders.Event)
}

// A Session is one connection to be relayed. It belongs to the loop from Add
// on.
type Session struct {
	Client int // connected non-blocking socket, closed by the loop
	Server int // connected non-blocking socket, closed by the loop

	// Wires are, by the direction of what is read, what the descriptors are
	// ends of if they are not the peers' own.
	Wires [2]*Wire

	// Durable: what is asked is to survive the machine before it has effect.
	Durable bool

	Decoder decoders.Decoder
	Judge   Judge
	Log     *recorder.Log

	// Done is called once, by the loop, after both sockets are closed and
	// the session's last record is written or lost.
	Done func(recorder.End)
}
