package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An authority signs the certificates by which the parts of a cluster know each
// other. Each is in a pair of files, NAME.crt and NAME.key.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, dir string) *authority {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	a := &authority{dir: dir}
	a.cert = &x509.Certificate{
		Subject:               pkix.Name{CommonName: "cluster"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	a.key = a.sign(t, "ca", a.cert)
	return a
}

// issue makes a certificate for a user in a group, and for a server at addresses.
func (a *authority) issue(t testing.TB, name, user, group string, addresses ...string) {
	t.Helper()
	cert := &x509.Certificate{
		Subject:     pkix.Name{CommonName: user},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if group != "" {
		cert.Subject.Organization = []string{group}
	}
	for _, address := range addresses {
		cert.IPAddresses = append(cert.IPAddresses, net.ParseIP(address))
	}
	a.sign(t, name, cert)
}

// sign writes a certificate and its key, signed by the authority, or by itself
// if there is none yet.
func (a *authority) sign(t testing.TB, name string, cert *x509.Certificate) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	by := a.key
	if by == nil {
		by = key
	}
	cert.SerialNumber = big.NewInt(time.Now().UnixNano())
	cert.NotBefore = time.Now().Add(-time.Minute)
	cert.NotAfter = time.Now().Add(24 * time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, a.file(name+".crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, a.file(name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// kubeconfig returns the path of a user's.
func (n *Node) kubeconfig(name string) string { return filepath.Join(n.Dir, name+".kubeconfig") }

// user makes a kubeconfig for a user of the API server.
func (n *Node) user(t testing.TB, name, user, group string) {
	t.Helper()
	n.keys.issue(t, name, user, group)
	write(t, n.kubeconfig(name), fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "https://%s", certificate-authority: %s}}]
users: [{name: test, user: {client-certificate: %s, client-key: %s}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
`, Address, n.keys.file("ca.crt"), n.keys.file(name+".crt"), n.keys.file(name+".key")))
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
