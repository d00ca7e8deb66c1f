package policy

import "agentd.dev/decoders"

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

	Outcomes = int(Close) + 1 // how many there are
)

// String returns the outcome as records and people write it.
func (o Outcome) String() string {
	return [...]string{"deny", "allow", "mask", "close"}[o]
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
}
