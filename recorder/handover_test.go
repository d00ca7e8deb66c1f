package recorder

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/decoders"
)

// A node is where recorders follow each other; dial reaches the one that
// records now.
type node struct {
	mu  sync.Mutex
	now *aLog
	pid int // of the next predecessor
	at  sync.WaitGroup
}

// dial returns a connection to the recorder that records now, which takes what
// comes as from a process with these sessions.
func (n *node) dial(t testing.TB, sessions ...string) func() (net.Conn, error) {
	n.pid++
	p := NewPredecessor(n.pid, sessions)
	return func() (net.Conn, error) {
		n.mu.Lock()
		now := n.now
		n.mu.Unlock()
		if now == nil {
			return nil, errors.New("nobody records")
		}
		ours, theirs := pair(t)
		n.at.Go(func() { _ = now.Take(theirs, p) })
		return ours, nil
	}
}

func (n *node) set(l *aLog) {
	n.mu.Lock()
	n.now = l
	n.mu.Unlock()
}

// pair returns two connected sockets.
func pair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		conns[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return conns[0], conns[1]
}

// succeed opens the log that was handed over with lock.
func succeed(t testing.TB, opts Options, lock *os.File) *aLog {
	t.Helper()
	fd, err := unix.FcntlInt(lock.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	opts.Lock = os.NewFile(uintptr(fd), lock.Name())
	return again(t, opts)
}

// handOver makes another recorder of the log the node's, and l a predecessor
// with these sessions.
func (n *node) handOver(t testing.TB, l *aLog, sessions ...string) *aLog {
	t.Helper()
	var next *aLog
	err := l.HandOver(func(lock *os.File) (Sink, error) {
		next = succeed(t, l.opts, lock)
		n.set(next)
		return NewRemote(n.dial(t, sessions...)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// A going is a session that goes on.
type going struct {
	id   string
	log  *Log
	turn Turn
	seq  uint64
}

func (l *aLog) session(t testing.TB, id string) *going {
	t.Helper()
	g := &going{id: id}
	var err error
	if g.log, err = l.Begin(&g.turn, aSession(id)); err != nil {
		t.Fatal(err)
	}
	l.commit(t, &g.turn)
	return g
}

// ask records a statement.
func (g *going) ask(l *aLog) error {
	g.seq++
	g.log.Asked(&g.turn, at, statement(g.seq, fmt.Sprintf("select '%s %d'", g.id, g.seq)), allowed)
	if err := l.Commit(&g.turn); err != nil {
		return err
	}
	g.log.Told(&g.turn, at, outcome(g.seq, decoders.Result{Rows: 1}))
	return nil
}

func (g *going) end(t testing.TB, l *aLog) {
	t.Helper()
	g.log.End(&g.turn, at, End{Reason: "client closed"})
	l.commit(t, &g.turn)
}

// goingOn returns the state of each session in l's folder and how many
// statements are recorded of it.
func goingOn(t testing.TB, l *aLog) map[string]string {
	t.Helper()
	list, err := open(t, l).Sessions(Filter{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, s := range list {
		found[s.ID] = fmt.Sprint(s.State, " ", s.Statements)
	}
	return found
}

// sound fails the test unless l's folder verifies, all of it signed by who
// wrote it.
func sound(t testing.TB, l *aLog) {
	t.Helper()
	report, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK || report.Adopted != 0 {
		t.Errorf("verified: %+v, want OK and nothing adopted", report)
	}
}

func want(t testing.TB, l *aLog, id, state string) {
	t.Helper()
	if got := goingOn(t, l)[id]; got != state {
		t.Errorf("session %s is %q in the list, want %q", id, got, state)
	}
	transcript, err := open(t, l).Session(id)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(state, transcript.State) {
		t.Errorf("session %s is %q in its transcript, want %q", id, transcript.State, state)
	}
}

func TestSessionsAreRecordedInOneLogAcrossHandovers(t *testing.T) {
	n := &node{}
	first := begin(t)
	n.set(first)
	one := first.session(t, "one")
	second := n.handOver(t, first, "one")
	two := second.session(t, "two")
	for _, step := range []error{one.ask(first), two.ask(second), one.ask(first)} {
		if step != nil {
			t.Fatal(step)
		}
	}
	third := n.handOver(t, second, "two")
	for _, step := range []error{one.ask(first), two.ask(second)} {
		if step != nil {
			t.Fatal(step)
		}
	}
	want(t, third, "one", "live 3")
	want(t, third, "two", "live 2")
	one.end(t, first)
	first.Close()
	two.end(t, second)
	second.Close()
	n.at.Wait()
	want(t, third, "one", "ended 3")
	want(t, third, "two", "ended 2")
	sound(t, third)
}

// TestAHandoverLosesAndRepeatsNoRecord commits from many goroutines, without a
// pause, through three handovers.
func TestAHandoverLosesAndRepeatsNoRecord(t *testing.T) {
	n := &node{}
	first := begin(t, func(o *Options) { o.Interval = time.Millisecond; o.SegmentBytes = 1 << 20 })
	n.set(first)
	const sessions = 8
	asked := make([]int, sessions)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	var ids []string
	for i := range sessions {
		g := first.session(t, fmt.Sprint("busy", i))
		ids = append(ids, g.id)
		asking.Go(func() {
			for {
				select {
				case <-stop:
					g.end(t, first)
					return
				default:
				}
				if err := g.ask(first); err != nil {
					t.Errorf("session %d: %v", i, err)
					return
				}
				asked[i]++
			}
		})
	}
	now := first
	var middle []*aLog
	for range 3 {
		if now != first {
			middle = append(middle, now)
		}
		now = n.handOver(t, now, ids...)
		before := now.Stats().Records
		for now.Stats().Records < before+100 { // until the first has come through
			now.work(t, fmt.Sprint("other", now.Stats().TreeSize), 1)
		}
		ids = nil // the first's are the first's
	}
	close(stop)
	asking.Wait()
	for _, l := range append(middle, first) {
		l.Close()
	}
	n.at.Wait()
	found := goingOn(t, now)
	for i := range sessions {
		if got, want := found[fmt.Sprint("busy", i)], fmt.Sprint("ended ", asked[i]); got != want {
			t.Errorf("session %d is %q, want %q", i, got, want)
		}
	}
	sound(t, now)
}

func TestAHandoverThatFailsChangesNothing(t *testing.T) {
	l := begin(t)
	g := l.session(t, "going")
	no := errors.New("the other one changed its mind")
	err := l.HandOver(func(lock *os.File) (Sink, error) {
		return nil, errors.Join(no, succeed(t, l.opts, lock).Leave())
	})
	if !errors.Is(err, no) {
		t.Fatalf("HandOver() = %v, want %v", err, no)
	}
	if err := g.ask(l); err != nil {
		t.Fatal(err)
	}
	want(t, l, "going", "live 1")
	if _, err := Open(l.opts); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("Open() = %v, want the folder to be locked", err)
	}
	g.end(t, l)
	sound(t, l)
}

func TestARecorderThatDiesLeavesNothingUnsaid(t *testing.T) {
	n := &node{}
	first := begin(t)
	n.set(first)
	g := first.session(t, "going")
	second := n.handOver(t, first, "going")
	if err := g.ask(first); err != nil {
		t.Fatal(err)
	}
	// The second dies: its connections end, and its folder is free.
	n.set(nil)
	second.crash()
	third := again(t, first.opts)
	want(t, third, "going", "interrupted 1")
	n.set(third)
	if err := g.ask(first); err != nil {
		t.Fatalf("after another has started: %v", err)
	}
	want(t, third, "going", "live 2")
	first.Close() // dies, with its session
	n.at.Wait()
	want(t, third, "going", "interrupted 2")
}

// TestWithoutAnAnswerNothingIsRecorded ends the connection after a turn was sent:
// it may have been recorded, so it must neither be sent again nor count.
func TestWithoutAnAnswerNothingIsRecorded(t *testing.T) {
	dials := make(chan net.Conn)
	remote := NewRemote(func() (net.Conn, error) {
		ours, theirs := pair(t)
		dials <- theirs
		return ours, nil
	})
	go func() {
		// One that goes before it says that it takes turns has seen none.
		(<-dials).Close()
		theirs := <-dials
		_, _ = theirs.Write([]byte{answerReady})
		_, _ = theirs.Read(make([]byte, 1<<10))
		theirs.Close()
		for theirs := range dials {
			theirs.Close()
		}
	}()
	err := remote.Append([]byte("a turn"))
	if err == nil || !strings.Contains(err.Error(), "before it had answered") {
		t.Errorf("Append() = %v, want that there was no answer", err)
	}
	remote.Close()
	close(dials)
	if err := remote.Append([]byte("a turn")); !errors.Is(err, ErrClosed) {
		t.Errorf("Append() after Close() = %v, want %v", err, ErrClosed)
	}
}

func TestATurnThatIsNoneIsRefused(t *testing.T) {
	l := begin(t)
	for _, turn := range []string{
		"\x04\x00\x00\x00abcd",
		"\x09\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00\x00",
		"\xff\xff\xff\xff",
	} {
		ours, theirs := pair(t)
		if _, err := ours.Write([]byte(turn)); err != nil {
			t.Fatal(err)
		}
		before := l.Stats().Records
		if err := l.Take(theirs, NewPredecessor(1, nil)); err == nil {
			t.Errorf("%q was taken", turn)
		}
		if n := l.Stats().Records - before; n != 0 {
			t.Errorf("%q: %d records", turn, n)
		}
		ours.Close()
	}
}

// crash ends l as the death of its process would.
func (l *aLog) crash() {
	l.halt()
	l.mu.Lock()
	l.closed = true
	for k := range l.takers {
		k.left = true
		k.conn.Close()
	}
	l.mu.Unlock()
	l.taking.Wait()
	l.closeFiles()
}
