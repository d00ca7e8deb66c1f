// Package decodertest checks that a decoder keeps the promises that the relay
// relies on. It plays recorded conversations through a decoder as the relay
// would, cut into pieces of all sizes, and reports each promise it breaks:
//
//  1. Events do not depend on how the bytes are cut.
//  2. With everything allowed, what comes out is what went in.
//  3. A decoder keeps nothing of the buffers it is lent, and an event stays
//     as it is until the next call in its direction.
//  4. Every step makes progress, and More is bounded.
//  5. A refusal, at any Ask, leaves both sides in step.
//  6. No bytes make it panic.
//  7. What merely passes allocates nothing.
//  8. What it shows of results does not depend on how the bytes are cut either.
package decodertest

import (
	"fmt"
	"testing"

	"agentd.dev/decoders"
)

// Options say how a protocol is to be checked.
type Options struct {
	// Want is what the decoder is made with. What goes through unchanged
	// (promise 2) is checked with an empty Want as well.
	Want decoders.Want
	// Injects: with Want, the decoder sends or changes bytes of its own
	// accord, so that promise 2 can hold for an empty Want only.
	Injects bool
	// MaxMore is the most bytes the decoder may ask to see at once. 0
	// stands for 32 MB.
	MaxMore int
	// Server returns a new stand-in for the server, which gets what the
	// decoder sends on and returns the answer, nil if it has none yet. It
	// is how promise 5 learns what becomes of a refused request. Not needed
	// if every refusal closes the session.
	Server func() func(sent []byte) []byte
	// Refused, if not nil, looks at what the client and the server got in
	// the end when one request of a conversation was refused.
	Refused func(refused *decoders.Event, client, server []byte) error
	// Passing: no conversation needs a Loop, as nothing of this protocol
	// passes unasked.
	Passing bool
}

func (o *Options) maxMore() int {
	if o.MaxMore > 0 {
		return o.MaxMore
	}
	return 32 << 20
}

// A Fault is a promise that was not kept.
type Fault struct {
	Promise      int // 1 to 8
	Conversation string
	Detail       string
}

func (f *Fault) Error() string {
	return fmt.Sprintf("promise %d, conversation %q: %s", f.Promise, f.Conversation, f.Detail)
}

// Run reports each fault that Check finds.
func Run(t *testing.T, p decoders.Protocol, cs []Conversation, o Options) {
	t.Helper()
	for _, f := range Check(p, cs, o) {
		t.Error(f)
	}
}

// Check returns the faults that the conversations bring to light, at most one
// for each promise and conversation.
func Check(p decoders.Protocol, cs []Conversation, o Options) []*Fault {
	var faults []*Fault
	looped := o.Passing
	for _, c := range cs {
		k := check{protocol: p, conversation: c, options: o}
		for _, promise := range []func() *Fault{
			k.cutAnywhere, k.unchanged, k.bounded, k.refusable, k.unbreakable, k.allocationFree,
		} {
			if f := k.survive(promise); f != nil {
				f.Conversation = c.Name
				faults = append(faults, f)
			}
		}
		looped = looped || len(c.Loop) > 0
	}
	if !looped {
		faults = append(faults, &Fault{Promise: 7, Detail: "no conversation has a loop to measure"})
	}
	return faults
}

// A check is of one conversation.
type check struct {
	protocol     decoders.Protocol
	conversation Conversation
	options      Options
}

// survive makes a panic a fault.
func (k *check) survive(promise func() *Fault) (f *Fault) {
	defer func() {
		if r := recover(); r != nil {
			f = &Fault{Promise: 6, Detail: fmt.Sprintf("panic: %v", r)}
		}
	}()
	return promise()
}

func fault(promise int, format string, args ...any) *Fault {
	return &Fault{Promise: promise, Detail: fmt.Sprintf(format, args...)}
}
