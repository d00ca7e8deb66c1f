// Package town runs a real witness for tests: transparency-dev/witness, behind
// HTTP on this machine.
package town

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	cosigner "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/witness/persistence/inmemory"
	"github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"
)

// A Witness is one that runs until its test ends.
type Witness struct {
	URL string
	Key string // its verifier key

	mu     sync.Mutex // guards what follows
	logs   map[string]note.Verifier
	asked  []string
	answer func(http.ResponseWriter) bool
}

// Start runs a witness that knows no log yet.
func Start(t testing.TB) *Witness {
	t.Helper()
	w := &Witness{logs: map[string]note.Verifier{}}
	signing, verifying, err := note.GenerateKey(rand.Reader, "witness.test/w1")
	if err != nil {
		t.Fatal(err)
	}
	w.Key = verifying
	signer, err := cosigner.NewSignerForCosignatureV1(signing)
	if err != nil {
		t.Fatal(err)
	}
	real, err := witness.New(context.Background(), witness.Opts{
		Persistence: inmemory.New(), Signers: []note.Signer{signer}, VerifierForLog: w.verifier,
	})
	if err != nil {
		t.Fatal(err)
	}
	add := witness.NewHTTPHandler(real).AddCheckpoint
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if answer := w.note(r.Method + " " + r.URL.Path + "\n" + string(body)); answer == nil || !answer(out) {
			add(out, r)
		}
	}))
	t.Cleanup(server.Close)
	w.URL = server.URL
	return w
}

func (w *Witness) verifier(_ context.Context, origin string) (note.Verifier, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, ok := w.logs[origin]
	return v, ok, nil
}

func (w *Witness) note(request string) func(http.ResponseWriter) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, request)
	return w.answer
}

// Knows has it know a log by its verifier key, in place of the one before.
func (w *Witness) Knows(t testing.TB, verifierKey string) {
	t.Helper()
	v, err := note.NewVerifier(strings.TrimSpace(verifierKey))
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs[v.Name()] = v
}

// Answer has answer reply in its place, where that returns true; nil for never.
func (w *Witness) Answer(answer func(http.ResponseWriter) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

// Asked returns the requests so far: method, path and body.
func (w *Witness) Asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked)
}
