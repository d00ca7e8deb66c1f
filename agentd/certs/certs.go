// Package certs is who agentd is to clients that use TLS: the CA of the node, or
// one that all nodes share, and the certificates it signs for the names that
// clients ask for. It also reads certificates and keys from files, and again
// when these change.
//
// The node's CA is a key in a folder that only its owner may read. It can sign
// certificates of servers and of nothing else. The keys of those are in memory
// only, and they are good for a day.
package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"time"
)

const (
	caLife    = 10 * 365 * 24 * time.Hour
	caRenewal = 365 * 24 * time.Hour // before its end another one is made, to be trusted
	caLead    = 90 * 24 * time.Hour  // and then signs
	leafLife  = 24 * time.Hour
	leafSpare = 6 * time.Hour // a leaf with less left is made anew
	skew      = time.Hour     // how much clocks may differ
)

// A ca is a certificate that signs others, and its key.
type ca struct {
	chain []*x509.Certificate // itself, and what vouches for it if it is no root
	key   crypto.Signer
	file  string // of the certificate
}

func (c *ca) cert() *x509.Certificate { return c.chain[0] }

// newCA returns a CA of that name: a certificate and its key.
func newCA(name string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"agentd"}, CommonName: name},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(caLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true, // it signs no other CA
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, // and none of clients
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

// leaf makes the certificate of a server.
func (c *ca) leaf(who subject, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: who.common()},
		NotBefore:             now.Add(-skew),
		NotAfter:              earlier(now.Add(leafLife), c.cert().NotAfter),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:              who.names(),
		IPAddresses:           who.addresses(),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert(), key.Public(), c.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	made := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}
	for _, above := range c.chain {
		if !root(above) { // what clients trust already need not be sent
			made.Certificate = append(made.Certificate, above.Raw)
		}
	}
	return made, nil
}

// root reports whether a certificate vouches for itself.
func root(c *x509.Certificate) bool { return string(c.RawIssuer) == string(c.RawSubject) }

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Fingerprint is the SHA-256 of a certificate, in hex.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// encode writes certificates as PEM.
func encode(list ...*x509.Certificate) (text []byte) {
	for _, c := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

// EndPoint is the hash of a server's certificate that a login over TLS can be
// bound to (RFC 5929, tls-server-end-point), nil if that is not defined for it.
func EndPoint(c *x509.Certificate) []byte {
	var h crypto.Hash
	switch c.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256, x509.DSAWithSHA256:
		h = crypto.SHA256 // in place of what is weaker, too
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h = crypto.SHA512
	default:
		return nil
	}
	d := h.New()
	d.Write(c.Raw)
	return d.Sum(nil)
}
