package agentd

import (
	"errors"
	"sync/atomic"
)

// refusals are the reasons for which a connection never becomes a session, as
// metrics name them; the last is for everything else.
var refusals = [...]struct {
	name string
	err  error
}{
	{"direct", errDirect},
	{"unlisted", errUnlisted},
	{"stopping", errStopping},
	{"dial", errDial},
	{"tls", errTLS},
	{"record", errRecord},
	{"unknown", errUnknown},
	{"other", nil},
}

// counts are what the daemon counts besides its loops.
type counts struct {
	sessions atomic.Int64
	refused  [len(refusals)]atomic.Int64
	problem  atomic.Pointer[error] // of the last reconciliation, nil before the first
}

// refuse counts a refusal.
func (c *counts) refuse(err error) {
	for i, r := range refusals {
		if r.err == nil || errors.Is(err, r.err) {
			c.refused[i].Add(1)
			return
		}
	}
}
