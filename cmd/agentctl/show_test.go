package main

import (
	"testing"

	"agentd.dev/recorder"
)

func TestHowTLSWasIsSaidInALine(t *testing.T) {
	for _, tt := range []struct {
		leg  string
		tls  *recorder.Secured
		want string
	}{
		{"client", nil, ""},
		{"client", &recorder.Secured{Version: "TLS 1.3", Cipher: "AES"}, "client TLS 1.3 AES"},
		{"client", &recorder.Secured{Version: "TLS 1.3", Cipher: "AES", Name: "orders.internal"}, "client TLS 1.3 AES for orders.internal"},
		{
			"server", &recorder.Secured{Version: "TLS 1.2", Cipher: "AES", Name: "db", Verified: "name", Subject: "CN=db", SHA256: "0123456789abcdef0123456789abcdef"},
			"server TLS 1.2 AES for db (CN=db, sha256 0123456789abcdef…, verified: name)",
		},
	} {
		if got := tlsLeg(tt.leg, tt.tls); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
