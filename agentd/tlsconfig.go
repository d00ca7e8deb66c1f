package agentd

import (
	"net/netip"
	"path/filepath"
	"strings"

	"agentd.dev/agentd/certs"
	"agentd.dev/agentd/names"
	"agentd.dev/decoders/all"
	"agentd.dev/policy/document"
)

// A TLSConfig says which legs of a target's sessions have TLS. Its zero value
// is the default.
type TLSConfig struct {
	Client ClientTLS
	Server ServerTLS
	Name   string       // that the server's certificate must be for, "" for the target's host
	Roots  *certs.Roots // that it must be signed by, nil for those of the system
	Pair   *certs.Pair  // that agentd shows to the server, nil for none

	ca, cert, key string // files
}

// ClientTLS is whether clients can have TLS.
type ClientTLS uint8

const (
	ClientOff     ClientTLS = iota // they are told that there is none
	ClientOffer                    // as they like
	ClientRequire                  // they are refused without
)

// ServerTLS is whether agentd uses TLS to the server, as libpq's sslmode has it.
type ServerTLS uint8

const (
	ServerPrefer     ServerTLS = iota // if the server has it
	ServerDisable                     // never
	ServerRequire                     // whoever the server is
	ServerVerifyCA                    // whose certificate is signed by Roots
	ServerVerifyFull                  // and is for Name
)

// What the configuration calls these.
var (
	clientTLS = []string{ClientOff: "off", ClientOffer: "offer", ClientRequire: "require"}
	serverTLS = []string{
		ServerPrefer: "prefer", ServerDisable: "disable", ServerRequire: "require",
		ServerVerifyCA: "verify-ca", ServerVerifyFull: "verify-full",
	}
)

func (c *TLSConfig) keys(folder string) []document.Key {
	return []document.Key{
		{Name: "client", Read: choice(&c.Client, clientTLS...)},
		{Name: "server", Read: choice(&c.Server, serverTLS...)},
		{Name: "ca", Read: file(&c.ca, folder)},
		{Name: "name", Read: func(v document.Value) {
			text, ok := v.Text()
			text = strings.ToLower(strings.TrimSuffix(text, "."))
			if _, err := netip.ParseAddr(text); ok && err != nil && !names.IsHost(text) {
				v.Problem("%q is not the name of a host: write what the server's certificate is for", text)
				return
			}
			c.Name = text
		}},
		{Name: "cert", Read: file(&c.cert, folder)},
		{Name: "key", Read: file(&c.key, folder)},
	}
}

// read reads a target's `tls`, and the files that it names.
func (c *TLSConfig) read(folder string) func(document.Value) {
	return func(v document.Value) {
		v.Map(c.keys(folder))
		switch {
		case c.ca != "" && c.Server < ServerVerifyCA:
			v.Problem("`ca` is not looked at with `server: %s`: write verify-full, or verify-ca", serverTLS[c.Server])
		case c.ca == "" && c.Server == ServerVerifyCA:
			v.Problem("verify-ca without `ca` would trust whoever has a certificate of any public CA: give `ca`, or write verify-full")
		case c.Name != "" && c.Server == ServerVerifyCA:
			v.Problem("`name` is not verified with `server: verify-ca`: write verify-full")
		}
		switch {
		case (c.cert == "") != (c.key == ""):
			v.Problem("`cert` and `key` belong together: give both, or none")
		case c.cert != "" && c.Server == ServerDisable:
			v.Problem("`cert` is never shown with `server: disable`")
		}
		var err error
		if c.ca != "" {
			if c.Roots, err = certs.OpenRoots(c.ca); err != nil {
				v.Problem("`ca`: %v", err)
			}
		}
		if c.cert != "" && c.key != "" {
			if c.Pair, err = certs.OpenPair(c.cert, c.key); err != nil {
				v.Problem("`cert` and `key`: %v", err)
			}
		}
	}
}

// checkTLS reports what of a target's `tls` does not fit the rest of it.
func (t *TargetConfig) checkTLS(v document.Value) {
	if t.TLS == (TLSConfig{}) {
		return
	}
	if p, ok := all.Lookup(t.Protocol); ok && p.Secure == nil {
		v.Problem("target %q: agentd knows no TLS for %s", t.Name, t.Protocol)
	}
	if t.TLS.Server == ServerVerifyFull && t.TLS.Name == "" && t.Host == "" && t.Port != 0 {
		v.Problem("target %q: verify-full needs to know whom the server's certificate must be for: give `name` under `tls`, or `host` in place of `address`", t.Name)
	}
}

// A CAConfig is the CA that signs what clients see, in files that all nodes
// share. The zero value is the node's own.
type CAConfig struct{ Cert, Key string }

func (c *CAConfig) keys(folder string) []document.Key {
	return []document.Key{
		{Name: "cert", Read: file(&c.Cert, folder)},
		{Name: "key", Read: file(&c.Key, folder)},
	}
}

func (c *CAConfig) read(folder string) func(document.Value) {
	return func(v document.Value) {
		v.Map(c.keys(folder))
		switch {
		case *c == (CAConfig{}):
			return
		case c.Cert == "" || c.Key == "":
			v.Problem("`cert` and `key` belong together: give both, or none for a CA of this node's own")
			return
		}
		if _, err := certs.Shared(c.Cert, c.Key); err != nil {
			v.Problem("%v", err)
		}
	}
}

// authority is the CA of a configuration: that of the one before, if it is the
// same, with the certificates it has made.
func (c *Config) authority(before *Config, its *certs.Authority) (*certs.Authority, error) {
	switch {
	case before != nil && before.CA == c.CA:
		return its, nil
	case c.CA != (CAConfig{}):
		return certs.Shared(c.CA.Cert, c.CA.Key)
	}
	return certs.Open(filepath.Join(c.State, "ca"), c.Node)
}
