package agentd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"

	"agentd.dev/agentd/certs"
	"agentd.dev/agentd/legs"
	"agentd.dev/agentd/names"
	"agentd.dev/policy"
)

// A verification is what the server's certificate must be.
type verification struct {
	mode  ServerTLS
	name  string // that it must be for, "" for any
	sni   string // that agentd asks for
	roots *x509.CertPool
	pair  *certs.Pair
	alpn  string
}

var errNameless = errors.New("the target's host is a pattern, and the client did not ask DNS for a name that matches it: give `name` under the target's `tls`")

// verification returns what the server's certificate must be. The name that a
// client asked for decides only which of those a pattern stands for it is.
func (s *securing) verification() (*verification, error) {
	v := &verification{mode: s.config.Server, pair: s.config.Pair, alpn: s.how.ALPN, name: s.config.Name}
	asked := s.session.Target.Host
	if v.name == "" {
		v.name = s.host
	}
	if zone, pattern := strings.CutPrefix(v.name, "*."); pattern {
		v.name = ""
		if label, rest, _ := strings.Cut(asked, "."); label != "" && strings.EqualFold(rest, zone) {
			v.name = asked
		}
	}
	if v.mode == ServerVerifyFull && v.name == "" {
		return nil, errNameless
	}
	for _, name := range []string{v.name, s.asked, asked} {
		if _, err := netip.ParseAddr(name); v.sni == "" && err != nil && names.IsHost(name) {
			v.sni = name
		}
	}
	if s.config.Roots != nil {
		var err error
		if v.roots, err = s.config.Roots.Pool(); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (v *verification) config() *tls.Config {
	c := &tls.Config{
		MinVersion:                  tls.VersionTLS12,
		ServerName:                  v.sni,
		NextProtos:                  []string{v.alpn},
		DynamicRecordSizingDisabled: true,
		InsecureSkipVerify:          true, // VerifyConnection does, as far as the mode asks
		VerifyConnection:            v.verify,
	}
	if v.pair != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return v.pair.Certificate() }
	}
	return c
}

// verify is called for each handshake. It fails closed.
func (v *verification) verify(state tls.ConnectionState) error {
	if v.mode != ServerVerifyCA && v.mode != ServerVerifyFull {
		return nil
	}
	options := x509.VerifyOptions{Roots: v.roots, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	leaf := state.PeerCertificates[0]
	if _, err := leaf.Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	if v.mode == ServerVerifyCA {
		return nil
	}
	if err := leaf.VerifyHostname(v.name); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

// describe says of the server's certificate what it is and what was verified.
func (v *verification) describe(t *policy.TLS, c *x509.Certificate) {
	t.Name = v.sni
	t.Verified = "nothing"
	switch v.mode {
	case ServerVerifyCA:
		t.Verified = "chain"
	case ServerVerifyFull:
		t.Verified, t.Name = "name", v.name
	}
	t.Subject, t.Issuer = c.Subject.String(), c.Issuer.String()
	t.Fingerprint, t.Until = certs.Fingerprint(c), c.NotAfter
}

// hint says what to do about a handshake that failed.
func (v *verification) hint(err error) string {
	var (
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &name):
		return "If this is the right server, ask the operator of this node to set `name` under the target's `tls` to a name that its certificate has."
	case errors.As(err, &unknown):
		return "If this is the right server, ask the operator of this node to add the CA of its certificate to `ca` under the target's `tls`."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "Renew the server's certificate."
	case errors.Is(err, legs.ErrEarly), errors.Is(err, legs.ErrStrange):
		return "Somebody between agentd and the server may be interfering. " + askOperator
	case v.mode == ServerPrefer:
		return "agentd does not go on in plaintext by itself: ask the operator of this node to set `server: disable` under the target's `tls` if that is wanted."
	}
	return askOperator
}
