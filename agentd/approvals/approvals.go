// Package approvals keeps the requests that wait for people, and what people
// have decided.
//
// A request is bound to what exactly would be done (the question's digest), by
// whom (the workload, by more than its name), where (target, address, user and
// database), and to the terms of the rule that holds it. A grant lets that
// through once, or for as long as the rule says; nothing else is ever let
// through by it. Every vote, every use of a grant and every end of a request is
// recorded, what lets something through before it does.
//
// The package does not know protocols, sockets or rules, and does not ask
// anybody: those who decide come to Vote.
package approvals

import (
	"time"

	"agentd.dev/policy"
)

// A State is how a request for approval is. The set is closed.
type State uint8

const (
	Refused   State = iota // never asked: Reason says why. The zero value lets nothing through
	Pending                // people are being waited for
	Granted                // it may run, now
	Denied                 // somebody said no
	Expired                // nobody decided in time, or agentd ended
	Withdrawn              // who asked is gone, or asked for it to be cancelled
	Used                   // granted, and over: it was run

	states = int(Used) + 1
)

// String returns the state as people and the record write it.
func (s State) String() string {
	return [...]string{"refused", "pending", "granted", "denied", "expired", "withdrawn", "used"}[s]
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. A state it does not know
// is Refused.
func (s *State) UnmarshalText(text []byte) error {
	*s = Refused
	for i := range states {
		if State(i).String() == string(text) {
			*s = State(i)
		}
	}
	return nil
}

// A Question asks whether a request that a rule holds may go on. It is not
// kept and may be changed after Consult.
type Question struct {
	Session        *policy.Session
	User, Database string
	Seq            uint64 // of the request in its session; the same when it is asked about anew
	Terms          policy.Terms
	Statement      string // as it is recorded
	Parameters     []string
	Digest         [32]byte // of what exactly would be done
	Verbs, Tables  []string
	// Claims are what is said of why it is asked, by key: nobody has verified it.
	Claims map[string]string
	// Open: it would wait while something else is open, as a transaction.
	// Unless Terms.Open says so it does not wait: any later question that is
	// the same may use what was decided.
	Open bool
}

// waits reports whether the connection waits for the answer.
func (q *Question) waits() bool { return !q.Open || q.Terms.Open }

// A Standing is how a question stands.
type Standing struct {
	State   State
	ID      string // of the request; "" if Refused
	Reason  string // for Refused, Denied, Expired, Withdrawn: why, for the client
	By      string // who decided, "" if nobody did
	Expires time.Time
}

// A Request is one request for approval, as people see it. It is a copy.
type Request struct {
	ID      string    `json:"id"`
	State   State     `json:"state"`
	Asked   time.Time `json:"asked"`
	Expires time.Time `json:"expires"`          // when it ends, undecided
	Ended   time.Time `json:"ended,omitzero"`   // when it was decided or ended
	Until   time.Time `json:"until,omitzero"`   // how long a grant may be used
	Reason  string    `json:"reason,omitempty"` // why it ended as it did
	Uses    int       `json:"uses,omitempty"`   // how often a grant was used
	Held    bool      `json:"held"`             // the connection waits; else the client was told to try again
	Votes   []Vote    `json:"votes"`

	Rule    string        `json:"rule"`
	Message string        `json:"message,omitempty"`
	Need    int           `json:"need"`
	By      []string      `json:"by,omitempty"`
	For     time.Duration `json:"forNs,omitempty"`

	Session  string   `json:"session"`
	Seq      uint64   `json:"seq"`
	Workload Workload `json:"workload"`
	Target   string   `json:"target"`
	Address  string   `json:"address"`
	Protocol string   `json:"protocol,omitempty"`
	User     string   `json:"user,omitempty"`
	Database string   `json:"database,omitempty"`

	Statement  string   `json:"statement"`
	Cut        bool     `json:"cut,omitempty"` // the statement's end is not kept any more; the record has it
	Parameters []string `json:"parameters,omitempty"`
	Verbs      []string `json:"verbs,omitempty"`
	Tables     []string `json:"tables,omitempty"`
	// Claims are what is said of why it is asked: nobody has verified it.
	Claims map[string]string `json:"claims,omitempty"`
	// Shown is the SHA-256, in hex, of what those who decide are shown: all of
	// the request that does not change. See Shown.
	Shown string `json:"shown"`
}

// A Workload is who asks.
type Workload struct {
	Name           string    `json:"name"`
	Source         string    `json:"source,omitempty"` // run, unit, cgroup or pod
	Cgroup         string    `json:"cgroup,omitempty"`
	Unit           string    `json:"unit,omitempty"`
	Namespace      string    `json:"namespace,omitempty"`
	Pod            string    `json:"pod,omitempty"`
	ServiceAccount string    `json:"serviceAccount,omitempty"`
	Owner          string    `json:"owner,omitempty"`
	Container      string    `json:"container,omitempty"`
	Image          string    `json:"image,omitempty"`
	PID            int       `json:"pid,omitempty"`
	Started        time.Time `json:"started,omitzero"` // the process
	UID            uint32    `json:"uid"`
	Comm           string    `json:"comm,omitempty"`
	Exe            string    `json:"exe,omitempty"`
	// Contained: it is in a container, whose user ids say nothing of the
	// node's people.
	Contained bool `json:"contained,omitempty"`
}

// A Vote is what one person said.
type Vote struct {
	Grant   bool      `json:"grant"`
	By      string    `json:"by"` // as in Voter.String
	UID     *uint32   `json:"uid,omitempty"`
	Subject string    `json:"subject,omitempty"`
	Groups  []string  `json:"groups,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Via     string    `json:"via"`
	At      time.Time `json:"at"`

	person string // the same for the same person
	as     uint32
}
