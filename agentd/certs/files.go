package certs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxFile is more than any file of certificates has.
const maxFile = 8 << 20

// A cached is what was read from files. It is read again when they change;
// where that cannot be read, what was there before stays.
type cached[T any] struct {
	files []string
	read  func() (T, error)

	mu      sync.Mutex // guards what follows
	stamp   string     // of the files as they were last read
	value   T
	problem error // of the last reading
	filled  bool
}

// get returns what the files hold. An error: they never held anything.
func (c *cached[T]) get() (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := stamp(c.files); now != c.stamp || !c.filled {
		c.stamp = now
		value, err := c.read()
		if c.problem = err; err == nil {
			c.value, c.filled = value, true
		}
	}
	if !c.filled {
		return c.value, c.problem
	}
	return c.value, nil
}

// Problem is why the files as they are now are not used, nil if they are.
func (c *cached[T]) Problem() error {
	if _, err := c.get(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.problem
}

// stamp tells files apart from what they were before.
func stamp(files []string) (all string) {
	for _, name := range files {
		var s unix.Stat_t
		err := unix.Stat(name, &s)
		all += fmt.Sprintln(err, s.Dev, s.Ino, s.Size, s.Mtim, s.Ctim)
	}
	return all
}

// Roots are certificates that others are trusted by, in a file.
type Roots struct{ cached[*x509.CertPool] }

// OpenRoots reads a file of certificates.
func OpenRoots(file string) (*Roots, error) {
	r := &Roots{cached[*x509.CertPool]{files: []string{file}, read: func() (*x509.CertPool, error) {
		list, err := readCertificates(file)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		for _, c := range list {
			pool.AddCert(c)
		}
		return pool, nil
	}}}
	_, err := r.get()
	return r, err
}

// Pool returns the certificates as they are now.
func (r *Roots) Pool() (*x509.CertPool, error) { return r.get() }

// A Pair is a certificate with its key, in two files.
type Pair struct{ cached[*tls.Certificate] }

// OpenPair reads a certificate and its key.
func OpenPair(certFile, keyFile string) (*Pair, error) {
	p := &Pair{cached[*tls.Certificate]{files: []string{certFile, keyFile}, read: func() (*tls.Certificate, error) {
		pair, err := readPair(certFile, keyFile)
		if err != nil {
			return nil, err
		}
		made := &tls.Certificate{PrivateKey: pair.key, Leaf: pair.chain[0]}
		for _, c := range pair.chain {
			made.Certificate = append(made.Certificate, c.Raw)
		}
		return made, nil
	}}}
	_, err := p.get()
	return p, err
}

// Certificate returns the pair as it is now.
func (p *Pair) Certificate() (*tls.Certificate, error) { return p.get() }

// Shared is an Authority whose CA is in two files, as one that all nodes share.
// What follows the CA in its file, if that is no root, is sent to clients.
func Shared(certFile, keyFile string) (*Authority, error) {
	c := &cached[*ca]{files: []string{certFile, keyFile}, read: func() (*ca, error) { return readCA(certFile, keyFile) }}
	if _, err := c.get(); err != nil {
		return nil, err
	}
	return newAuthority(func(now time.Time) ([]*ca, error) {
		one, err := c.get()
		if err != nil {
			return nil, err
		}
		if !now.Before(one.cert().NotAfter) {
			return nil, fmt.Errorf("the CA in %s was good until %s: renew it", certFile, one.cert().NotAfter.UTC().Format(time.RFC3339))
		}
		return []*ca{one}, nil
	}), nil
}

// A pair is what two files hold.
type pair struct {
	chain []*x509.Certificate
	key   crypto.Signer
}

var errKey = errors.New("the key is not that of the certificate")

func readPair(certFile, keyFile string) (*pair, error) {
	chain, err := readCertificates(certFile)
	if err != nil {
		return nil, err
	}
	text, err := readFile(keyFile)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(chain[0].PublicKey) {
		return nil, fmt.Errorf("%s and %s: %w", certFile, keyFile, errKey)
	}
	return &pair{chain, key}, nil
}

func parseKey(text []byte) (crypto.Signer, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("holds no private key in PEM")
		}
		text = rest
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if signer, ok := key.(crypto.Signer); ok {
				return signer, nil
			}
		}
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the private key is encrypted with a passphrase, which agentd cannot ask for: write it without")
		}
	}
}

func readCertificates(file string) (list []*x509.Certificate, err error) {
	text, err := readFile(file)
	if err != nil {
		return nil, err
	}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return list, nil
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", name)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes: no file of certificates is so long", name, info.Size())
	}
	return os.ReadFile(name)
}
