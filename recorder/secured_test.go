package recorder

import (
	"testing"
	"time"

	"agentd.dev/policy"
)

func TestHowTLSWasIsPartOfASession(t *testing.T) {
	l := begin(t)
	var turn Turn
	log, err := l.Begin(&turn, aSession("SECURED"))
	if err != nil {
		t.Fatal(err)
	}
	log.Secured(&turn, at, &policy.TLS{Version: "TLS 1.3", Cipher: "AES", Name: "orders.internal"}, &policy.TLS{
		Version: "TLS 1.2", Cipher: "CHACHA", Verified: "name", Subject: "CN=\"x\"", Issuer: "CN=y", Fingerprint: "00ff", Until: at.Truncate(time.Second),
	})
	log.End(&turn, at.Add(time.Second), End{Reason: "client closed"})
	l.commit(t, &turn)
	folder := open(t, l)
	list, err := folder.Sessions(Filter{})
	if err != nil || len(list) != 1 {
		t.Fatalf("%d sessions, %v; want 1", len(list), err)
	}
	transcript, err := folder.Session("SECURED")
	if err != nil {
		t.Fatal(err)
	}
	if len(transcript.Entries) > 0 {
		t.Errorf("%d entries, want none: nothing was asked", len(transcript.Entries))
	}
	wantClient := Secured{Version: "TLS 1.3", Cipher: "AES", Name: "orders.internal"}
	wantServer := Secured{Version: "TLS 1.2", Cipher: "CHACHA", Verified: "name", Subject: "CN=\"x\"", Issuer: "CN=y", SHA256: "00ff", Until: at.Truncate(time.Second)}
	for _, s := range []*Summary{&list[0], &transcript.Summary} {
		if s.Scope != "intercepted" || *s.ClientTLS != wantClient || *s.ServerTLS != wantServer {
			t.Errorf("got %s, %+v, %+v; want intercepted, %+v, %+v", s.Scope, *s.ClientTLS, *s.ServerTLS, wantClient, wantServer)
		}
	}
}
