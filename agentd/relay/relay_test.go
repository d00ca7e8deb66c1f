package relay_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/relay"
	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

// A rig is a running loop with a log of its own.
type rig struct {
	t    testing.TB
	loop *relay.Loop
	rec  *recorder.Recorder
	dir  string
	ran  chan struct{} // closed when Run has returned
	done func(recorder.End)
	// study is what the toy studies with.
	study func()
	// judges makes the judge of a session.
	judges func() relay.Judge
	// durable: its sessions are.
	durable bool
}

func newRig(t testing.TB) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, dir: filepath.Join(dir, "log"), ran: make(chan struct{}), judges: func() relay.Judge { return strict{} }, durable: strings.HasPrefix(t.Name(), "TestDurable")}
	var err error
	r.rec, err = recorder.Open(recorder.Options{Dir: r.dir, KeyFile: filepath.Join(dir, "key"), Node: "test", Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r.loop, err = relay.New(r.rec); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(r.ran); r.loop.Run() }()
	t.Cleanup(func() {
		r.loop.Stop(decoders.Refusal{Reason: "the test is over"})
		<-r.ran
		r.rec.Close()
	})
	return r
}

// session relays one connection and returns its ends, and what End it came to.
func (r *rig) session() (client, server *net.TCPConn, ended <-chan recorder.End) {
	r.t.Helper()
	client, clientFD := r.pair()
	server, serverFD := r.pair()
	return client, server, r.relay(clientFD, serverFD)
}

// relay hands two sockets to the loop.
func (r *rig) relay(clientFD, serverFD int) <-chan recorder.End {
	r.t.Helper()
	var turn recorder.Turn
	log, err := r.rec.Begin(&turn, &policy.Session{ID: fmt.Sprint("s", rand.Uint64())})
	if err == nil {
		err = r.rec.Commit(&turn)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	done, also := make(chan recorder.End, 1), r.done
	ok := r.loop.Add(&relay.Session{
		Client: clientFD, Server: serverFD, Durable: r.durable, Decoder: &toy{study: r.study}, Judge: r.judges(), Log: log,
		Done: func(e recorder.End) {
			if also != nil {
				also(e)
			}
			done <- e
		},
	})
	if !ok {
		r.t.Fatal("the loop takes no session")
	}
	return done
}

// pair returns a TCP connection over loopback: one end for the test, the
// other as a bare descriptor for the loop.
func (r *rig) pair() (*net.TCPConn, int) {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	defer far.Close()
	raw, err := far.(*net.TCPConn).SyscallConn()
	if err != nil {
		r.t.Fatal(err)
	}
	fd := -1
	_ = raw.Control(func(f uintptr) { fd, err = unix.FcntlInt(f, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil {
		r.t.Fatal(err)
	}
	conn := near.(*net.TCPConn)
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // a test that hangs should say where
	r.t.Cleanup(func() { conn.Close() })
	return conn, fd
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

func hearEnd(t testing.TB, c io.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Fatalf("read %q, %v; want the end", rest, err)
	}
}

func TestRefusedLineIsReplacedAndTheSessionGoesOn(t *testing.T) {
	client, server, _ := newRig(t).session()
	say(t, client, "one\nno two\n- three\nfour\n")
	hear(t, server, "one\nrefused\n- three\nfour\n")
	say(t, server, "fine\n")
	hear(t, client, "fine\n")
}

func TestNothingAskedAboutLeavesBeforeItsRecord(t *testing.T) {
	r := newRig(t)
	client, server, _ := r.session()
	for i := range 200 {
		line := fmt.Sprintf("statement %d of this test\n", i)
		say(t, client, line)
		hear(t, server, line)
		if !r.recorded(strings.TrimSpace(line)) {
			t.Fatalf("%q reached the server before the log", line)
		}
	}
}

// recorded reports whether text is in the log's files.
func (r *rig) recorded(text string) bool {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, "*"))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(text)) {
			return true
		}
	}
	return false
}

func TestNoRecordNoEffect(t *testing.T) {
	r := newRig(t)
	client, server, ended := r.session()
	say(t, client, "recorded\n")
	hear(t, server, "recorded\n")
	if err := r.rec.Close(); err != nil {
		t.Fatal(err)
	}
	say(t, client, "not recorded\n")
	hearEnd(t, server)
	text, err := io.ReadAll(client)
	if err != nil || !strings.HasPrefix(string(text), "abort: agentd cannot record this session") {
		t.Errorf("client read %q, %v; want to be told that recording failed", text, err)
	}
	client.Close()
	if e := <-ended; !strings.Contains(e.Reason, "cannot record") {
		t.Errorf("session ended as %q, want the recording named", e.Reason)
	}
}

func TestBytesArriveUnchangedHoweverTheyAreCut(t *testing.T) {
	r := newRig(t)
	rng := rand.New(rand.NewPCG(1, 2))
	var text bytes.Buffer
	for text.Len() < 4<<20 {
		switch rng.IntN(4) {
		case 0:
			n := rng.IntN(300_000)
			fmt.Fprintf(&text, "data %d\n%s", n, bytes.Repeat([]byte{byte(rng.IntN(256))}, n))
		case 1:
			fmt.Fprintf(&text, "- %s\n", strings.Repeat("p", rng.IntN(50)))
		default:
			fmt.Fprintf(&text, "ask %s\n", strings.Repeat("q", rng.IntN(200_000)>>rng.IntN(17)))
		}
	}
	client, server, ended := r.session()
	var wg sync.WaitGroup
	for _, way := range []struct{ from, to *net.TCPConn }{{client, server}, {server, client}} {
		cuts := rand.New(rand.NewPCG(3, 4))
		wg.Go(func() {
			for rest := text.Bytes(); len(rest) > 0; {
				n := min(1+cuts.IntN(100_000)>>cuts.IntN(16), len(rest))
				if _, err := way.from.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
			_ = way.from.CloseWrite()
		})
		wg.Go(func() {
			got, err := io.ReadAll(way.to)
			if err != nil || !bytes.Equal(got, text.Bytes()) {
				t.Errorf("read %d bytes, %v; want the %d that were sent", len(got), err, text.Len())
			}
		})
	}
	wg.Wait()
	if e := <-ended; e.FromClient != int64(text.Len()) || e.FromServer != int64(text.Len()) {
		t.Errorf("counted %d and %d bytes, want %d each way", e.FromClient, e.FromServer, text.Len())
	}
}

func TestHalfCloseIsPassedOn(t *testing.T) {
	client, server, ended := newRig(t).session()
	say(t, client, "last words\n")
	_ = client.CloseWrite()
	hear(t, server, "last words\n")
	hearEnd(t, server)
	say(t, server, "answer after the end\n")
	hear(t, client, "answer after the end\n")
	server.Close()
	hearEnd(t, client)
	if e := <-ended; e.Reason != "client closed" {
		t.Errorf("session ended as %q, want %q", e.Reason, "client closed")
	}
}

// backlog makes a session whose client has said all it will, and whose server
// has too: most of what the server sent waits in the relay's socket, because
// the client does not read.
func (r *rig) backlog(size int) (client *net.TCPConn, ended <-chan recorder.End) {
	r.t.Helper()
	client, clientFD := r.pair()
	server, serverFD := r.pair()
	for _, buffer := range []struct{ fd, option, size int }{
		{clientFD, unix.SO_SNDBUF, 16 << 10},
		{serverFD, unix.SO_RCVBUFFORCE, 2 * size},
	} {
		if err := unix.SetsockoptInt(buffer.fd, unix.SOL_SOCKET, buffer.option, buffer.size); err != nil {
			r.t.Fatal(err)
		}
	}
	_ = client.SetReadBuffer(16 << 10)
	_ = server.SetWriteBuffer(2 * size)
	ended = r.relay(clientFD, serverFD)
	say(r.t, client, "last words\n")
	_ = client.CloseWrite()
	hear(r.t, server, "last words\n")
	hearEnd(r.t, server)
	head := fmt.Sprintf("data %d\n", size)
	say(r.t, server, head+strings.Repeat("x", size-len(head)))
	server.Close()
	return client, ended
}

func TestSlowReaderThatSaidAllGetsEverything(t *testing.T) {
	const size = 2 << 20
	client, ended := newRig(t).backlog(size)
	got, err := io.Copy(io.Discard, slow{client})
	if err != nil || got != size {
		t.Errorf("read %d bytes, %v; want all %d", got, err, size)
	}
	client.Close()
	if e := <-ended; e.Reason != "client closed" {
		t.Errorf("session ended as %q, want %q", e.Reason, "client closed")
	}
}

// slow reads little at a time, so that the relay is always ahead.
type slow struct{ io.Reader }

func (s slow) Read(b []byte) (int, error) { return s.Reader.Read(b[:min(len(b), 1<<10)]) }

func TestHangUpBehindAStalledClientKeepsNoThreadBusy(t *testing.T) {
	newRig(t).backlog(2 << 20)
	before := cpuTime(t)
	<-time.After(time.Second) // in which nothing happens: that is what is measured
	if used := cpuTime(t) - before; used > 300*time.Millisecond {
		t.Errorf("used %v of processor time in an idle second", used)
	}
}

func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func TestSessionEndsWhenWhatItWaitsForCannotCome(t *testing.T) {
	client, server, ended := newRig(t).session()
	say(t, client, "wait\n")
	server.Close()
	hearEnd(t, client)
	client.Close()
	if e := <-ended; e.FromClient != 5 {
		t.Errorf("%d bytes came from the client, want 5", e.FromClient)
	}
}

func TestDoneComesAfterTheLastRecord(t *testing.T) {
	r := newRig(t)
	r.done = func(recorder.End) {
		if !r.recorded(`"type":"close"`) {
			t.Error("a session was done before its last record was written")
		}
	}
	client, server, ended := r.session()
	say(t, client, "last words\n")
	_ = client.CloseWrite()
	hear(t, server, "last words\n")
	hearEnd(t, server)
	say(t, server, "result with a secret\n") // refused: the session ends within its own commit
	<-ended
}

func TestResetIsPassedOn(t *testing.T) {
	client, server, ended := newRig(t).session()
	say(t, client, "one\n")
	hear(t, server, "one\n")
	_ = server.SetLinger(0)
	server.Close()
	if n, err := client.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("client read %d bytes, %v; want a reset", n, err)
	}
	if e := <-ended; e.Reason != "server reset" {
		t.Errorf("session ended as %q, want %q", e.Reason, "server reset")
	}
}

func TestStalledPeersSlowNoOtherAndHoldBoundedMemory(t *testing.T) {
	r := newRig(t)
	const flood = "data 4000000000\n"
	var (
		stalled sync.WaitGroup
		servers []*net.TCPConn
	)
	for range 8 {
		_, server, _ := r.session() // its client never reads
		say(t, server, flood)
		stalled.Go(func() {
			block := make([]byte, 1<<20)
			_ = server.SetWriteDeadline(time.Now().Add(20 * time.Second))
			sent := 0
			for {
				n, err := server.Write(block)
				sent += n
				if err != nil {
					break // closed below: the relay never took it all
				}
			}
			if sent > 64<<20 {
				t.Errorf("the relay took %d bytes for a client that does not read", sent)
			}
		})
		servers = append(servers, server)
	}
	client, server, _ := r.session()
	echo := bufio.NewReader(server)
	slowest := time.Duration(0)
	for i := range 2000 {
		line := fmt.Sprintf("ping %d\n", i)
		start := time.Now()
		say(t, client, line)
		if got, err := echo.ReadString('\n'); err != nil || got != line {
			t.Fatalf("read %q, %v; want %q", got, err, line)
		}
		slowest = max(slowest, time.Since(start))
	}
	// The others are stalled for as long as the test likes; one that the loop
	// waited for would stop the line above for ever. A second is no speed.
	if slowest > time.Second {
		t.Errorf("a line took %v beside stalled sessions", slowest)
	}
	for _, s := range servers {
		s.Close()
	}
	stalled.Wait()
}

func TestWhatIsNotUnderstoodEndsTheSession(t *testing.T) {
	client, server, ended := newRig(t).session()
	say(t, client, "good\n")
	hear(t, server, "good\n")
	say(t, client, "\x00bad\n")
	hearEnd(t, server)
	hear(t, client, "abort: agentd ended the session: "+"a line began with a zero byte\n")
	hearEnd(t, client)
	client.Close()
	if e := <-ended; !strings.Contains(e.Reason, "zero byte") {
		t.Errorf("session ended as %q, want the reason", e.Reason)
	}
}

func TestAbortNeverLandsInsideAMessage(t *testing.T) {
	client, server, _ := newRig(t).session()
	say(t, server, "data 100\nhalf")
	hear(t, client, "data 100\nhalf")
	say(t, client, "\x00")
	hearEnd(t, client)
}

func TestStopTellsEveryClient(t *testing.T) {
	r := newRig(t)
	var clients []*net.TCPConn
	for range 20 {
		client, server, _ := r.session()
		say(t, client, "hello\n")
		hear(t, server, "hello\n")
		clients = append(clients, client)
	}
	r.loop.Stop(decoders.Refusal{Reason: "agentd is stopping"})
	for _, c := range clients {
		hear(t, c, "abort: agentd is stopping\n")
		hearEnd(t, c)
		c.Close()
	}
	<-r.ran
}

func TestManySessionsComeAndGo(t *testing.T) {
	r := newRig(t)
	fds := openFiles(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				client, server, ended := r.session()
				say(t, client, "in\n")
				hear(t, server, "in\n")
				say(t, server, "out\n")
				hear(t, client, "out\n")
				client.Close()
				hearEnd(t, server)
				server.Close()
				<-ended
			}
		})
	}
	wg.Wait()
	if now := openFiles(t); now > fds {
		t.Errorf("%d descriptors open, %d before", now, fds)
	}
	if live := r.loop.Stats.Sessions.Load(); live != 0 {
		t.Errorf("%d sessions live, want 0", live)
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
