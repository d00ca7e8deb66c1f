package witness

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/internal/town"
	"agentd.dev/recorder"
)

// A node is a log that is shown to a witness.
type node struct {
	*recorder.Recorder
	opts recorder.Options
}

func newNode(t *testing.T) *node {
	t.Helper()
	dir := t.TempDir()
	opts := recorder.Options{Dir: filepath.Join(dir, "log"), KeyFile: filepath.Join(dir, "key"), Node: "agentd/test", Interval: 2 * time.Millisecond, Reserve: 1}
	r, err := recorder.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{r, opts}
	t.Cleanup(func() { n.Close() })
	return n
}

// grow records some, and signs them.
func (n *node) grow(t *testing.T, records int) {
	t.Helper()
	for range records {
		if err := n.Note("test", "a note"); err != nil {
			t.Fatal(err)
		}
	}
	n.signed(t, n.Stats().TreeSize)
}

// signed waits until a checkpoint is of so many records.
func (n *node) signed(t *testing.T, size int64) {
	t.Helper()
	until(t, "no checkpoint", func() bool {
		got, err := recorder.SizeOf(n.Latest())
		return err == nil && got >= size
	})
}

// until waits until something is so.
func until(t *testing.T, otherwise string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s within a minute", otherwise)
		case <-time.After(time.Millisecond):
		}
	}
}

func (n *node) verifier(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(n.opts.KeyFile + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// keeper returns one for w, as agentd has it after a start.
func (n *node) keeper(t *testing.T, w Witness) *Keeper {
	t.Helper()
	kept, err := recorder.OpenWitnessed(n.opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	k := New(w, Options{Folder: n.opts.Dir, Latest: n.Latest, Kept: kept, Every: 5 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	k.pause = 5 * time.Millisecond
	t.Cleanup(func() { k.Close(); kept.Close() })
	return k
}

// aWitness is a real one that knows a node, and how agentd knows it.
func aWitness(t *testing.T, n *node) (*town.Witness, Witness) {
	t.Helper()
	w := town.Start(t)
	w.Knows(t, n.verifier(t))
	key, err := recorder.ParseWitnessKey(w.Key)
	if err != nil {
		t.Fatal(err)
	}
	return w, Witness{Name: "w1", URL: w.URL + "/", Key: key}
}

// witnessed is what verify says of the log with the witness's key.
func (n *node) witnessed(t *testing.T, w Witness) recorder.Report {
	t.Helper()
	r, err := recorder.Verify(n.opts.Dir, n.verifier(t), recorder.VerifyOptions{Witnesses: []*recorder.WitnessKey{w.Key}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestARealWitnessCosignsAGrowingLog(t *testing.T) {
	n := newNode(t)
	_, w := aWitness(t, n)
	k := n.keeper(t, w)
	for i := range 20 {
		n.grow(t, 1+i*i)
		if err := k.Show(t.Context()); err != nil {
			t.Fatalf("after %d records: %v", n.Stats().TreeSize, err)
		}
		if got := k.State(); got.Size != n.Stats().SignedSize || got.At.IsZero() || got.Problem != "" {
			t.Errorf("got %+v, want %d records seen", got, n.Stats().SignedSize)
		}
	}
	if err := k.Show(t.Context()); err != nil { // nothing is new
		t.Errorf("the same again: %v", err)
	}
	r := n.witnessed(t, w)
	if !r.OK || len(r.Witnessed) != 1 || r.Witnessed[0].Size != n.Stats().SignedSize || r.Witnessed[0].Count != 21 {
		t.Errorf("got %v, %+v, want 21 cosigned, the last of %d records", r.Bad, r.Witnessed, n.Stats().SignedSize)
	}
}

func TestAfterARestartItGoesOnWhereTheWitnessIs(t *testing.T) {
	n := newNode(t)
	s, w := aWitness(t, n)
	n.grow(t, 100)
	if err := n.keeper(t, w).Show(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.grow(t, 100)
	if err := n.keeper(t, w).Show(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked := s.Asked(); len(asked) != 2 || !strings.HasPrefix(asked[1], "POST /add-checkpoint\nold 101\n") {
		t.Errorf("got %q, want the second from 101", asked)
	}

	// What it kept is gone: the witness says how far it is.
	if err := os.Remove(filepath.Join(n.opts.Dir, "witnessed")); err != nil {
		t.Fatal(err)
	}
	n.grow(t, 100)
	if err := n.keeper(t, w).Show(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked := s.Asked(); len(asked) != 4 || !strings.Contains(asked[2], "old 0\n\nagentd") || !strings.Contains(asked[3], "old 201\n") {
		t.Errorf("got %q, want 0 and then 201", asked[2:])
	}
}

func TestAWitnessThatHasSeenMoreTellsOfARollBack(t *testing.T) {
	n := newNode(t)
	_, w := aWitness(t, n)
	n.grow(t, 100)
	n.Close()
	before := t.TempDir()
	if err := os.CopyFS(before, os.DirFS(n.opts.Dir)); err != nil {
		t.Fatal(err)
	}
	again := func(dir string) *node {
		opts := n.opts
		opts.Dir = dir
		r, err := recorder.Open(opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return &node{r, opts}
	}
	n = again(n.opts.Dir)
	n.grow(t, 100)
	if err := n.keeper(t, w).Show(t.Context()); err != nil {
		t.Fatal(err)
	}

	back := again(before)
	back.grow(t, 1)
	k := back.keeper(t, w)
	if err := k.Show(t.Context()); err == nil || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("got %v, want that it was rolled back", err)
	}
	back.grow(t, 500) // beyond what the witness has seen: then no proof fits
	if err := k.Show(t.Context()); err == nil || !strings.Contains(err.Error(), "another history") {
		t.Errorf("got %v, want that the witness knows another history", err)
	}
	if got := k.State(); got.Failures != 2 || !strings.Contains(got.Problem, "another history") {
		t.Errorf("got %+v, want two failures", got)
	}
}

func TestWhatIsNoCosignatureIsNotKept(t *testing.T) {
	n := newNode(t)
	n.grow(t, 10)
	for name, answer := range map[string]struct {
		says string
		of   func(w http.ResponseWriter)
	}{
		"nothing":         {"no cosignature", func(w http.ResponseWriter) {}},
		"not a signature": {"no cosignature", func(w http.ResponseWriter) { io.WriteString(w, "hello\n") }},
		"a redirect":      {"it answered 302", func(w http.ResponseWriter) { w.Header().Set("Location", "/x"); w.WriteHeader(302) }},
		"an unknown key":  {"(403)", func(w http.ResponseWriter) { w.WriteHeader(403) }},
		"an unknown log":  {"(404)", func(w http.ResponseWriter) { w.WriteHeader(404) }},
		"a bare conflict": {"another history", func(w http.ResponseWriter) { w.WriteHeader(409) }},
		"a negative size": {"another history", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/x.tlog.size")
			w.WriteHeader(409)
			io.WriteString(w, "-1\n")
		}},
		"a size beyond us": {"rolled back", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/x.tlog.size")
			w.WriteHeader(409)
			io.WriteString(w, "999\n")
		}},
		"too much": {"longer than", func(w http.ResponseWriter) { io.WriteString(w, strings.Repeat("x", 20<<10)) }},
		"our own signature": {"no cosignature", func(w http.ResponseWriter) {
			_, sigs, _ := strings.Cut(string(n.Latest()), "\n\n")
			io.WriteString(w, sigs)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := aWitness(t, n)
			s.Answer(func(w http.ResponseWriter) bool { answer.of(w); return true })
			if err := n.keeper(t, w).Show(t.Context()); err == nil || !strings.Contains(err.Error(), answer.says) {
				t.Errorf("got %v, want %q", err, answer.says)
			}
			if r := n.witnessed(t, w); r.OK || r.Bad.Kind != recorder.NotWitnessed {
				t.Errorf("got %v, want that it is not witnessed", r.Bad)
			}
		})
	}
}

func TestAWitnessThatComesBackGetsTheLatest(t *testing.T) {
	n := newNode(t)
	s, w := aWitness(t, n)
	k := n.keeper(t, w)
	s.Answer(func(w http.ResponseWriter) bool { w.WriteHeader(503); return true })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	for range 3 {
		n.grow(t, 10)
		failed := k.State().Failures
		until(t, "it is not asked again", func() bool { return k.State().Failures > failed })
	}
	s.Answer(nil)
	until(t, "the witness is not up to date", func() bool { return k.State().Size == n.Stats().SignedSize && k.State().Problem == "" })
	cancel()
	<-done
	if r := n.witnessed(t, w); !r.OK || r.Witnessed[0].Size != n.Stats().SignedSize {
		t.Errorf("got %v, %+v, want all witnessed", r.Bad, r.Witnessed)
	}
}
