package postgres

import (
	"crypto/rand"

	"agentd.dev/decoders"
	"github.com/jackc/pgproto3/v2"
)

// SQLSTATEs of what agentd itself says.
const (
	insufficientPrivilege = "42501"
	invalidAuthorization  = "28000"
	invalidPassword       = "28P01"
	adminShutdown         = "57P01"
	queryCanceled         = "57014"
	successfulCompletion  = "00000"
)

// Refuse answers the last Ask. A refused statement goes to the server as one
// that is sure to fail in the same place, so that transaction state, what is
// skipped until Sync and the order of answers are the server's own; its error
// is then replaced by the refusal.
func (d *decoder) Refuse(r decoders.Refusal) decoders.Answer {
	switch d.client.event.Kind {
	case decoders.Login:
		return decoders.Answer{Back: complaint(nil, "FATAL", invalidAuthorization, r.Message(), r.Hint), Close: true}
	case decoders.Cancel:
		return decoders.Answer{Close: true}
	}
	if !d.queue.pending(d.asked) {
		d.skipped.remove(d.client.event.Seq)
		return decoders.Answer{} // the server is discarding everything until Sync
	}
	if d.want.Bindings && d.client.event.Kind == decoders.Request {
		d.unsets()
	}
	s := d.queue.at(d.asked)
	s.refusal = &r
	return decoders.Answer{Out: d.substitute(d.client.out[:0], s, r.Rule)}
}

// substitute appends a message of the slot's kind that is sure to fail.
func (d *decoder) substitute(dst []byte, s *slot, rule string) []byte {
	text := "agentd refused this statement: rule " + sanitise(rule)
	switch s.kind {
	case parse:
		dst = encode(dst, &pgproto3.Parse{Name: d.parsing, Query: text})
	case execute: // of a portal nobody can have guessed
		dst = encode(dst, &pgproto3.Execute{Portal: "agentd_" + rand.Text()})
	case function: // no function has the OID 0
		from := len(dst)
		dst = finish(append(begin(dst, function), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), from)
	default: // a syntax error whatever the rule is called
		dst = encode(dst, &pgproto3.Query{String: text})
	}
	d.client.out = dst
	return dst
}

// sanitise keeps of a rule's name what can end neither the text nor the syntax
// error: letters, digits and what commonly joins them.
func sanitise(rule string) string {
	b := []byte(rule[:min(len(rule), maxName)])
	for i, c := range b {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '.', c == ' ':
		default:
			b[i] = '_'
		}
	}
	return string(b)
}

// Abort says that the session ends, as a server does that is shut down.
func (d *decoder) Abort(r decoders.Refusal) []byte {
	return complaint(nil, "FATAL", adminShutdown, r.Message(), r.Hint)
}
