package postgres_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/postgres"
)

const bothMechanisms = "\x00\x00\x00\x0aSCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00\x00"

func framed(typ byte, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{typ}, uint32(len(body)+4)), body...)
}

// offered returns a decoder whose server, behind the legs that are secured, has
// offered both mechanisms, and the step that became of it.
func offered(t *testing.T, secured [2]bool) (decoders.Decoder, decoders.Step) {
	t.Helper()
	d := postgres.Protocol.New(decoders.Want{Secured: secured})
	if _, err := d.Next(decoders.FromClient, startup("user", "postgres")); err != nil {
		t.Fatal(err)
	}
	msg := framed('R', bothMechanisms)
	for n := 1; ; n++ { // byte by byte
		step, err := d.Next(decoders.FromServer, msg[:min(n, len(msg))])
		if err != nil {
			t.Fatal(err)
		}
		if step.Op != decoders.More {
			return d, step
		}
	}
}

func TestLoginsThatCannotBeBoundAreNotOfferedIt(t *testing.T) {
	for _, tt := range []struct {
		secured [2]bool
		want    string // in place of the offer, "" if it passes
	}{
		{[2]bool{false, false}, ""}, // no such server
		{[2]bool{true, false}, ""},
		{[2]bool{false, true}, "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"},
		{[2]bool{true, true}, "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"},
	} {
		_, step := offered(t, tt.secured)
		switch {
		case tt.want == "" && (step.Op != decoders.Pass || len(step.Out) > 0):
			t.Errorf("secured %v: got %v with %q, want it to pass", tt.secured, step.Op, step.Out)
		case tt.want != "" && (step.Op != decoders.Drop || string(step.Out) != string(framed('R', tt.want))):
			t.Errorf("secured %v: got %v with %q, want %q in its place", tt.secured, step.Op, step.Out, framed('R', tt.want))
		}
	}
}

func TestAClientThatCouldHaveBoundItsLoginIsToldWhatHelps(t *testing.T) {
	for _, tt := range []struct {
		first   string // SASLInitialResponse
		refused bool
	}{
		{"n,,n=,r=abc", false},
		{"y,,n=,r=abc", true},
		{"y", true},
		{"", false},
	} {
		d, _ := offered(t, [2]bool{true, true})
		body := "SCRAM-SHA-256\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(tt.first)))) + tt.first
		msg := framed('p', body)
		var step decoders.Step
		var err error
		for n := 1; n <= len(msg); n++ {
			if step, err = d.Next(decoders.FromClient, msg[:n]); err != nil || step.Op != decoders.More {
				break
			}
		}
		var r decoders.Refusal
		if errors.As(err, &r) != tt.refused || tt.refused && !strings.Contains(r.Hint, "credential") || !tt.refused && step.Op != decoders.Pass {
			t.Errorf("%q: got %v, %v; want it refused with what helps: %v", tt.first, step.Op, err, tt.refused)
		}
	}
}

func TestUnboundOffersThatAreWrongAreErrors(t *testing.T) {
	for _, body := range []string{"\x00\x00\x00\x0aSCRAM-SHA-256", "\x00\x00\x00\x0a" + strings.Repeat("x", 8<<10)} {
		d := postgres.Protocol.New(decoders.Want{Secured: [2]bool{false, true}})
		if _, err := d.Next(decoders.FromClient, startup("user", "postgres")); err != nil {
			t.Fatal(err)
		}
		if step, err := d.Next(decoders.FromServer, framed('R', body)); err == nil {
			t.Errorf("%.40q: got %+v, want an error", body, step)
		}
	}
}

// Why a client may have left is known only of one that was told no.
func TestPartingIsWhatTheClientMissed(t *testing.T) {
	request := []byte("\x00\x00\x00\x08\x04\xd2\x16\x2f")
	d := postgres.Protocol.New(decoders.Want{}).(decoders.Parter)
	if got := d.Parting(); got != "" {
		t.Errorf("before it said anything: %q", got)
	}
	if _, err := d.Next(decoders.FromClient, request); err != nil {
		t.Fatal(err)
	}
	if got := d.Parting(); !strings.Contains(got, "client: offer") {
		t.Errorf("after SSLRequest: %q, want what to set", got)
	}
	if _, err := d.Next(decoders.FromClient, startup("user", "postgres")); err != nil {
		t.Fatal(err)
	}
	if got := d.Parting(); got != "" {
		t.Errorf("after it went on: %q", got)
	}
	secured := postgres.Protocol.New(decoders.Want{Secured: [2]bool{true, false}})
	if step, err := secured.Next(decoders.FromClient, request); err == nil {
		t.Errorf("SSLRequest within TLS: %+v, want an error", step)
	}
}
