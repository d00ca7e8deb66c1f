package certs

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	certSuffix = ".crt"
	keySuffix  = ".key"
)

// A node is the CA of one node, in a folder: for each certificate NAME.crt there
// is NAME.key. Mostly there is one. A year before its end a second one is made,
// which clients can learn to trust before it signs.
type node struct {
	dir, name string

	mu   sync.Mutex // guards all and next
	all  []*ca      // the one that ends first in front
	next time.Time  // when to look again whether another one is needed
}

// Open returns the node's own Authority, whose CAs are in dir, and makes the
// first one for a node of that name.
func Open(dir, name string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	n := &node{dir: dir, name: name}
	if err := n.load(); err != nil {
		return nil, err
	}
	a := newAuthority(n.valid)
	_, err := n.valid(a.now())
	return a, err
}

func (n *node) load() error {
	files, err := filepath.Glob(filepath.Join(n.dir, "*"+certSuffix))
	if err != nil {
		return err
	}
	for _, file := range files {
		c, err := readCA(file, file[:len(file)-len(certSuffix)]+keySuffix)
		if err != nil {
			return err
		}
		n.all = append(n.all, c)
	}
	n.sort()
	return nil
}

func (n *node) sort() {
	slices.SortFunc(n.all, func(a, b *ca) int { return a.cert().NotAfter.Compare(b.cert().NotAfter) })
}

// valid returns the CAs that are good at a time, the one that signs in front,
// and makes another if it is time to.
func (n *node) valid(now time.Time) ([]*ca, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	good := n.goodAt(now)
	if (len(good) == 0 || good[len(good)-1].cert().NotAfter.Sub(now) < caRenewal) && !now.Before(n.next) {
		err := n.make(now)
		if err != nil && len(good) == 0 {
			return nil, err
		}
		if err != nil {
			n.next = now.Add(time.Hour) // there is a year to try in
		}
		good = n.goodAt(now)
	}
	return signingFirst(good, now), nil
}

func (n *node) goodAt(now time.Time) []*ca {
	return slices.DeleteFunc(slices.Clone(n.all), func(c *ca) bool { return !now.Before(c.cert().NotAfter) })
}

// signingFirst puts the CA in front that signs: the one that ends first, as
// that is the one clients have had longest, unless it ends soon.
func signingFirst(good []*ca, now time.Time) []*ca {
	for i, c := range good {
		if c.cert().NotAfter.Sub(now) > caLead {
			return append([]*ca{c}, slices.Delete(slices.Clone(good), i, i+1)...)
		}
	}
	return good
}

// make makes another CA. The key's file comes first: a certificate without a
// key is an error, a key without a certificate is nothing.
func (n *node) make(now time.Time) error {
	cert, key, err := newCA("agentd CA of "+n.name, now)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	base := filepath.Join(n.dir, hex.EncodeToString(cert.SerialNumber.Bytes()))
	if err := writeFile(base+keySuffix, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return fmt.Errorf("write the key of a CA: %w", err)
	}
	if err := writeFile(base+certSuffix, encode(cert), 0o644); err != nil {
		return fmt.Errorf("write the certificate of a CA: %w", err)
	}
	n.all = append(n.all, &ca{chain: []*x509.Certificate{cert}, key: key, file: base + certSuffix})
	n.sort()
	return nil
}

// readCA reads a CA, whose key nobody else may be able to read.
func readCA(certFile, keyFile string) (*ca, error) {
	pair, err := readPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(keyFile)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %v: others could sign with it. If nobody has read it, chmod 600 it (of a Kubernetes Secret's volume, "+
			"set defaultMode: 0400); else move it and its certificate aside, and a new one is made", keyFile, info.Mode().Perm())
	}
	cert := pair.chain[0]
	switch {
	case !cert.IsCA || !cert.BasicConstraintsValid:
		return nil, fmt.Errorf("%s is the certificate of no CA: it may not sign others", certFile)
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, fmt.Errorf("%s may not sign certificates by its key usage", certFile)
	}
	return &ca{chain: pair.chain, key: pair.key, file: certFile}, nil
}

// writeFile writes a file that is whole or not there, also after a power cut.
func writeFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
