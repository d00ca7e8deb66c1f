package policy

import (
	"time"

	"agentd.dev/decoders"
)

// An Outcome is what the relay does with what it asked about. The set is
// closed: a new kind of action in a policy ends as one of these.
type Outcome uint8

const (
	// Refuse says no in the protocol's own words; the session goes on. It is
	// the zero value, so that a verdict nobody gave lets nothing through.
	Refuse  Outcome = iota
	Forward         // let it through
	Rewrite         // let it through with Masks applied
	Close           // say no and end the session
	Hold            // let it wait for a person; decide again when Wait says so

	Outcomes = int(Hold) + 1 // how many there are
)

// String returns the outcome as records and people write it.
func (o Outcome) String() string {
	return [...]string{"deny", "allow", "mask", "close", "hold"}[o]
}

// A Verdict is the answer to one event.
type Verdict struct {
	Outcome Outcome
	Rule    string // the rule that decided, or "default", "unclassified"
	Reason  string // for Refuse and Close: what the client is told
	Hint    string
	Masks   []decoders.Mask // for Rewrite, and for a login; valid until the next Decide
	// Limits, with Forward, are what the request may not go beyond; nil if
	// there are none. Valid until the next Decide.
	Limits *decoders.Limits
	// Terms, with Hold, are how a person may let it through. The rules say
	// Terms; the daemon then makes Wait of them.
	Terms *Terms
	// Wait, with Hold, has resume called once, from any goroutine, when it can
	// be decided anew. It does not block.
	Wait func(resume func())
	// Withdraw, with Hold, says that nobody waits any more, and why: it is never
	// to be let through. It does not block. Nil: nobody has to know.
	Withdraw func(why string)
	// Cancelled, with Refuse: its client took it back, and is told that.
	Cancelled bool
	// Shadows are what rules that only watch would have decided, nil if none
	// would have decided otherwise. Valid until the next Decide.
	Shadows []Shadow
	// Alerts are the rules that want people to be told. Valid until the next
	// Decide.
	Alerts []string
	// Approval is the request that people let this through by, "" if they were
	// not asked.
	Approval string
}

// A Shadow is what a rule in shadow mode would have decided.
type Shadow struct {
	Outcome Outcome
	Rule    string
	Columns []int // for Rewrite, of a result: which it would have masked
}

// Terms are how people may let through what a rule holds.
type Terms struct {
	Rule    string
	Message string   // why it is held, for those who decide
	Need    int      // how many have to agree, at least 1
	By      []string // groups that they must be of one of; empty: whoever may use the control socket
	// For is how long the same statement of the same workload is let through
	// once it was agreed to. 0: it runs once.
	For     time.Duration
	Expires time.Duration // how long to wait for an answer
	// Open: it waits in a transaction, too, where it may hold locks. Otherwise
	// it is refused with the id of the request, and may be tried again.
	Open bool
}
