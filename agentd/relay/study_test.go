package relay_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"agentd.dev/decoders"
)

// A school is where studies take as long as the test likes.
type school struct {
	begun chan struct{} // gets a word from each study that begins
	over  chan struct{} // gives each one word to end
}

func (r *rig) school() *school {
	s := &school{begun: make(chan struct{}, 100), over: make(chan struct{}, 100)}
	r.study = func() { s.begun <- struct{}{}; <-s.over }
	r.t.Cleanup(func() { close(s.over) })
	return s
}

func (s *school) begins() { <-s.begun }

func (s *school) ends() { s.over <- struct{}{} }

func TestStudyHoldsUpItsOwnDirectionAndNothingElse(t *testing.T) {
	r := newRig(t)
	school := r.school()
	client, server, _ := r.session()
	say(t, client, "before\nstudy this\nafter\n")
	school.begins()
	hear(t, server, "before\n")
	say(t, client, "later\n")
	say(t, server, "the other direction\n")
	hear(t, client, "the other direction\n")

	other, otherServer, _ := r.session()
	say(t, other, "another session\n")
	hear(t, otherServer, "another session\n")

	school.ends()
	hear(t, server, "study this\nafter\nlater\n")
	say(t, server, "study of the server\nbehind it\n")
	school.begins()
	say(t, client, "on\n")
	hear(t, server, "on\n")
	school.ends()
	hear(t, client, "study of the server\nbehind it\n")
}

func TestWhatWaitsForTheStudiedDirectionGoesOnAfterIt(t *testing.T) {
	r := newRig(t)
	school := r.school()
	client, server, _ := r.session()
	say(t, client, "wait\n")
	say(t, server, "study\n")
	school.begins()
	school.ends()
	hear(t, client, "study\n")
	hear(t, server, "wait\n")
}

func TestStudiedLineIsJudgedAndRecorded(t *testing.T) {
	r := newRig(t)
	school := r.school()
	client, server, _ := r.session()
	for i := range 50 {
		school.ends()
		line := fmt.Sprintf("study number %d\n", i)
		say(t, client, line+"no\n")
		hear(t, server, line+"refused\n")
		if !r.recorded(strings.TrimSpace(line)) {
			t.Fatalf("%q reached the server before the log", line)
		}
	}
}

func TestClientThatSaidAllDuringAStudyIsHeardOut(t *testing.T) {
	r := newRig(t)
	school := r.school()
	client, server, ended := r.session()
	say(t, client, "study\nlast words\n")
	school.begins()
	_ = client.CloseWrite()
	say(t, server, "go on\n")
	hear(t, client, "go on\n")
	school.ends()
	hear(t, server, "study\nlast words\n")
	hearEnd(t, server)
	server.Close()
	hearEnd(t, client)
	if e := <-ended; e.Reason != "client closed" {
		t.Errorf("session ended as %q, want %q", e.Reason, "client closed")
	}
}

func TestServerThatSaidAllDuringAStudyEndsTheSessionAfterIt(t *testing.T) {
	r := newRig(t)
	school := r.school()
	client, server, ended := r.session()
	say(t, client, "study\n")
	school.begins()
	_ = server.CloseWrite()
	hearEnd(t, client)
	client.Close()
	school.ends()
	hear(t, server, "study\n")
	hearEnd(t, server)
	<-ended
}

func TestStudyOfASessionThatEndedTouchesNoOther(t *testing.T) {
	r := newRig(t)
	school := r.school()
	client, server, ended := r.session()
	say(t, client, "study\n")
	school.begins()
	_ = server.SetLinger(0)
	server.Close()
	if _, err := client.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("client read %v, want a reset", err)
	}
	<-ended

	client, server, _ = r.session() // in the same slot, with the same descriptors
	say(t, client, "study mine\n")
	school.begins()
	school.ends()
	school.ends()
	hear(t, server, "study mine\n")
	say(t, client, "on\n")
	hear(t, server, "on\n")
}

func TestStopDuringAStudyTellsTheClientAndWaitsForTheStudy(t *testing.T) {
	r := newRig(t)
	school := r.school()
	client, server, _ := r.session()
	say(t, client, "study\n")
	school.begins()
	r.loop.Stop(decoders.Refusal{Reason: "agentd is stopping"})
	hear(t, client, "abort: agentd is stopping\n")
	hearEnd(t, client)
	hearEnd(t, server)
	client.Close()
	school.ends()
	<-r.ran
}

func TestBytesBehindAStudyAreBounded(t *testing.T) {
	r := newRig(t)
	school := r.school()
	client, server, _ := r.session()
	_ = client.SetWriteBuffer(64 << 10)
	const head = "study\ndata 4000000000\n"
	say(t, client, head)
	school.begins()
	sent := flood(client)
	if sent > 16<<20 {
		t.Errorf("%d bytes were taken behind a study", sent)
	}
	school.ends()
	hear(t, server, head)
	if n, err := io.CopyN(io.Discard, server, int64(sent)); err != nil {
		t.Errorf("%d of %d bytes came after the study: %v", n, sent, err)
	}
}

// flood sends until nobody takes more, and returns how many bytes that were.
func flood(c *net.TCPConn) (sent int) {
	block := make([]byte, 16<<10)
	for {
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := c.Write(block)
		sent += n
		if err != nil {
			return sent
		}
	}
}
