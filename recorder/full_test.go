package recorder

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a filesystem of a megabyte in a scratch folder, for the
// time of the test.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("recorder-test", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mount a tmpfs (this test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all but spare bytes of the disk.
func fill(t *testing.T, disk string, spare int64) (ballast string) {
	t.Helper()
	ballast = filepath.Join(disk, "ballast")
	free, err := freeBytes(disk)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ballast, make([]byte, free-spare), 0o600); err != nil {
		t.Fatal(err)
	}
	return ballast
}

func TestAFullDiskStopsRecordingAndTheGapIsRecorded(t *testing.T) {
	disk := smallDisk(t)
	l := begin(t, func(o *Options) {
		o.Dir, o.Reserve = filepath.Join(disk, "log"), 16<<10
		o.SegmentBytes = 100 << 10
	})
	l.work(t, "S1", 5)
	var turn Turn
	log, err := l.Begin(&turn, aSession("S2"))
	if err != nil {
		t.Fatal(err)
	}
	l.commit(t, &turn)
	ballast := fill(t, disk, 8<<10)
	if _, err := l.Begin(&Turn{}, aSession("S3")); err == nil || !strings.Contains(err.Error(), "make room") {
		t.Errorf("below the reserve: Begin got %v, want a refusal", err)
	}

	seq, size := uint64(0), l.Stats().TreeSize
	text := strings.Repeat("x", 1000)
	var full error
	for full == nil {
		seq++
		for range 3 {
			log.Asked(&turn, at, statement(seq, text), allowed)
		}
		if full = l.Commit(&turn); full == nil {
			size += 3
		}
		if !turn.Empty() {
			t.Fatal("the turn was not emptied")
		}
	}
	if !errors.Is(full, unix.ENOSPC) {
		t.Fatalf("got %v, want %v", full, unix.ENOSPC)
	}
	log.Asked(&turn, at, statement(seq, "select 1"), allowed)
	if err := l.Commit(&turn); err == nil {
		t.Error("a small record was written while recording is broken")
	}
	if s := l.Stats(); !s.Broken || s.Lost != 4 || s.TreeSize != size {
		t.Errorf("got %+v, want broken, 4 lost, %d records", s, size)
	}
	if r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{}); err != nil || !r.OK || r.Torn != nil || r.Records != size {
		t.Errorf("while full: got %+v, %v, %v, want %d whole records", r, r.Bad, err, size)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	log.Asked(&turn, at, statement(seq+1, "select 'again'"), allowed)
	l.commit(t, &turn)
	if s := l.Stats(); s.Broken || s.TreeSize != size+2 {
		t.Errorf("got %+v, want recording again, %d records", s, size+2)
	}
	records := payloads(t, l.opts.Dir)
	g, err := parseRecord(append([]byte{0}, records[size]...))
	if err != nil {
		t.Fatal(err)
	}
	if g.Type != "gap" || g.Lost != 4 || g.Since.IsZero() || !strings.Contains(g.Reason, "no space") {
		t.Errorf("got %s, want a gap of 4 records", records[size])
	}
	log.End(&turn, at, End{})
	l.commit(t, &turn)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{}); err != nil || !r.OK || r.Unsigned != 0 {
		t.Errorf("after: got %+v, %v, %v", r, r.Bad, err)
	}
	f, err := OpenFolder(l.opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	script, err := f.Session("S2")
	if err != nil {
		t.Fatal(err)
	}
	gaps := 0
	for _, e := range script.Entries {
		if e.Kind == "gap" && e.Lost == 4 {
			gaps++
		}
	}
	if gaps != 1 {
		t.Errorf("got %d gaps in the transcript, want 1", gaps)
	}
}

// awaited is a log's writer that tells when recording works again.
type awaited chan struct{}

func (a awaited) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "works again") {
		a <- struct{}{}
	}
	return len(line), nil
}

// A recorder that nobody writes to resumes by itself, so that sessions can
// begin again.
func TestRecordingResumesByItself(t *testing.T) {
	disk := smallDisk(t)
	resumed := make(awaited, 1)
	l := begin(t, func(o *Options) {
		o.Dir, o.Reserve, o.Interval = filepath.Join(disk, "log"), 16<<10, time.Millisecond
		o.Log = slog.New(slog.NewTextHandler(resumed, nil))
	})
	ballast := fill(t, disk, 0)
	for l.Note("test", strings.Repeat("x", 4000)) == nil {
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	select {
	case <-resumed:
	case <-time.After(10 * time.Second):
		t.Fatal("recording did not resume")
	}
	if _, err := l.Begin(&Turn{}, aSession("S1")); err != nil {
		t.Error(err)
	}
}
