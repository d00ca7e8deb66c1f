package capture_test

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"agentd.dev/agentd/capture"
	"agentd.dev/agentd/internal/lab"
)

// answering answers each datagram to port 53 of an address of a namespace with
// what was said.
func answering(t testing.TB, netns *lab.Netns, host string, said []byte) string {
	t.Helper()
	var p net.PacketConn
	netns.Do(t, func() (err error) {
		p, err = net.ListenPacket("udp", net.JoinHostPort(host, "53"))
		return err
	})
	t.Cleanup(func() { p.Close() })
	go func() {
		buf := make([]byte, 256)
		for {
			_, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = p.WriteTo(said, from)
		}
	}()
	return p.LocalAddr().String()
}

// heard is what capture has told of answers.
type heard struct {
	mu  sync.Mutex // guards all
	all []capture.Answer
}

func (h *heard) hear(a *capture.Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := *a
	kept.Message = bytes.Clone(a.Message)
	h.all = append(h.all, kept)
}

func (h *heard) take() []capture.Answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.all
	h.all = nil
	return all
}

func TestAnswersAreToldBeforeTheConnectionComes(t *testing.T) {
	var h heard
	f := start(t, capture.Options{Heard: h.hear, UDP: []uint16{53, 5353}})
	netns := lab.NewNetns(t)
	group := f.workload(t, "agent", netns)
	nested := group.Child(t, "nested")
	agent, not := startHolder(t, nested, netns), startHolder(t, f.root.Child(t, "neighbour"), netns)
	tcp, _ := echo(t, "127.0.0.1", netns)
	for _, tt := range []struct {
		host string
		said []byte
		kept int
	}{
		{"127.0.0.1", []byte("a short answer"), 14},
		{"127.0.0.2", bytes.Repeat([]byte("x"), 1500), 1500},
		{"127.0.0.3", bytes.Repeat([]byte("long"), 1000), 1500},
		{"::1", []byte("over IPv6"), 9},
	} {
		at := answering(t, netns, tt.host, tt.said)
		for _, holder := range []*holder{not, agent} {
			n := holder.must(t, order{Dial: "udp", Addr: at})
			holder.must(t, order{Speak: n.Number})
		}
		agent.must(t, order{Dial: "tcp", Addr: tcp})
		conn := f.accepted(t)
		all := h.take()
		if len(all) != 1 {
			t.Errorf("%s: told of %d answers, want the workload's", tt.host, len(all))
			continue
		}
		got := all[0]
		if got.NetNS != conn.Peer.NetNS || got.Cgroup != nested.ID || got.Captured != group.ID || got.From.String() != tt.host {
			t.Errorf("%s: told of %+v, want it from there, in namespace %d, cgroup %d, captured by %d", tt.host, got, conn.Peer.NetNS, nested.ID, group.ID)
		}
		if !bytes.Equal(got.Message, tt.said[:tt.kept]) || got.Whole != (tt.kept == len(tt.said)) {
			t.Errorf("%s: the answer is %q (whole: %t), want %d bytes of it", tt.host, got.Message, got.Whole, tt.kept)
		}
		if got.At == 0 || got.At > conn.At || conn.At > capture.Clock() {
			t.Errorf("%s: it came at %v, and the connection at %v", tt.host, got.At, conn.At)
		}
	}
}

func TestManyAnswersAreAllToldAsTheyCame(t *testing.T) {
	var h heard
	f := start(t, capture.Options{Heard: h.hear, UDP: []uint16{53}})
	netns := lab.NewNetns(t)
	agent := startHolder(t, f.workload(t, "agent", netns), netns)
	loud := startHolder(t, f.workload(t, "loud", netns), netns)
	at := answering(t, netns, "127.0.0.1", bytes.Repeat([]byte("x"), 1500))
	tcp, _ := echo(t, "127.0.0.1", netns)
	n := loud.must(t, order{Dial: "udp", Addr: at})
	for range 10 {
		for range 50 {
			loud.must(t, order{Speak: n.Number})
		}
		agent.must(t, order{Dial: "tcp", Addr: tcp})
		f.accepted(t)
	}
	told := h.take()
	if slices.ContainsFunc(told, func(a capture.Answer) bool { return strings.Trim(string(a.Message), "x") != "" }) {
		t.Error("answers are told that nobody gave")
	}
	if len(told) != 500 {
		t.Errorf("told of %d answers, want 500: someone was there to hear them", len(told))
	}
}
