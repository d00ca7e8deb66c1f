// Package webhook tells people, by HTTP, what they want to know soon: that
// something waits for their approval, that a rule raised an alert, that agentd
// itself is in trouble; and programs, how far the record is signed. Each notice is a JSON object that a Slack incoming
// webhook can show, signed so that whoever receives it knows whom it is from
// (see Verify).
//
// A hook gets its notices in order, each at least once. They are kept in memory
// alone: what is in them is in the record, too, and that somebody should decide
// now is worth nothing to them tomorrow. Nothing ever waits for a hook: beyond
// what is kept, the oldest are dropped, and counted. Observation fails open.
//
// The package knows no rules and no approvals: it is told what to say.
package webhook

import (
	"time"

	"agentd.dev/agentd/outward"
)

// A Hook is somewhere that notices go.
type Hook struct {
	Name string
	On   Kinds // the notices that it gets
	// URL returns where to, and Secret what to sign with, as they are now:
	// they are asked before each attempt. Nil Secret: nothing is signed.
	URL    func() (string, error)
	Secret func() ([]byte, error)
	// Roots are what the receiver's certificate must be signed by, as they are
	// now; nil for what the system trusts.
	Roots outward.Roots
	// As is whose hook this is alone, who need not say so again to decide: its
	// links are theirs. "" for one that many read.
	As string
}

// Kinds is a set of kinds of notices.
type Kinds uint8

const (
	Approval   Kinds = 1 << iota // a request waits for people, or has come to an end
	Alert                        // a rule has matched that is to tell people
	Record                       // what happens cannot be recorded, or can again
	Reload                       // changed files are wrong, or are right again
	Checkpoint                   // how far the record is signed
)

// Names are the kinds' names, in the order of their bits.
var Names = []string{"approval", "alert", "record", "reload", "checkpoint"}

// String returns the name of the lowest kind in k.
func (k Kinds) String() string {
	for i, name := range Names {
		if k&(1<<i) != 0 {
			return name
		}
	}
	return "none"
}

// A Notice is something to tell. It is never changed once it is sent.
type Notice struct {
	Kind Kinds  // exactly one
	What string // what of it, as "asked", "granted"
	At   time.Time
	// Until is when it is worth nothing any more, zero for an hour after At.
	Until time.Time

	Title     string // one line, of what happened
	Facts     []Fact
	Statement string // as it is recorded; what is beyond maxStatement is cut
	// Decide returns where to decide about it, for whoever a hook is for; nil if
	// there is nothing to decide.
	Decide func(as string) string
	Data   any // what programs are told besides; becomes JSON
	// Came is told the name of each hook that has taken it; nil if nobody asks.
	Came func(hook string)
}

// A Fact is one thing to know about a notice.
type Fact struct{ Name, Value string }

const (
	maxStatement = 2 << 10  // bytes of a statement that are told
	maxValue     = 300      // and of a fact
	maxFacts     = 10       // that people are shown
	maxPayload   = 64 << 10 // of what is sent; Data is left out if there is more
	keepFor      = time.Hour
)

// until is when n is worth nothing any more.
func (n *Notice) until() time.Time {
	if n.Until.IsZero() {
		return n.At.Add(keepFor)
	}
	return n.Until
}
