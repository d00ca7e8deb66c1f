package legs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/certs"
	"agentd.dev/agentd/legs"
	"agentd.dev/agentd/relay"
	"agentd.dev/decoders"
	"agentd.dev/decoders/opaque"
	"agentd.dev/decoders/postgres"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

// A rig is a running loop, and a CA that both sides trust.
type rig struct {
	t    testing.TB
	loop *relay.Loop
	rec  *recorder.Recorder
	ca   *certs.Authority
	root *x509.CertPool
}

func newRig(t testing.TB) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, root: x509.NewCertPool()}
	var err error
	if r.ca, err = certs.Open(filepath.Join(dir, "ca"), "test"); err != nil {
		t.Fatal(err)
	}
	list, err := r.ca.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	r.root.AddCert(list[0].Certificate)
	r.rec, err = recorder.Open(recorder.Options{Dir: filepath.Join(dir, "log"), KeyFile: filepath.Join(dir, "key"), Node: "test", Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r.loop, err = relay.New(r.rec); err != nil {
		t.Fatal(err)
	}
	ran := make(chan struct{})
	go func() { defer close(ran); r.loop.Run() }()
	t.Cleanup(func() {
		r.loop.Stop(decoders.Refusal{Reason: "the test is over"})
		<-ran
		r.rec.Close()
	})
	return r
}

// server is what the rig is to a client that uses TLS.
func (r *rig) server() *tls.Config {
	return &tls.Config{
		NextProtos:             []string{"postgresql"},
		SessionTicketsDisabled: true,
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return r.ca.Leaf(h.ServerName, netip.MustParseAddr("10.0.0.5"))
		},
	}
}

// client is how a client verifies that.
func (r *rig) client() *tls.Config {
	return &tls.Config{ServerName: "orders.internal", RootCAs: r.root, NextProtos: []string{"postgresql"}}
}

// pair returns a TCP connection over loopback: one end for the test, the other
// as a bare descriptor.
func pair(t testing.TB) (*net.TCPConn, int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	raw, err := far.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	_ = raw.Control(func(f uintptr) { fd, err = unix.FcntlInt(f, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil {
		t.Fatal(err)
	}
	conn := near.(*net.TCPConn)
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // a test that hangs should say where
	t.Cleanup(func() { conn.Close() })
	return conn, fd
}

// sslRequest is how a PostgreSQL client asks for TLS.
var sslRequest = postgres.Protocol.Secure.Request

// securedClient returns a client that has come to TLS, and its leg.
func (r *rig) securedClient() (*tls.Conn, *net.TCPConn, *legs.End) {
	r.t.Helper()
	under, fd := pair(r.t)
	end := legs.Plain(fd)
	came := make(chan error, 1)
	go func() {
		_, err := end.Client(context.Background(), time.Now().Add(time.Minute), postgres.Protocol.Secure, r.server())
		came <- err
	}()
	say(r.t, under, string(sslRequest))
	hear(r.t, under, "S")
	conn := tls.Client(under, r.client())
	if err := conn.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	if err := <-came; err != nil {
		r.t.Fatal(err)
	}
	return conn, under, end
}

// securedServer returns a server that has come to TLS, and its leg.
func (r *rig) securedServer() (*tls.Conn, *net.TCPConn, *legs.End) {
	r.t.Helper()
	under, fd := pair(r.t)
	end := legs.Plain(fd)
	came := make(chan error, 1)
	go func() {
		yes, err := end.Server(context.Background(), time.Now().Add(time.Minute), postgres.Protocol.Secure, r.client())
		if err == nil && !yes {
			err = fmt.Errorf("the server was taken to have no TLS")
		}
		came <- err
	}()
	hear(r.t, under, string(sslRequest))
	say(r.t, under, "S")
	conn := tls.Server(under, r.server())
	if err := conn.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	if err := <-came; err != nil {
		r.t.Fatal(err)
	}
	return conn, under, end
}

// allow lets everything through.
type allow struct{}

func (allow) Decide(*decoders.Event) policy.Verdict { return policy.Verdict{Outcome: policy.Forward} }

func (allow) Told(*decoders.Event) {}

// relay hands two legs to the loop. What it returns says how the session ended,
// once nothing of it is left.
func (r *rig) relay(client, server *legs.End) <-chan recorder.End {
	r.t.Helper()
	var turn recorder.Turn
	log, err := r.rec.Begin(&turn, &policy.Session{ID: fmt.Sprint("s", rand.Uint64())})
	if err == nil {
		err = r.rec.Commit(&turn)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	done := make(chan recorder.End, 1)
	s := &relay.Session{Decoder: opaque.Protocol.New(decoders.Want{}), Judge: allow{}, Log: log, Done: func(e recorder.End) { done <- e }}
	if _, err := legs.Hand(client, server, s); err != nil {
		r.t.Fatal(err)
	}
	if !r.loop.Add(s) {
		r.t.Fatal("the loop takes no session")
	}
	return done
}

func say(t testing.TB, c io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t testing.TB, c io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}
