package sinks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

const dialling = 10 * time.Second

// newClient returns a client that verifies certificates and follows no redirects:
// what agents did is for where the operator said, and nobody else.
func newClient(t *TLS) (*http.Client, error) {
	secure, err := t.config()
	if err != nil {
		return nil, err
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: dialling}).DialContext,
			TLSClientConfig:        secure,
			TLSHandshakeTimeout:    dialling,
			ResponseHeaderTimeout:  attempt,
			MaxResponseHeaderBytes: 16 << 10,
			IdleConnTimeout:        time.Minute,
			MaxIdleConns:           2,
			ForceAttemptHTTP2:      true,
		},
	}, nil
}

// discreet returns err without the URL, which may be a secret.
func discreet(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// answered says what an HTTP answer is worth: nil, an error after which to try
// again, or that these records are not wanted.
func answered(code int) error {
	switch {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return fmt.Errorf("it answered %d and wants agentd to go elsewhere: redirects are not followed", code)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("it answered %d: look at the credentials of this sink", code)
	case code == http.StatusNotFound || code == http.StatusMethodNotAllowed:
		return fmt.Errorf("it answered %d: look at the URL of this sink", code)
	case code == http.StatusBadRequest || code == http.StatusRequestEntityTooLarge || code == http.StatusUnprocessableEntity:
		return refusedError{fmt.Errorf("it answered %d and will not have it", code)}
	}
	return fmt.Errorf("it answered %d", code)
}

// reveal fetches a secret that may be none.
func reveal(ctx context.Context, s Secret) (string, error) {
	if s == nil {
		return "", nil
	}
	return s(ctx)
}
