package legs_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/legs"
	"agentd.dev/decoders"
	"agentd.dev/decoders/postgres"
)

const (
	gssRequest = "\x00\x00\x00\x08\x04\xd2\x16\x30"
	startup    = "\x00\x00\x00\x13\x00\x03\x00\x00user\x00agent\x00\x00"
)

// What a client's first bytes come to. What is left of them is all there.
func TestWhatAClientWantsIsWhatItGets(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct {
		name, says, answer string
		opens              decoders.Opens
		err                error
	}{
		{"a login in plaintext", startup, "", decoders.Unsecured, nil},
		{"encryption of another kind, and then a login", gssRequest + startup, "N", decoders.Unsecured, nil},
		{"a request to cancel", "\x00\x00\x00\x10\x04\xd2\x16\x2e12345678", "", decoders.Exempt, nil},
		{"no PostgreSQL", "GET / HTTP/1.1\r\n\r\n", "", decoders.Unsecured, nil},
		{"plaintext behind the request", string(sslRequest) + startup, "", 0, legs.ErrEarly},
		{"encryption of another kind, over and over", strings.Repeat(gssRequest, 5), "NNN", 0, legs.ErrStrange},
		{"nothing", "", "", 0, legs.ErrSilent},
		{"half a request", string(sslRequest[:5]), "", 0, legs.ErrSilent},
	} {
		conn, fd := pair(t)
		end := legs.Plain(fd)
		say(t, conn, tt.says)
		if tt.err == legs.ErrSilent {
			conn.CloseWrite()
		}
		opens, err := end.Client(context.Background(), time.Now().Add(time.Minute), postgres.Protocol.Secure, r.server())
		if opens != tt.opens || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %v, %v; want %v, %v", tt.name, opens, err, tt.opens, tt.err)
		}
		hear(t, conn, tt.answer)
		end.Reset()
	}
}

func TestASilentClientIsWaitedForUntilTheDeadline(t *testing.T) {
	r := newRig(t)
	for _, says := range []string{"", "\x00\x00", string(sslRequest), string(sslRequest) + "\x16\x03\x01"} {
		conn, fd := pair(t)
		end := legs.Plain(fd)
		say(t, conn, says[:min(len(says), 8)])
		if len(says) > 8 {
			go func() { // once it is asked for
				hear(t, conn, "S")
				say(t, conn, says[8:])
			}()
		}
		_, err := end.Client(context.Background(), time.Now().Add(200*time.Millisecond), postgres.Protocol.Secure, r.server())
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %q: %v, want the end of the time it has", says, err)
		}
		end.Reset()
	}
}

func TestAClientIsNotWaitedForWhenNobodyWantsItAnyMore(t *testing.T) {
	r := newRig(t)
	_, fd := pair(t)
	end := legs.Plain(fd)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := end.Client(ctx, time.Now().Add(time.Hour), postgres.Protocol.Secure, r.server()); err == nil {
		t.Error("a client that says nothing came to something")
	}
	end.Reset()
}

// TLS from the first byte names the protocol in it, as servers insist, so that no
// other protocol's client can be made to talk to one.
func TestTLSFromTheStartNamesTheProtocol(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct {
		name      string
		protocols []string
		ok        bool
	}{
		{"the protocol", []string{"postgresql"}, true},
		{"none", nil, false},
		{"another", []string{"h2"}, false},
	} {
		conn, fd := pair(t)
		end := legs.Plain(fd)
		config := r.client()
		config.NextProtos = tt.protocols
		go tls.Client(conn, config).Handshake()
		opens, err := end.Client(context.Background(), time.Now().Add(time.Minute), postgres.Protocol.Secure, r.server())
		if (err == nil) != tt.ok || tt.ok && opens != decoders.BeginsTLS {
			t.Errorf("%s: got %v, %v; want it to come to TLS: %v", tt.name, opens, err, tt.ok)
		}
		end.Reset()
	}
}

// A ClientHello may have 64 KiB, and no more is ever kept.
func TestAHugeClientHelloIsRefused(t *testing.T) {
	r := newRig(t)
	conn, fd := pair(t)
	end := legs.Plain(fd)
	hello := append([]byte{1, 0xff, 0xff, 0xff}, make([]byte, 4<<20)...) // a message of 16 MiB
	go func() {
		for len(hello) > 0 { // until it is refused
			n := min(len(hello), 16<<10)
			record := binary.BigEndian.AppendUint16([]byte{0x16, 3, 1}, uint16(n))
			if _, err := conn.Write(append(record, hello[:n]...)); err != nil {
				return
			}
			hello = hello[n:]
		}
	}()
	if _, err := end.Client(context.Background(), time.Now().Add(time.Minute), postgres.Protocol.Secure, r.server()); err == nil {
		t.Error("a ClientHello of 16 MiB came to TLS")
	}
	end.Reset()
}

// What a server answers to the request for TLS. Nothing that comes in plaintext
// is ever read as if it had come under TLS.
func TestWhatAServerAnswersIsWhatHappens(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct {
		name, answers string
		err           error // nil: plaintext
	}{
		{"no", "N", nil},
		{"no, and more", "NE\x00\x00\x00\x05\x00", legs.ErrEarly},
		{"yes, and plaintext", "SE\x00\x00\x00\x05\x00", legs.ErrEarly},
		{"an error", "E\x00\x00\x00\x05\x00", legs.ErrStrange},
		{"nothing", "", legs.ErrSilent},
	} {
		conn, fd := pair(t)
		end := legs.Plain(fd)
		say(t, conn, tt.answers)
		if tt.answers == "" {
			conn.CloseWrite()
		}
		yes, err := end.Server(context.Background(), time.Now().Add(time.Minute), postgres.Protocol.Secure, r.client())
		if yes || !errors.Is(err, tt.err) || tt.err == nil && err != nil {
			t.Errorf("%s: got %v, %v; want %v", tt.name, yes, err, tt.err)
		}
		end.Reset()
	}
}

func TestPlaintextInPlaceOfAHandshakeIsRefused(t *testing.T) {
	r := newRig(t)
	conn, fd := pair(t)
	end := legs.Plain(fd)
	go func() {
		hear(t, conn, string(sslRequest))
		say(t, conn, "S")
		io.ReadFull(conn, make([]byte, 5)) // the ClientHello has begun
		say(t, conn, "E\x00\x00\x00\x05\x00")
	}()
	if _, err := end.Server(context.Background(), time.Now().Add(time.Minute), postgres.Protocol.Secure, r.client()); err == nil {
		t.Error("plaintext came to TLS")
	}
	end.Reset()
}

func TestAServerThatIsAnotherIsRefused(t *testing.T) {
	r, other := newRig(t), newRig(t)
	conn, fd := pair(t)
	end := legs.Plain(fd)
	go func() {
		hear(t, conn, string(sslRequest))
		say(t, conn, "S")
		tls.Server(conn, other.server()).Handshake()
	}()
	if _, err := end.Server(context.Background(), time.Now().Add(time.Minute), postgres.Protocol.Secure, r.client()); err == nil {
		t.Error("a server of a CA that nobody trusts came to TLS")
	}
	end.Reset()
}

// A thousand handshakes that stop half way end with their time, and leave nothing.
func TestHalfHandshakesEnd(t *testing.T) {
	r := newRig(t)
	var hello bytes.Buffer
	tls.Client(onlyWrites{&hello}, r.client()).Handshake()
	before := openFiles(t)
	ended := make(chan error, 1000)
	var conns []net.Conn
	for range cap(ended) {
		conn, fd := pair(t)
		conns = append(conns, conn)
		say(t, conn, string(sslRequest))
		end := legs.Plain(fd)
		deadline := time.Now().Add(5 * time.Second)
		go func() {
			_, err := end.Client(context.Background(), deadline, postgres.Protocol.Secure, r.server())
			end.Reset()
			ended <- err
		}()
		go func() {
			if _, err := io.ReadFull(conn, make([]byte, 1)); err == nil {
				conn.Write(hello.Bytes()) // and no more
			}
		}()
	}
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("half a handshake came to %v, want the end of its time", err)
		}
	}
	for _, c := range conns {
		c.Close()
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors are open, want %d as before", after, before)
	}
}

// onlyWrites is a connection to a peer that never answers.
type onlyWrites struct{ *bytes.Buffer }

func (onlyWrites) Read([]byte) (int, error)         { return 0, io.EOF }
func (onlyWrites) Close() error                     { return nil }
func (onlyWrites) LocalAddr() net.Addr              { return nil }
func (onlyWrites) RemoteAddr() net.Addr             { return nil }
func (onlyWrites) SetDeadline(time.Time) error      { return nil }
func (onlyWrites) SetReadDeadline(time.Time) error  { return nil }
func (onlyWrites) SetWriteDeadline(time.Time) error { return nil }
