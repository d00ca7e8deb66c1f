package witness

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cosigner "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/witness/persistence/inmemory"
	real "github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"

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

// A town is a real witness (transparency-dev/witness) behind HTTP.
type town struct {
	*httptest.Server
	key *recorder.WitnessKey

	mu     sync.Mutex
	logs   map[string]note.Verifier
	asked  []string // requests
	answer func(http.ResponseWriter) bool
}

func newTown(t *testing.T, nodes ...*node) *town {
	t.Helper()
	signing, verifying, err := note.GenerateKey(rand.Reader, "witness.test/w1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := cosigner.NewSignerForCosignatureV1(signing)
	if err != nil {
		t.Fatal(err)
	}
	s := &town{logs: map[string]note.Verifier{}}
	if s.key, err = recorder.ParseWitnessKey(verifying); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		s.knows(t, n)
	}
	w, err := real.New(t.Context(), real.Opts{
		Persistence: inmemory.New(), Signers: []note.Signer{signer},
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			v, ok := s.logs[origin]
			return v, ok, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	add := real.NewHTTPHandler(w).AddCheckpoint
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path+"\n"+string(body))
		answer := s.answer
		s.mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if answer == nil || !answer(w) {
			add(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *town) knows(t *testing.T, n *node) {
	t.Helper()
	v, err := note.NewVerifier(n.verifier(t))
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs[n.opts.Node] = v
}

func (s *town) witness() Witness { return Witness{Name: "w1", URL: s.URL + "/", Key: s.key} }

// witnessed is what verify says of the log with the witness's key.
func (n *node) witnessed(t *testing.T, s *town) recorder.Report {
	t.Helper()
	r, err := recorder.Verify(n.opts.Dir, n.verifier(t), recorder.VerifyOptions{Witnesses: []*recorder.WitnessKey{s.key}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestARealWitnessCosignsAGrowingLog(t *testing.T) {
	n := newNode(t)
	s := newTown(t, n)
	k := n.keeper(t, s.witness())
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
	r := n.witnessed(t, s)
	if !r.OK || len(r.Witnessed) != 1 || r.Witnessed[0].Size != n.Stats().SignedSize || r.Witnessed[0].Count != 21 {
		t.Errorf("got %v, %+v, want 21 cosigned, the last of %d records", r.Bad, r.Witnessed, n.Stats().SignedSize)
	}
}

func TestAfterARestartItGoesOnWhereTheWitnessIs(t *testing.T) {
	n := newNode(t)
	s := newTown(t, n)
	n.grow(t, 100)
	if err := n.keeper(t, s.witness()).Show(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.grow(t, 100)
	if err := n.keeper(t, s.witness()).Show(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.asked) != 2 || !strings.HasPrefix(s.asked[1], "POST /add-checkpoint\nold 101\n") {
		t.Errorf("got %q, want the second from 101", s.asked)
	}

	// What it kept is gone: the witness says how far it is.
	if err := os.Remove(filepath.Join(n.opts.Dir, "witnessed")); err != nil {
		t.Fatal(err)
	}
	n.grow(t, 100)
	if err := n.keeper(t, s.witness()).Show(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.asked) != 4 || !strings.Contains(s.asked[2], "old 0\n\nagentd") || !strings.Contains(s.asked[3], "old 201\n") {
		t.Errorf("got %q, want 0 and then 201", s.asked[2:])
	}
}

func TestAWitnessThatHasSeenMoreTellsOfARollBack(t *testing.T) {
	n := newNode(t)
	s := newTown(t, n)
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
	if err := n.keeper(t, s.witness()).Show(t.Context()); err != nil {
		t.Fatal(err)
	}

	back := again(before)
	back.grow(t, 1)
	k := back.keeper(t, s.witness())
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
			s := newTown(t, n)
			s.answer = func(w http.ResponseWriter) bool { answer.of(w); return true }
			if err := n.keeper(t, s.witness()).Show(t.Context()); err == nil || !strings.Contains(err.Error(), answer.says) {
				t.Errorf("got %v, want %q", err, answer.says)
			}
			if r := n.witnessed(t, s); r.OK || r.Bad.Kind != recorder.NotWitnessed {
				t.Errorf("got %v, want that it is not witnessed", r.Bad)
			}
		})
	}
}

func TestAWitnessThatComesBackGetsTheLatest(t *testing.T) {
	n := newNode(t)
	s := newTown(t, n)
	k := n.keeper(t, s.witness())
	s.mu.Lock()
	s.answer = func(w http.ResponseWriter) bool { w.WriteHeader(503); return true }
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	for range 3 {
		n.grow(t, 10)
		failed := k.State().Failures
		until(t, "it is not asked again", func() bool { return k.State().Failures > failed })
	}
	s.mu.Lock()
	s.answer = nil
	s.mu.Unlock()
	until(t, "the witness is not up to date", func() bool { return k.State().Size == n.Stats().SignedSize && k.State().Problem == "" })
	cancel()
	<-done
	if r := n.witnessed(t, s); !r.OK || r.Witnessed[0].Size != n.Stats().SignedSize {
		t.Errorf("got %v, %+v, want all witnessed", r.Bad, r.Witnessed)
	}
}
