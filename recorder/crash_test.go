package recorder

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// childEnv makes the test binary record until it is killed.
const childEnv = "RECORDER_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		recordForever(dir)
	}
	os.Exit(m.Run())
}

func childOptions(dir string) Options {
	return Options{
		Dir: filepath.Join(dir, "log"), KeyFile: filepath.Join(dir, "key", "node"), Node: "agentd/test",
		Interval: 2 * time.Millisecond, SegmentBytes: 50_000, Reserve: 1,
	}
}

// recordForever tells, on its standard output, the number of each statement
// whose commit has returned.
func recordForever(dir string) {
	r, err := Open(childOptions(dir))
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	var turn Turn
	log, err := r.Begin(&turn, aSession("S"+strconv.Itoa(os.Getpid())))
	if err != nil {
		fmt.Println("begin:", err)
		os.Exit(1)
	}
	out := make([]byte, 0, 64)
	for seq := uint64(1); ; seq++ {
		log.Asked(&turn, time.Now(), statement(seq, "select "+strings.Repeat("x", int(seq%500))), allowed)
		if err := r.Commit(&turn); err != nil {
			fmt.Println("commit:", err)
			os.Exit(1)
		}
		out = append(strconv.AppendUint(out[:0], seq, 10), '\n')
		if _, err := os.Stdout.Write(out); err != nil {
			os.Exit(1)
		}
	}
}

// kill runs a child that records in dir, kills it after it has committed some
// statements, and returns how many it said it had.
func kill(t *testing.T, dir string, after int) (pid int, told uint64) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		n, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			t.Errorf("child: %s", lines.Text())
			break
		}
		if told = n; told == uint64(after) {
			child.Process.Kill()
		}
	}
	child.Process.Kill()
	child.Wait() // says that it was killed
	return child.Process.Pid, told
}

func TestKilledFiftyTimesNothingCommittedIsLost(t *testing.T) {
	dir := t.TempDir()
	opts := childOptions(dir)
	told := map[string]uint64{}
	for range 50 {
		pid, n := kill(t, dir, 1+rand.IntN(400))
		told["S"+strconv.Itoa(pid)] += n
	}
	l := again(t, opts)
	l.Close()

	r, err := Verify(opts.Dir, l.verifier(t), VerifyOptions{})
	if err != nil || !r.OK {
		t.Fatalf("got %v, %v, want a log that verifies", r.Bad, err)
	}
	f, err := OpenFolder(opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := f.Sessions(Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		if s.State != Interrupted {
			t.Errorf("session %s is %s, want %s", s.ID, s.State, Interrupted)
		}
		if uint64(s.Statements) < told[s.ID] {
			t.Errorf("session %s: got %d statements, want the %d that were committed", s.ID, s.Statements, told[s.ID])
		}
		delete(told, s.ID)
	}
	if len(told) > 0 {
		t.Errorf("sessions lost: %v", told)
	}
	t.Logf("%d sessions, %d records, %d segments, %d checkpoints", len(sessions), r.Records, r.Segments, r.Checkpoints)
}

// crashed records a session, of which the last records are not signed, and
// leaves the folder as a crash would.
func crashed(t *testing.T) *aLog {
	t.Helper()
	l := begin(t)
	l.work(t, "S1", 2)
	if err := l.checkpoint(); err != nil {
		t.Fatal(err)
	}
	l.work(t, "S2", 2)
	close(l.stop)
	l.running.Wait()
	l.closed = true
	l.closeFiles()
	return l
}

func segmentFile(l *aLog) string { return filepath.Join(l.opts.Dir, segmentName(1)) }

func TestATornTailIsCutKeptAndTold(t *testing.T) {
	for _, cut := range []int{1, 2, 50, 100, 150} {
		l := crashed(t)
		whole, err := os.ReadFile(segmentFile(l))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(segmentFile(l), int64(len(whole)-cut)); err != nil {
			t.Fatal(err)
		}
		before, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{})
		if err != nil || !before.OK || before.Torn == nil || before.Unsigned != 5 {
			t.Fatalf("cut %d: got %+v, %v, %v, want a torn tail and no error", cut, before, before.Bad, err)
		}
		l = again(t, l.opts)
		records := payloads(t, l.opts.Dir)
		last := records[len(records)-1]
		if recordType(last) != "recovered" {
			t.Errorf("cut %d: the last record is %s, want one that tells of the recovery", cut, last)
		}
		aside, err := filepath.Glob(filepath.Join(l.opts.Dir, "*.torn"))
		if err != nil || len(aside) != 1 {
			t.Fatalf("cut %d: got %v, %v, want one file kept aside", cut, aside, err)
		}
		kept, err := os.ReadFile(aside[0])
		if err != nil || !bytes.Equal(kept, whole[before.Torn.Offset:len(whole)-cut]) {
			t.Errorf("cut %d: got %d bytes kept aside, %v, want the tail", cut, len(kept), err)
		}
		l.Close()
		after, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{})
		if err != nil || !after.OK || after.Torn != nil || after.Unsigned != 0 {
			t.Errorf("cut %d: got %+v, %v, want a whole log", cut, after, err)
		}
	}
}

func TestATornCheckpointIsCutKeptAndTold(t *testing.T) {
	l := crashed(t)
	name := filepath.Join(l.opts.Dir, checkpointsName)
	stat, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, stat.Size()-30); err != nil {
		t.Fatal(err)
	}
	l = again(t, l.opts)
	l.Close()
	r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{})
	if err != nil || !r.OK || r.Unsigned != 0 {
		t.Errorf("got %+v, %v, %v", r, r.Bad, err)
	}
}

func TestASegmentThatHasNoWholeHeaderIsSetAside(t *testing.T) {
	for _, content := range []string{"", "agen", strings.Repeat("\x00", 4096)} {
		l := crashed(t)
		if err := os.WriteFile(filepath.Join(l.opts.Dir, segmentName(2)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		l = again(t, l.opts)
		l.work(t, "S3", 1)
		l.Close()
		r, err := Verify(l.opts.Dir, l.verifier(t), VerifyOptions{})
		if err != nil || !r.OK {
			t.Errorf("%q: got %v, %v, want OK", content, r.Bad, err)
		}
	}
}

// What no crash does must not be signed over.
func TestAForgedLogIsNotOpened(t *testing.T) {
	for _, tt := range []struct {
		name   string
		attack func(t *testing.T, l *aLog)
	}{
		{"a signed record changed", func(t *testing.T, l *aLog) {
			g := forge(t, l.opts.Dir)
			g.change(3, "SELECT 1", "SELECT 2")
			g.write()
		}},
		{"a signed record changed and all relinked", func(t *testing.T, l *aLog) {
			g := forge(t, l.opts.Dir)
			g.change(3, "SELECT 1", "SELECT 2")
			g.relink()
			g.write()
		}},
		{"an unsigned record changed", func(t *testing.T, l *aLog) {
			g := forge(t, l.opts.Dir)
			g.change(9, "SELECT 1", "SELECT 2")
			g.write()
		}},
		{"an unsigned record removed", func(t *testing.T, l *aLog) {
			g := forge(t, l.opts.Dir)
			g.remove(9)
			g.write()
		}},
		{"cut before the checkpoint", func(t *testing.T, l *aLog) {
			if err := os.Truncate(segmentFile(l), 700); err != nil {
				t.Fatal(err)
			}
		}},
		{"all segments gone", func(t *testing.T, l *aLog) {
			if err := os.Remove(segmentFile(l)); err != nil {
				t.Fatal(err)
			}
		}},
		{"all checkpoints gone", func(t *testing.T, l *aLog) {
			if err := os.Remove(filepath.Join(l.opts.Dir, checkpointsName)); err != nil {
				t.Fatal(err)
			}
		}},
		{"signed with another key", func(t *testing.T, l *aLog) {
			g := forge(t, l.opts.Dir)
			g.resign(l.opts.Node)
			g.write()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := crashed(t)
			tt.attack(t, l)
			before := snapshot(t, l.opts.Dir)
			r, err := Open(l.opts)
			if err == nil {
				r.Close()
				t.Fatal("opened, and signed over a forgery")
			}
			if !strings.Contains(err.Error(), "move the folder aside") {
				t.Errorf("got %q, which does not say what to do", err)
			}
			if after := snapshot(t, l.opts.Dir); after != before {
				t.Errorf("the evidence was touched: got %s, want %s", after, before)
			}
		})
	}
}

// snapshot is a checksum over the files of dir that say something.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 { // Open makes an empty checkpoints file where there is none
			fmt.Fprintf(&b, "%s %08x; ", e.Name(), crc32.ChecksumIEEE(data))
		}
	}
	return b.String()
}

func TestAFolderIsRecordedInOnce(t *testing.T) {
	l := begin(t)
	if r, err := Open(l.opts); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v, %v, want a refusal", r, err)
	}
	l.Close()
	again(t, l.opts)
}

func TestFramesSurviveHostileLengths(t *testing.T) {
	header := appendHeader(nil, &chain{})
	for _, n := range []uint32{0, 1, maxFrame + 1, 1 << 31, 1<<32 - 1} {
		data := binary.LittleEndian.AppendUint32(bytes.Clone(header), n)
		f, err := openFrames(bytes.NewReader(append(data, make([]byte, 100)...)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.frame(); !errors.Is(err, errDamaged) || err == io.EOF {
			t.Errorf("length %d: got %v, want %v", n, err, errDamaged)
		}
	}
}
