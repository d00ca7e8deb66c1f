package sinks_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"agentd.dev/agentd/sinks"
	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

// aLog is a log that is written, and what sinks of it need.
type aLog struct {
	*recorder.Recorder
	opts sinks.Options
}

func newLog(t testing.TB, change ...func(*recorder.Options)) *aLog {
	t.Helper()
	dir := t.TempDir()
	opts := recorder.Options{Dir: filepath.Join(dir, "log"), KeyFile: filepath.Join(dir, "key", "node"), Node: "agentd/test", Interval: 5 * time.Millisecond, Reserve: 1}
	for _, c := range change {
		c(&opts)
	}
	r, err := recorder.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return &aLog{r, sinks.Options{
		Node: "node-1", Version: "1", Log: opts.Dir, State: filepath.Join(dir, "sinks"),
		Signed: func() int64 { return r.Stats().SignedSize }, Latest: r.Latest, Whole: func(int64) bool { return true },
		Logger: slog.New(slog.DiscardHandler),
	}}
}

// start has sinks work until the test ends or the set is told to rest.
func (l *aLog) start(t testing.TB, list ...sinks.Config) *sinks.Set {
	t.Helper()
	s := sinks.New(l.opts)
	s.Use(list)
	s.Begin()
	t.Cleanup(func() { s.Rest(0) })
	return s
}

func (l *aLog) notes(t testing.TB, n int) {
	t.Helper()
	for i := range n {
		if err := l.Note("test", fmt.Sprint("note ", i)); err != nil {
			t.Fatal(err)
		}
	}
}

type login map[string]string

func (l login) Field(name string) any {
	if v, ok := l[name]; ok {
		return v
	}
	return nil
}

const traceID = "0af7651916cd43dd8448eb211c80319c"

// statement records a session that asks one thing.
func (l *aLog) statement(t testing.TB, text string, v policy.Verdict) {
	t.Helper()
	at := time.Now()
	var turn recorder.Turn
	log, err := l.Begin(&turn, &policy.Session{
		ID: "S1", Start: at, Scope: "plaintext",
		Identity: policy.Identity{Workload: "reporter", Source: "pod", Namespace: "team-a", Pod: "reporter-1", Claims: map[string]string{"task": "T-1"}, Process: policy.Process{PID: 42, Comm: "psql"}},
		Target:   policy.Target{Name: "orders", Address: netip.MustParseAddrPort("192.0.2.1:5432"), Protocol: "postgres"},
	})
	if err != nil {
		t.Fatal(err)
	}
	log.Asked(&turn, at, &decoders.Event{Kind: decoders.Login, Seq: 1, Facts: login{"login.user": "alice", "login.database": "shop"}}, policy.Verdict{})
	log.Asked(&turn, at, &decoders.Event{Kind: decoders.Request, Seq: 2, Text: []byte(text), Record: []byte(text), Claims: []decoders.Claim{{Key: "trace", Value: traceID}}}, v)
	log.Told(&turn, at.Add(time.Millisecond), &decoders.Event{Kind: decoders.Outcome, Seq: 2, Result: decoders.Result{Rows: 3, Tag: "SELECT 3"}})
	log.End(&turn, at.Add(time.Second), recorder.End{Reason: "client closed"})
	if err := l.Commit(&turn); err != nil {
		t.Fatal(err)
	}
}

// roots trust a test's server.
type roots struct{ server *httptest.Server }

func (r roots) Pool() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	pool.AddCert(r.server.Certificate())
	return pool, nil
}

func secret(text string) sinks.Secret {
	return func(context.Context) (string, error) { return text, nil }
}

// await waits until a condition holds.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s did not come about within a minute", what)
		}
	}
}
