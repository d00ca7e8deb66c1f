package agentd_test

import (
	"net/netip"
	"testing"

	"agentd.dev/agentd"
)

func TestTheNarrowestTargetIsMet(t *testing.T) {
	targets := agentd.Targets{
		{Name: "all4", Prefix: netip.MustParsePrefix("0.0.0.0/0"), Port: 5432},
		{Name: "host", Prefix: netip.MustParsePrefix("10.0.0.5/32"), Port: 5432},
		{Name: "net", Prefix: netip.MustParsePrefix("10.0.0.0/8"), Port: 5432},
		{Name: "pooler", Prefix: netip.MustParsePrefix("10.0.0.5/32"), Port: 6432},
		{Name: "six", Prefix: netip.MustParsePrefix("fd00::/8"), Port: 5432},
	}
	for _, tt := range []struct{ dest, name, address string }{
		{"10.0.0.5:5432", "host", "10.0.0.5:5432"},
		{"[::ffff:10.0.0.5]:5432", "host", "10.0.0.5:5432"},
		{"10.0.0.6:5432", "net", "10.0.0.6:5432"},
		{"192.0.2.1:5432", "all4", "192.0.2.1:5432"},
		{"10.0.0.5:6432", "pooler", "10.0.0.5:6432"},
		{"10.0.0.6:6432", "", ""},
		{"[fd00::1]:5432", "six", "[fd00::1]:5432"},
		{"[fe80::1%eth0]:5432", "", ""},
		{"[::1]:5432", "", ""},
	} {
		got, ok := targets.Lookup(netip.MustParseAddrPort(tt.dest), nobody)
		if ok != (tt.name != "") || got.Name != tt.name || ok && got.Address.String() != tt.address {
			t.Errorf("%s: got %q at %s, want %q at %s", tt.dest, got.Name, got.Address, tt.name, tt.address)
		}
	}
	if _, ok := targets.Lookup(netip.AddrPort{}, nobody); ok {
		t.Error("no address: got a target, want none")
	}
}

// nobody is a DNS in which no host has any address.
func nobody(string, netip.Addr) bool { return false }

func TestAListedAddressComesBeforeANamedOne(t *testing.T) {
	targets := agentd.Targets{
		{Name: "first", Host: "*.db.internal", Port: 5432},
		{Name: "second", Host: "orders.db.internal", Port: 5432},
		{Name: "net", Prefix: netip.MustParsePrefix("10.0.0.0/8"), Port: 5432},
	}
	everywhere := func(host string, _ netip.Addr) bool { return host == "orders.db.internal" }
	everyone := func(string, netip.Addr) bool { return true }
	for _, tt := range []struct {
		dest, name string
		has        func(string, netip.Addr) bool
	}{
		{"10.0.0.5:5432", "net", everyone},
		{"192.0.2.1:5432", "second", everywhere},
		{"[::ffff:192.0.2.1]:5432", "first", everyone},
		{"192.0.2.1:6432", "", everyone},
		{"192.0.2.1:5432", "", nobody},
	} {
		if got, _ := targets.Lookup(netip.MustParseAddrPort(tt.dest), tt.has); got.Name != tt.name {
			t.Errorf("%s: got target %q, want %q", tt.dest, got.Name, tt.name)
		}
	}
}
