package certs

import (
	"net"
	"net/netip"
	"strings"
)

// A subject is whom a certificate is for: a name, an address, or both.
type subject struct {
	name    string // of a host, or what a target is called
	address netip.Addr
}

// common is the certificate's common name, which nothing goes by any more and
// which has at most 64 characters.
func (s subject) common() string {
	name := s.name
	if name == "" {
		name = s.address.String()
	}
	return name[:min(len(name), 64)]
}

func (s subject) names() []string {
	if s.name == "" {
		return nil
	}
	return []string{strings.ToLower(s.name)}
}

func (s subject) addresses() []net.IP {
	if !s.address.IsValid() {
		return nil
	}
	return []net.IP{s.address.WithZone("").Unmap().AsSlice()}
}
