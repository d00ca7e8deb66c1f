// Package all is the list of the protocols that agentd knows. To add one, add
// its folder beside this and its line here.
package all

import (
	"agentd.dev/decoders"
	"agentd.dev/decoders/postgres"
)

// Protocols is every protocol, in the order in which they are sniffed: those
// with telling first bytes before those that merely might be text.
var Protocols = []decoders.Protocol{
	postgres.Protocol,
}

// Lookup returns the protocol of that name.
func Lookup(name string) (p decoders.Protocol, ok bool) {
	for _, p := range Protocols {
		if p.Name == name {
			return p, true
		}
	}
	return p, false
}
