package agentd

import (
	"agentd.dev/agentd/certs"
	"agentd.dev/agentd/control"
)

// CA implements control.Reporter.
func (d *Daemon) CA() control.CA {
	list, err := d.inForce.Load().ca.Certificates()
	ca := control.CA{Certificates: []control.CACertificate{}, PEM: string(certs.PEM(list)), Problem: text(err)}
	for _, c := range list {
		ca.Certificates = append(ca.Certificates, control.CACertificate{
			Subject: c.Subject.String(),
			SHA256:  certs.Fingerprint(c.Certificate),
			From:    c.NotBefore,
			Until:   c.NotAfter,
			File:    c.File,
			Signing: c.Signing,
		})
	}
	return ca
}

// status is what a target's configuration says of TLS.
func (c *TLSConfig) status() control.TLS {
	s := control.TLS{Client: clientTLS[c.Client], Server: serverTLS[c.Server]}
	if c.Roots != nil {
		s.Problem = text(c.Roots.Problem())
	}
	if c.Pair != nil && s.Problem == "" {
		s.Problem = text(c.Pair.Problem())
	}
	return s
}
