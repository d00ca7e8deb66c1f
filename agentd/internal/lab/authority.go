package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An Authority is a CA of the test's own.
type Authority struct {
	File    string // its certificate
	KeyFile string
	dir     string
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
}

// NewAuthority makes a CA.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir()}
	a.cert = &x509.Certificate{
		Subject:               pkix.Name{CommonName: "lab CA " + rand.Text()[:6]},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	var der []byte
	der, a.key = a.sign(t, a.cert)
	a.File = a.write(t, "ca.crt", "CERTIFICATE", der)
	a.KeyFile = a.write(t, "ca.key", "PRIVATE KEY", private(t, a.key))
	return a
}

// A KeyPair is a certificate and its key, in files.
type KeyPair struct{ Cert, Key string }

// An Issue says for whom a certificate is.
type Issue struct {
	Name    string   // common name, and a host's name
	IPs     []string // of a server
	Expired bool     // it is over
}

// Issue makes a certificate of a server or a client.
func (a *Authority) Issue(t testing.TB, i Issue) KeyPair {
	t.Helper()
	cert := &x509.Certificate{
		Subject:     pkix.Name{CommonName: i.Name},
		DNSNames:    []string{i.Name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, ip := range i.IPs {
		cert.IPAddresses = append(cert.IPAddresses, net.ParseIP(ip))
	}
	if i.Expired {
		cert.NotBefore, cert.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	der, key := a.sign(t, cert)
	base := rand.Text()
	return KeyPair{a.write(t, base+".crt", "CERTIFICATE", der), a.write(t, base+".key", "PRIVATE KEY", private(t, key))}
}

// sign makes a key and signs a certificate for it: by the authority, or by
// itself if that is the authority's own.
func (a *Authority) sign(t testing.TB, cert *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if cert.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		t.Fatal(err)
	}
	if cert.NotAfter.IsZero() {
		cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	}
	by := a.key
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func private(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (a *Authority) write(t testing.TB, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
