// Package outward makes the HTTP clients that tell others what agentd knows.
package outward

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"
)

const dialling = 5 * time.Second

// Roots are certificates that may change.
type Roots interface {
	Pool() (*x509.CertPool, error)
}

// A Client makes requests to one receiver. It is not for use by several
// goroutines at once.
type Client struct {
	Roots  Roots         // what the receiver's certificate must be signed by; nil for what the system trusts
	Answer time.Duration // how long the head of an answer may take
	Idle   time.Duration // how long a connection is kept that nothing goes over

	http *http.Client   // nil before the first request
	pool *x509.CertPool // that http trusts
}

// Trusting returns a client that trusts the roots as they are now. It verifies
// certificates, and follows no redirects: what it says is for where the operator
// said, and nobody else.
func (c *Client) Trusting() (*http.Client, error) {
	var pool *x509.CertPool
	if c.Roots != nil {
		var err error
		if pool, err = c.Roots.Pool(); err != nil {
			return nil, err
		}
	}
	if c.http != nil && c.pool == pool {
		return c.http, nil
	}
	c.Close()
	c.pool = pool
	c.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: dialling}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
			MaxIdleConns:           1,
			IdleConnTimeout:        c.Idle,
			TLSHandshakeTimeout:    dialling,
			ResponseHeaderTimeout:  c.Answer,
			MaxResponseHeaderBytes: 16 << 10,
			DisableCompression:     true,
		},
	}
	return c.http, nil
}

// Close lets go of idle connections.
func (c *Client) Close() {
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}
