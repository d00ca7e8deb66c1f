package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"agentd.dev/decoders"
)

// A client that logs in with SCRAM can bind the login to the server's
// certificate. Where agentd is in between there is another certificate, or none,
// so that a login which is passed on cannot be bound: agentd takes the mechanism
// for it, the one in -PLUS, out of the server's offer.
//
// A client on TLS that could have bound its login then says so (the gs2 flag y,
// RFC 5802 section 6), and the server refuses it, as someone took away what it
// offered. That flag cannot be changed, as the client's proof covers it. So
// agentd ends such a login itself, and says what helps.

// plus ends the names of mechanisms that bind.
var plus = []byte("-PLUS")

var authSASL = []byte{0, 0, 0, 10}

// maxOffer is how long the server's list of mechanisms may be.
const maxOffer = 4 << 10

// offer handles AuthenticationSASL of a server that agentd reaches over TLS.
func (d *decoder) offer(m message) (turn, error) {
	if m.size > headerLen+maxOffer {
		return walk, fmt.Errorf("a list of mechanisms of %d bytes", m.size)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	out := append(begin(d.server.out[:0], 'R'), authSASL...)
	for list := m.body()[4:]; len(list) > 0 && list[0] != 0; {
		name, rest, ok := cstring(list)
		if !ok {
			return walk, fmt.Errorf("a list of mechanisms that ends within a name")
		}
		if bytes.HasSuffix(name, plus) {
			d.unbound = true
		} else {
			out = append(append(out, name...), 0)
		}
		list = rest
	}
	if !d.unbound {
		return walk, nil
	}
	d.server.out = finish(append(out, 0), 0)
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size, Out: d.server.out}
	return alone, nil
}

// bindable is how much of a SASLInitialResponse says whether the client could
// have bound its login: its mechanism, a length, and the flag.
const bindable = headerLen + 64

// choose looks at the client's SASLInitialResponse, of size bytes, if the
// mechanisms that bind were kept from it.
func (d *decoder) choose(buf []byte, size int) (decoders.Step, error) {
	need := min(size, bindable)
	if len(buf) < need {
		return decoders.Step{Op: decoders.More, N: need}, nil
	}
	_, rest, ok := cstring(buf[headerLen:need])
	if ok && len(rest) > 4 && binary.BigEndian.Uint32(rest) > 0 && rest[4] == 'y' {
		return decoders.Step{}, decoders.Refusal{
			Rule: "tls",
			Reason: "The server binds logins to its TLS certificate, which this client would take part in, " +
				"and agentd, whose certificate the client sees, cannot pass that on.",
			Hint: "Let agentd log in with a `credential` of the target; or set channel_binding=disable (PGCHANNELBINDING) for the client; " +
				"or set `server: disable` under the target's `tls`.",
		}
	}
	d.unbound = false
	return decoders.Step{}, nil
}
