package certs_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"agentd.dev/agentd/certs"
)

var address = netip.MustParseAddr("10.0.0.5")

func open(t *testing.T, dir string) *certs.Authority {
	t.Helper()
	a, err := certs.Open(dir, "node-1")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func leaf(t *testing.T, a *certs.Authority, name string) *tls.Certificate {
	t.Helper()
	c, err := a.Leaf(name, address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func list(t *testing.T, a *certs.Authority) []certs.Certificate {
	t.Helper()
	all, err := a.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestALeafIsForItsNameAndAddressForADay(t *testing.T) {
	a := open(t, t.TempDir())
	ca := list(t, a)[0]
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	c := leaf(t, a, "orders.internal").Leaf
	for _, name := range []string{"orders.internal", "10.0.0.5"} {
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("for %s: %v", name, err)
		}
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: "other.internal"}); err == nil {
		t.Error("it is good for a name that it is not for")
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("it is good for a client")
	}
	if life := time.Until(c.NotAfter); life > 24*time.Hour || life < 23*time.Hour {
		t.Errorf("it is good for %v, want a day", life)
	}
	if ca.MaxPathLen != 0 || !ca.MaxPathLenZero || !ca.IsCA || time.Until(ca.NotAfter) < 9*365*24*time.Hour {
		t.Errorf("the CA may sign CAs, or ends soon: %+v", ca.Certificate)
	}
}

func TestALeafIsMadeOnceHoweverManyAsk(t *testing.T) {
	a := open(t, t.TempDir())
	var asking sync.WaitGroup
	got := make([]*tls.Certificate, 64)
	for i := range got {
		asking.Go(func() { got[i], _ = a.Leaf("orders.internal", address) })
	}
	asking.Wait()
	for i, c := range got {
		if c == nil || c != got[0] {
			t.Fatalf("asker %d has another certificate than the first", i)
		}
	}
	for i := range 2000 { // more than are kept
		leaf(t, a, fmt.Sprintf("host-%d.internal", i))
	}
	if leaf(t, a, "orders.internal") == got[0] {
		t.Error("a certificate was kept beyond what is kept")
	}
}

func TestTheCAIsTheSameAfterARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	first := certs.PEM(list(t, open(t, dir)))
	if again := certs.PEM(list(t, open(t, dir))); !bytes.Equal(again, first) {
		t.Error("a CA was made although there is one")
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v; want a certificate and a key", files, err)
	}
	// A key whose certificate was not written any more is nothing.
	if err := os.WriteFile(filepath.Join(dir, "0f.key"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := certs.PEM(list(t, open(t, dir))); !bytes.Equal(again, first) {
		t.Error("a key without a certificate changed the CA")
	}
}

// A year before the CA ends there is another, to be trusted as well; it signs
// when the first has three months left, and in the end is the only one.
func TestAnotherCATakesItsPlaceInTime(t *testing.T) {
	a := open(t, t.TempDir())
	first := list(t, a)[0]
	if !first.Signing {
		t.Fatal("the only CA does not sign")
	}
	for _, tt := range []struct {
		name         string
		left         time.Duration
		trusted      int
		signs        bool // the first still does
		stillTrusted bool
	}{
		{"in its second year", 9 * 365 * 24 * time.Hour, 1, true, true},
		{"in its last year", 364 * 24 * time.Hour, 2, true, true},
		{"in its last month", 30 * 24 * time.Hour, 2, false, true},
		{"after its end", -time.Hour, 1, false, false},
	} {
		certs.SetNow(a, first.NotAfter.Add(-tt.left))
		all := list(t, a)
		var signs, trusted bool
		for _, c := range all {
			same := c.Equal(first.Certificate)
			trusted = trusted || same
			signs = signs || same && c.Signing
		}
		if len(all) != tt.trusted || signs != tt.signs || trusted != tt.stillTrusted {
			t.Errorf("%s: %d are trusted, the first signs: %v, is trusted: %v; want %d, %v, %v", tt.name, len(all), signs, trusted, tt.trusted, tt.signs, tt.stillTrusted)
		}
		c := leaf(t, a, "orders.internal").Leaf
		if signedByFirst := c.CheckSignatureFrom(first.Certificate) == nil; signedByFirst != tt.signs {
			t.Errorf("%s: the first signed a leaf: %v, want %v", tt.name, signedByFirst, tt.signs)
		}
	}
}

func TestALeafIsRenewedBeforeItsEnd(t *testing.T) {
	a := open(t, t.TempDir())
	first := leaf(t, a, "orders.internal")
	certs.SetNow(a, time.Now().Add(17*time.Hour))
	if leaf(t, a, "orders.internal") != first {
		t.Error("a certificate with seven hours left was made anew")
	}
	certs.SetNow(a, time.Now().Add(19*time.Hour))
	if leaf(t, a, "orders.internal") == first {
		t.Error("a certificate with five hours left was used")
	}
}

func TestWhatIsNoCAIsRefused(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	ca := list(t, a)[0].File
	key := strings.TrimSuffix(ca, ".crt") + ".key"
	made := leaf(t, a, "orders.internal")
	der, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	leafCert, leafKey := filepath.Join(t.TempDir(), "leaf.crt"), filepath.Join(t.TempDir(), "leaf.key")
	write(t, leafCert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Leaf.Raw}), 0o600)
	write(t, leafKey, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	empty := filepath.Join(t.TempDir(), "empty")
	write(t, empty, nil, 0o600)
	open := filepath.Join(t.TempDir(), "open.key")
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, open, text, 0o644)
	for _, tt := range []struct{ cert, key, want string }{
		{ca, key, ""},
		{leafCert, leafKey, "is the certificate of no CA"},
		{ca, leafKey, "the key is not that of the certificate"},
		{empty, key, "holds no certificate in PEM"},
		{ca, empty, "holds no private key in PEM"},
		{ca, "/none", "no such file"},
		{dir, key, "is no file"},
		{ca, open, "others could sign with it"},
	} {
		_, err := certs.Shared(tt.cert, tt.key)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s, %s: got %v, want %q", filepath.Base(tt.cert), filepath.Base(tt.key), err, tt.want)
		}
	}
}

func write(t *testing.T, name string, text []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, text, mode); err != nil {
		t.Fatal(err)
	}
}
