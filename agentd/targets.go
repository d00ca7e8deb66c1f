package agentd

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"agentd.dev/agentd/names"
	"agentd.dev/decoders/all"
	"agentd.dev/policy"
	"agentd.dev/policy/document"
)

// Targets are the services that the configuration names.
type Targets []TargetConfig

// A TargetConfig is one service, at one address, a range of them, or where DNS
// says that a host is.
type TargetConfig struct {
	Name         string
	Prefix       netip.Prefix // one address is a prefix of all its bits
	Host         string       // or a name, or a pattern: *.zone
	Port         uint16
	Protocol     string
	Default      policy.Default
	Unclassified policy.Default
	Labels       map[string]string
	Login        LoginConfig
	TLS          TLSConfig
	Durability   Durability
	Results      *Size // that is kept of each request's results, nil as for all targets

	located bool // while it is read: address or host was given, right or wrong
}

// Lookup returns the target at an address: of several whose ranges hold it,
// the one with the narrowest. Where none does, the first whose host has it.
func (t Targets) Lookup(dest netip.AddrPort, has func(host string, a netip.Addr) bool) (policy.Target, bool) {
	addr := dest.Addr().Unmap().WithZone("")
	best := -1
	for i := range t {
		if t[i].Port == dest.Port() && t[i].Prefix.Contains(addr) && (best < 0 || t[i].Prefix.Bits() > t[best].Prefix.Bits()) {
			best = i
		}
	}
	if best < 0 {
		best = slices.IndexFunc(t, func(t TargetConfig) bool { return t.Port == dest.Port() && t.Host != "" && has(t.Host, addr) })
	}
	if best < 0 {
		return policy.Target{}, false
	}
	return policy.Target{
		Name:         t[best].Name,
		Address:      netip.AddrPortFrom(addr, dest.Port()),
		Protocol:     t[best].Protocol,
		Labels:       t[best].Labels,
		Default:      t[best].Default,
		Unclassified: t[best].Unclassified,
	}, true
}

// named returns the target of that name.
func (t Targets) named(name string) (TargetConfig, bool) {
	i := slices.IndexFunc(t, func(c TargetConfig) bool { return c.Name == name })
	if i < 0 {
		return TargetConfig{}, false
	}
	return t[i], true
}

// hosts are the hosts of the targets at a port, of all if it is 0.
func (t Targets) hosts(port uint16) (all []string) {
	for i := range t {
		if t[i].Host != "" && (port == 0 || t[i].Port == port) && !slices.Contains(all, t[i].Host) {
			all = append(all, t[i].Host)
		}
	}
	return all
}

// targetName is also what may stand in messages to clients.
var targetName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (t *Targets) read(folder string) func(document.Value) {
	return func(v document.Value) { t.readIn(folder, v) }
}

func (t *Targets) readIn(folder string, v document.Value) {
	names := map[string]bool{}
	places := map[string]string{}
	v.List(func(v document.Value) {
		var c TargetConfig
		v.Map(c.keys(folder))
		if c.Name == unlistedName {
			v.Problem("%q is what agentd calls an address that no target names: choose another name", c.Name)
		}
		if c.Name != "" && names[c.Name] {
			v.Problem("target %q again: names must differ", c.Name)
		}
		names[c.Name] = true
		switch {
		case c.Prefix.IsValid() && c.Host != "":
			v.Problem("both `address` and `host`: one says where the target is")
		case c.Port == 0 && c.Name != "" && !c.located:
			v.Problem("target %q is nowhere: give its `address` or its `host`", c.Name)
		}
		if c.Port != 0 {
			place := fmt.Sprint(c.Prefix, c.Host, c.Port)
			if other, taken := places[place]; taken {
				v.Problem("target %q has this address already: one of the two would never be met", other)
			}
			places[place] = c.Name
		}
		c.checkTLS(v)
		c.located = false
		*t = append(*t, c)
	})
}

func (t *TargetConfig) keys(folder string) []document.Key {
	return append(t.Login.keys(), []document.Key{
		{Name: "name", Required: true, Read: name(&t.Name, targetName, "a target")},
		{Name: "address", Read: t.readAddress},
		{Name: "host", Read: t.readHost},
		{Name: "protocol", Required: true, Read: func(v document.Value) {
			var names []string
			for _, p := range all.Protocols {
				names = append(names, p.Name)
			}
			if i, ok := v.Choice(names); ok {
				t.Protocol = names[i]
			}
		}},
		{Name: "default", Read: choice(&t.Default, "deny", "allow")},
		{Name: "unclassified", Read: choice(&t.Unclassified, "deny", "allow", "approve")},
		{Name: "tls", Read: t.TLS.read(folder)},
		{Name: "durability", Read: choice(&t.Durability, "page", "disk")},
		{Name: "results", Read: func(v document.Value) {
			t.Results = new(Size)
			readResults(t.Results)(v)
		}},
		{Name: "labels", Read: func(v document.Value) {
			v.Pairs(func(key, value document.Value) {
				k, ok := key.Word()
				text, also := value.Text()
				if ok && also {
					if t.Labels == nil {
						t.Labels = map[string]string{}
					}
					t.Labels[k] = text
				}
			})
		}},
	}...)
}

func (t *TargetConfig) readAddress(v document.Value) {
	text, ok := v.Text()
	if !ok {
		return
	}
	t.located = true
	prefix, port, err := parseAddress(text)
	if err != nil {
		v.Problem("%q: %v", text, err)
		return
	}
	t.Prefix, t.Port = prefix, port
}

func (t *TargetConfig) readHost(v document.Value) {
	text, ok := v.Text()
	if !ok {
		return
	}
	t.located = true
	host, port, err := parseHost(text)
	if err != nil {
		v.Problem("%q: %v", text, err)
		return
	}
	t.Host, t.Port = host, port
}

var errIsAddress = errors.New("this is an address: write it under `address`")

// parseHost reads orders.internal:5432 and *.db.internal:5432. In a pattern the
// star stands for one label; the zone it is in must have two, since in one like
// *.com anybody can have a name.
func parseHost(text string) (string, uint16, error) {
	host, digits, ok := strings.Cut(text, ":")
	if strings.ContainsAny(text, "[/") {
		return "", 0, errIsAddress
	}
	if !ok {
		return "", 0, fmt.Errorf("the port is missing: write orders.internal:5432")
	}
	port, err := parsePort(digits)
	if err != nil {
		return "", 0, err
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	zone, pattern := strings.CutPrefix(host, "*.")
	_, addressErr := netip.ParseAddr(host)
	switch {
	case addressErr == nil:
		return "", 0, errIsAddress
	case !names.IsHost(zone):
		return "", 0, fmt.Errorf("%q is not the name of a host: write orders.internal, or *.db.internal for all in a zone", host)
	case pattern && !strings.Contains(zone, "."):
		return "", 0, fmt.Errorf("%s is too wide: name a zone below it, as *.db.%s", host, zone)
	}
	return host, port, nil
}

func parsePort(digits string) (uint16, error) {
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a port: write a number from 1 to 65535", digits)
	}
	return uint16(n), nil
}

// parseAddress reads 10.0.0.5:5432, 10.0.0.0/8:5432, [fd00::5]:5432 and
// [fd00::/8]:5432.
func parseAddress(text string) (netip.Prefix, uint16, error) {
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 || strings.HasSuffix(text, "]") {
		return netip.Prefix{}, 0, fmt.Errorf("the port is missing: write 10.0.0.5:5432")
	}
	host := text[:colon]
	port, err := parsePort(text[colon+1:])
	if err != nil {
		return netip.Prefix{}, 0, err
	}
	inside, opened := strings.CutPrefix(host, "[")
	inside, closed := strings.CutSuffix(inside, "]")
	if opened != closed || !opened && strings.Contains(host, ":") {
		return netip.Prefix{}, 0, fmt.Errorf("put an IPv6 address in brackets, as [fd00::5]:5432 or [fd00::/8]:5432")
	}
	prefix, err := parsePrefix(inside)
	return prefix, port, err
}

func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil && !strings.Contains(text, "/"):
		return netip.Prefix{}, fmt.Errorf("%q is not an IP address: write a name under `host`", text)
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is not a range of IP addresses: write 10.0.0.0/8", text)
	case prefix.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("write the range as IPv4")
	case prefix.Masked() != prefix:
		return netip.Prefix{}, fmt.Errorf("the range begins at %s: write %s", prefix.Masked().Addr(), prefix.Masked())
	}
	return prefix, nil
}
