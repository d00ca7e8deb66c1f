package legs_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentd.dev/agentd/legs"
)

// Each combination of legs carries the same bytes.
func TestBytesArriveOverEachKindOfLeg(t *testing.T) {
	r := newRig(t)
	data := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{}).Read(data)
	for _, tt := range []struct{ client, server bool }{{false, true}, {true, false}, {true, true}} {
		client, server, ended := r.session(tt.client, tt.server)
		say(t, client, "begin")
		hear(t, server, "begin")
		for _, way := range []struct {
			from io.Writer
			to   io.Reader
		}{{client, server}, {server, client}} {
			sent := make(chan error, 1)
			go func() { _, err := way.from.Write(data); sent <- err }()
			got := make([]byte, len(data))
			if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("client TLS %v, server TLS %v: read other bytes than were sent, %v", tt.client, tt.server, err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
		client.Close()
		if _, err := io.ReadAll(server); err != nil {
			t.Errorf("client TLS %v, server TLS %v: the server sees %v, want the end", tt.client, tt.server, err)
		}
		server.Close()
		<-ended
	}
}

// session relays a connection with TLS on the legs that want it.
func (r *rig) session(clientTLS, serverTLS bool) (client, server net.Conn, ended <-chan error) {
	client, clientEnd := r.leg(clientTLS, r.tlsClient)
	server, serverEnd := r.leg(serverTLS, r.tlsServer)
	done := r.relay(clientEnd, serverEnd)
	over := make(chan error, 1)
	go func() { over <- errors.New((<-done).Reason) }()
	return client, server, over
}

func (r *rig) leg(secured bool, how func() (net.Conn, *legs.End)) (net.Conn, *legs.End) {
	if secured {
		return how()
	}
	conn, fd := pair(r.t)
	return conn, legs.Plain(fd)
}

func (r *rig) tlsClient() (net.Conn, *legs.End) {
	conn, _, end := r.securedClient()
	return conn, end
}

func (r *rig) tlsServer() (net.Conn, *legs.End) {
	conn, _, end := r.securedServer()
	return conn, end
}

func TestAnEndInOneDirectionLeavesTheOther(t *testing.T) {
	r := newRig(t)
	client, _, clientEnd := r.securedClient()
	server, _, serverEnd := r.securedServer()
	ended := r.relay(clientEnd, serverEnd)
	say(t, client, "question")
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(server); err != nil || string(got) != "question" {
		t.Fatalf("the server read %q, %v; want the question and an end", got, err)
	}
	say(t, server, "answer")
	server.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
		t.Errorf("the client read %q, %v; want the answer and an end", got, err)
	}
	client.Close()
	<-ended
}

// Whoever is in between can end a TCP connection, but not TLS.
func TestATruncatedAnswerIsNoEnd(t *testing.T) {
	r := newRig(t)
	for _, secured := range []bool{false, true} {
		client, clientEnd := r.leg(secured, r.tlsClient)
		server, under, serverEnd := r.securedServer()
		ended := r.relay(clientEnd, serverEnd)
		say(t, client, "question")
		hear(t, server, "question")
		say(t, server, "ans")
		hear(t, client, "ans")
		under.Close() // TCP's own end
		if got, err := io.ReadAll(client); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("client over TLS %v: read %q, %v; want a reset", secured, got, err)
		}
		if e := <-ended; e.Reason != "server reset" {
			t.Errorf("the session ended as %q, want server reset", e.Reason)
		}
	}
}

func TestAResetOfTheClientIsOneForTheServer(t *testing.T) {
	r := newRig(t)
	client, under, clientEnd := r.securedClient()
	server, underServer, serverEnd := r.securedServer()
	ended := r.relay(clientEnd, serverEnd)
	say(t, client, "question")
	hear(t, server, "question")
	if err := under.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	under.Close()
	if got, err := io.ReadAll(underServer); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server read %q, %v; want a reset", got, err)
	}
	if e := <-ended; e.Reason != "client reset" {
		t.Errorf("the session ended as %q, want client reset", e.Reason)
	}
}

// A peer that does not read stops the one that writes, after a bounded amount.
func TestAPeerThatDoesNotReadHoldsTheOtherUp(t *testing.T) {
	r := newRig(t)
	client, _, clientEnd := r.securedClient()
	server, _, serverEnd := r.securedServer()
	r.relay(clientEnd, serverEnd)
	say(t, client, "question")
	hear(t, server, "question")
	sent, chunk := 0, make([]byte, 64<<10)
	for ; sent < 64<<20; sent += len(chunk) {
		_ = server.SetWriteDeadline(time.Now().Add(2 * time.Second))
		if _, err := server.Write(chunk); err != nil {
			break
		}
	}
	if sent >= 64<<20 {
		t.Errorf("%d bytes went to a client that reads nothing, want it to hold the server up", sent)
	}
	t.Logf("held up after %d bytes", sent)
}

func TestSessionsLeaveNothingBehind(t *testing.T) {
	r := newRig(t)
	run := func() {
		client, server, ended := r.session(true, true)
		say(t, client, "question")
		hear(t, server, "question")
		client.Close()
		io.Copy(io.Discard, server)
		server.Close()
		<-ended
	}
	run() // whatever is made once
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 100 {
		run()
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		nowFiles, nowGoroutines := openFiles(t), runtime.NumGoroutine()
		if nowFiles <= files && nowGoroutines <= goroutines {
			return
		}
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d descriptors and %d goroutines, want %d and %d:\n%s", nowFiles, nowGoroutines, files, goroutines, buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// What agentd says last still arrives, and then an end.
func TestAGoodbyeArrivesOverTLS(t *testing.T) {
	r := newRig(t)
	client, _, clientEnd := r.securedClient()
	server, fd := pair(t)
	ended := r.relay(clientEnd, legs.Plain(fd))
	say(t, client, "question")
	hear(t, server, "question")
	text := strings.Repeat("goodbye ", 1<<16)
	go func() {
		io.WriteString(server, text)
		server.Close()
	}()
	if got, err := io.ReadAll(client); err != nil || string(got) != text {
		t.Errorf("the client read %d bytes, %v; want %d and an end", len(got), err, len(text))
	}
	client.Close()
	<-ended
}
