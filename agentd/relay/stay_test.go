package relay_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/relay"
	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// A desk is where people decide about lines that begin with "hold". It is used
// by the loop and by the test.
type desk struct {
	asked chan *request // gets each request that has to wait
}

// A request waits at a desk.
type request struct {
	text   string
	resume func()

	mu        sync.Mutex // guards what follows
	verdict   *policy.Verdict
	judged    []string // its text, each time that it was judged
	withdrawn string
	gone      chan struct{} // closed once withdrawn
}

// A clerk is one session's judge: it asks at a desk.
type clerk struct {
	*desk
	now *request
}

// desk makes the rig's sessions ask people. All of them share a desk, and each
// has its own request.
func (r *rig) desk() *desk {
	d := &desk{asked: make(chan *request, 20_000)}
	r.judges = func() relay.Judge { return &clerk{desk: d} }
	return d
}

func (c *clerk) Told(*decoders.Event) {}

func (c *clerk) Decide(ev *decoders.Event) policy.Verdict {
	if !bytes.HasPrefix(ev.Text, []byte("hold")) {
		return strict{}.Decide(ev)
	}
	if c.now == nil {
		c.now = &request{text: string(ev.Text), gone: make(chan struct{})}
	}
	q := c.now
	q.mu.Lock()
	defer q.mu.Unlock()
	q.judged = append(q.judged, string(ev.Text)+string(ev.Record))
	if q.verdict != nil && q.verdict.Outcome != policy.Hold {
		c.now = nil
		return *q.verdict
	}
	return policy.Verdict{
		Outcome: policy.Hold, Rule: "ask", Reason: "ask a person",
		Wait: func(resume func()) { q.resume = resume; c.asked <- q },
		Withdraw: func(why string) {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.withdrawn = why
			close(q.gone)
		},
	}
}

// decide answers a request.
func (q *request) decide(outcome policy.Outcome) {
	q.mu.Lock()
	q.verdict = &policy.Verdict{Outcome: outcome, Rule: "ask", Reason: "a person said no", Approval: "id"}
	q.mu.Unlock()
	q.resume()
}

const told = "wait: ask a person\n"

func TestHeldRequestGoesOnOnceItIsGranted(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	client, server, _ := r.session()
	say(t, client, "before\nhold this\nafter\n")
	hear(t, server, "before\n")
	q := <-desk.asked
	hear(t, client, told)
	if !r.recorded("hold this") {
		t.Error("what is held is in no record")
	}
	say(t, client, "later\n")
	say(t, server, "the other direction\n")
	hear(t, client, "the other direction\n")
	q.decide(policy.Forward)
	hear(t, server, "hold this\nafter\nlater\n")
	if want := "hold this\nhold this\n"; len(q.judged) != 2 || q.judged[0] != want || q.judged[1] != want {
		t.Errorf("it was judged as %q, want twice %q", q.judged, want)
	}
}

func TestHeldRequestIsRefusedInItsPlace(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	client, server, _ := r.session()
	say(t, client, "hold this\nafter\n")
	q := <-desk.asked
	hear(t, client, told)
	q.decide(policy.Refuse)
	hear(t, server, "refused\nafter\n")
}

func TestHeldRequestMayHaveToWaitAgain(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	client, server, _ := r.session()
	say(t, client, "hold this\nafter\n")
	for range 3 {
		q := <-desk.asked
		hear(t, client, told)
		q.decide(policy.Hold)
	}
	(<-desk.asked).decide(policy.Forward)
	hear(t, server, "hold this\nafter\n")
}

func TestHeldRequestMayEndTheSession(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	client, server, _ := r.session()
	say(t, client, "hold this\nafter\n")
	q := <-desk.asked
	q.decide(policy.Close)
	hear(t, client, told+"abort: a person said no\n")
	hearEnd(t, client)
	hearEnd(t, server)
}

// What is held is longer than what is read at once, and what others send comes
// into the same buffer.
func TestHeldRequestIsNotChangedByWhatComesLater(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	for _, size := range []int{100, 40 << 10, 200 << 10} {
		client, server, _ := r.session()
		line := "hold " + strings.Repeat("x", size) + "\n"
		say(t, client, "before\n"+line+"after\n")
		hear(t, server, "before\n")
		q := <-desk.asked
		other, otherServer, _ := r.session()
		poison := strings.Repeat(strings.Repeat("y", 99)+"\n", 2000)
		go io.WriteString(other, poison)
		hear(t, otherServer, poison)
		rest := strings.Repeat("-z\n", 10_000)
		say(t, client, rest)
		say(t, server, "on\n")
		hear(t, client, told+"on\n")
		q.decide(policy.Forward)
		hear(t, server, line+"after\n"+rest)
		if q.judged[1] != line+line {
			t.Errorf("a line of %d bytes was judged as another one", size)
		}
	}
}

func TestHeldClientThatHangsUpTakesItsRequestBack(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	for _, behind := range []int{0, 10, 100 << 10} {
		for _, reset := range []bool{false, true} {
			client, server, ended := r.session()
			say(t, client, "hold this\n")
			q := <-desk.asked
			hear(t, client, told)
			if behind > 0 {
				say(t, client, strings.Repeat("-", behind)+"\n")
			}
			if reset {
				_ = client.SetLinger(0)
				client.Close()
			} else {
				_ = client.CloseWrite()
			}
			<-q.gone
			q.decide(policy.Forward)
			got, _ := io.ReadAll(server)
			if len(got) > 0 {
				t.Errorf("%d bytes behind, reset %v: the server got %q", behind, reset, got)
			}
			<-ended
		}
	}
}

func TestServerThatClosesEndsTheWait(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	client, server, ended := r.session()
	say(t, client, "hold this\nafter\n")
	q := <-desk.asked
	say(t, server, "goodbye\n")
	_ = server.CloseWrite()
	hear(t, client, told+"goodbye\n")
	hearEnd(t, client)
	client.Close()
	<-q.gone
	q.decide(policy.Forward)
	if got, _ := io.ReadAll(server); len(got) > 0 {
		t.Errorf("the server got %q", got)
	}
	if e := <-ended; e.Reason != "server closed" {
		t.Errorf("session ended as %q, want %q", e.Reason, "server closed")
	}
}

func TestWaitEndsWhenNothingCanComeOfIt(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	client, server, _ := r.session()
	say(t, client, "hold this\nafter\n")
	q := <-desk.asked
	say(t, server, "skip\n")
	hear(t, client, told+"skip\n")
	hear(t, server, "refused\nafter\n")
	<-q.gone
	q.decide(policy.Forward)
	say(t, client, "on\n")
	hear(t, server, "on\n")
}

func TestStopEndsTheWait(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	client, server, _ := r.session()
	say(t, client, "hold this\n")
	q := <-desk.asked
	r.loop.Stop(decoders.Refusal{Reason: "agentd is stopping"})
	hear(t, client, told+"abort: agentd is stopping\n")
	hearEnd(t, client)
	client.Close()
	hearEnd(t, server)
	<-q.gone
	<-r.ran
	if q.withdrawn != "agentd is stopping" {
		t.Errorf("withdrawn as %q", q.withdrawn)
	}
	q.decide(policy.Forward) // nobody is there any more
}

func TestWaitThatIsOverTouchesNoOtherSession(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	client, _, ended := r.session()
	say(t, client, "hold this\n")
	old := <-desk.asked
	client.Close()
	<-ended
	client, server, _ := r.session() // in the same slot, with the same descriptors
	say(t, client, "hold mine\n")
	mine := <-desk.asked
	old.decide(policy.Forward)
	say(t, server, "on\n")
	hear(t, client, told+"on\n")
	mine.decide(policy.Forward)
	hear(t, server, "hold mine\n")
}

func TestClientIsNotToldWithinAMessage(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	client, server, _ := r.session()
	say(t, server, "data 6\n123")
	hear(t, client, "data 6\n123")
	say(t, client, "hold this\n")
	q := <-desk.asked
	say(t, server, "456next\n")
	hear(t, client, "456next\n"+told)
	q.decide(policy.Forward)
	hear(t, server, "hold this\n")
}

func TestWhatComesBehindAHeldRequestIsBounded(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	client, server, _ := r.session()
	_ = client.SetWriteBuffer(64 << 10)
	const head = "hold\ndata 4000000000\n"
	say(t, client, head)
	q := <-desk.asked
	sent := flood(client)
	if sent > 16<<20 {
		t.Errorf("%d bytes were taken behind a held request", sent)
	}
	q.decide(policy.Forward)
	hear(t, server, head)
	if n, err := io.CopyN(io.Discard, server, int64(sent)); err != nil {
		t.Errorf("%d of %d bytes came after it: %v", n, sent, err)
	}
}

// Half of a hundred are granted, in another order than they came, while the
// others hang up or are refused: each runs once or never.
func TestAHundredAreHeldAtOnce(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	const n = 100
	type end struct {
		server io.Reader
		client io.Closer
		want   string
	}
	all := map[string]*end{}
	var requests []*request
	for i := range n {
		client, server, _ := r.session()
		line := fmt.Sprintf("hold %d\n", i)
		say(t, client, line)
		all[line] = &end{server: server, client: client}
		requests = append(requests, <-desk.asked)
	}
	var deciding sync.WaitGroup
	for i, q := range requests {
		e := all[q.text]
		switch i % 3 {
		case 0:
			e.want = q.text
			deciding.Go(func() { q.decide(policy.Forward) })
		case 1:
			e.want = "refused\n"
			deciding.Go(func() { q.decide(policy.Refuse) })
		default:
			deciding.Go(func() { e.client.Close(); <-q.gone; q.decide(policy.Forward) })
		}
	}
	deciding.Wait()
	for line, e := range all {
		hear(t, e.server, e.want)
		e.client.Close()
		if got, _ := io.ReadAll(e.server); len(got) > 0 {
			t.Errorf("%q: the server got %q on top", line, got)
		}
	}
}

func TestHeldClientIsWatchedByTheKernel(t *testing.T) {
	r := newRig(t)
	desk := r.desk()
	client, fd := r.pair()
	_, serverFD := r.pair()
	watch, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	r.relay(fd, serverFD)
	say(t, client, "hold\n")
	<-desk.asked
	hear(t, client, told)
	if on, err := unix.GetsockoptInt(watch, unix.SOL_SOCKET, unix.SO_KEEPALIVE); err != nil || on != 1 {
		t.Errorf("SO_KEEPALIVE is %d, %v; want 1", on, err)
	}
}
