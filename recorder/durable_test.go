package recorder

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// onDisk waits until what was committed to l is on the disk.
func (l *aLog) onDisk(t testing.TB) {
	t.Helper()
	if err := l.awaited(); err != nil {
		t.Error(err)
	}
}

func (l *aLog) awaited() error {
	done := make(chan error, 1)
	l.AwaitDisk(func(err error) { done <- err })
	return <-done
}

func TestThoseWhoWaitForTheDiskTogetherShareASync(t *testing.T) {
	l := begin(t, func(o *Options) { o.SegmentBytes = 64 << 10 })
	const sessions, statements = 64, 50
	before := l.Stats()
	var running sync.WaitGroup
	for i := range sessions {
		s := l.session(t, string(rune('a'+i)))
		running.Go(func() {
			for range statements {
				if err := s.ask(l); err != nil {
					t.Error(err)
					return
				}
				l.onDisk(t)
			}
		})
	}
	running.Wait()
	syncs := l.Stats().Syncs - before.Syncs
	t.Logf("%d syncs", syncs)
	if syncs < statements || syncs > sessions*statements/2 {
		t.Errorf("%d syncs for %d statements of %d sessions, want fewer than half as many", syncs, sessions*statements, sessions)
	}
	l.Close()
	sound(t, l)
	if err := l.awaited(); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: got %v, want %v", err, ErrClosed)
	}
}

func TestWhoRecordsForAnotherSyncsForItToo(t *testing.T) {
	first := begin(t)
	n := &node{}
	n.set(first)
	s := first.session(t, "S1")
	second := n.handOver(t, first, "S1")
	third := second
	for round := range 2 {
		if err := s.ask(first); err != nil {
			t.Fatal(err)
		}
		before := third.Stats().Syncs
		first.onDisk(t)
		if syncs := third.Stats().Syncs - before; syncs == 0 {
			t.Errorf("round %d: who records has synced nothing", round)
		}
		if round == 0 { // and when the log has moved on
			third = n.handOver(t, second)
		}
	}
	s.end(t, first)
	first.onDisk(t)
}

func TestTheEndFitsOnAFullDisk(t *testing.T) {
	disk := smallDisk(t)
	l := begin(t, func(o *Options) { o.Dir, o.Reserve = filepath.Join(disk, "log"), 64<<10 })
	s := l.session(t, "S1")
	fill(t, disk, 0)
	for err := error(nil); err == nil; {
		if err = s.ask(l); err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("got %v, want %v", err, unix.ENOSPC)
		}
	}
	if err := s.ask(l); err == nil {
		t.Error("a statement was let through into what is kept for the end")
	}
	s.turn.reset()
	s.end(t, l)
	if err := l.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	report, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{})
	if err != nil || !report.OK || report.Unsigned != 0 {
		t.Errorf("got %+v, %v, %v, want it all signed", report, report.Bad, err)
	}
	records := payloads(t, l.opts.Dir)
	var last []string
	for _, r := range records[max(0, len(records)-3):] {
		last = append(last, recordType(r))
	}
	if len(last) != 3 || last[0] != "close" || last[1] != "gap" || last[2] != "stop" {
		t.Errorf("the last records are %q, want the session's end, the gap and the log's end", last)
	}
}
