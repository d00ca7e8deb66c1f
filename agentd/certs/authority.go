package certs

import (
	"container/list"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// maxLeaves is how many certificates are kept for their next use.
const maxLeaves = 1024

// An Authority makes certificates that clients trust who trust its CA. It may be
// used by several goroutines.
type Authority struct {
	// cas returns the CAs: the one that signs, then all others that are to be
	// trusted.
	cas func(now time.Time) ([]*ca, error)
	now func() time.Time

	mu     sync.Mutex // guards what follows
	leaves map[subject]*list.Element
	recent list.List // of *leaf, the one used last in front
}

// A leaf is a certificate that is made, or being made.
type leaf struct {
	who  subject
	by   *ca
	made chan struct{} // closed when the rest is set
	cert *tls.Certificate
	err  error
}

func newAuthority(cas func(time.Time) ([]*ca, error)) *Authority {
	return &Authority{cas: cas, now: time.Now, leaves: map[subject]*list.Element{}}
}

var errNone = errors.New("there is no CA")

// Leaf returns a certificate for a host's name, an address, or both. It is kept
// for whoever asks next.
func (a *Authority) Leaf(name string, address netip.Addr) (*tls.Certificate, error) {
	now := a.now()
	cas, err := a.cas(now)
	if err != nil {
		return nil, err
	}
	if len(cas) == 0 {
		return nil, errNone
	}
	l, mine := a.take(subject{name, address}, cas[0], now)
	if mine {
		l.cert, l.err = l.by.leaf(l.who, now)
		close(l.made)
	}
	<-l.made
	return l.cert, l.err
}

// take returns the leaf of who. Mine: it is new, and the caller makes it.
func (a *Authority) take(who subject, by *ca, now time.Time) (l *leaf, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.leaves[who]; e != nil {
		if l := e.Value.(*leaf); l.by == by && l.good(now) {
			a.recent.MoveToFront(e)
			return l, false
		}
		a.drop(e)
	}
	for a.recent.Len() >= maxLeaves {
		a.drop(a.recent.Back())
	}
	l = &leaf{who: who, by: by, made: make(chan struct{})}
	a.leaves[who] = a.recent.PushFront(l)
	return l, true
}

func (a *Authority) drop(e *list.Element) {
	a.recent.Remove(e)
	delete(a.leaves, e.Value.(*leaf).who)
}

// good reports whether a leaf can be used for a while, or may become so.
func (l *leaf) good(now time.Time) bool {
	select {
	case <-l.made:
	default:
		return true
	}
	return l.err == nil && now.Before(l.cert.Leaf.NotAfter.Add(-leafSpare)) && now.After(l.cert.Leaf.NotBefore)
}

// A Certificate is one of an Authority's CAs.
type Certificate struct {
	*x509.Certificate
	File    string // that it is read from
	Signing bool   // it signs; the others are to be trusted, too
}

// Certificates returns the CAs that clients are to trust: the one that signs
// first.
func (a *Authority) Certificates() ([]Certificate, error) {
	cas, err := a.cas(a.now())
	if err != nil {
		return nil, err
	}
	var all []Certificate
	for i, c := range cas {
		all = append(all, Certificate{c.cert(), c.file, i == 0})
	}
	return all, nil
}

// PEM writes certificates as clients take them.
func PEM(all []Certificate) []byte {
	var text []byte
	for _, c := range all {
		text = append(text, encode(c.Certificate)...)
	}
	return text
}
