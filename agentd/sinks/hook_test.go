package sinks_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"agentd.dev/agentd/sinks"
	"agentd.dev/agentd/webhook"
	"agentd.dev/policy"
)

// A receiver is a real HTTPS server that takes batches.
type receiver struct {
	*httptest.Server
	answer func(got []entry) int // nil: 200

	mu   sync.Mutex
	seen []entry
	bad  []string
}

type entry struct {
	Index   int64
	Leaf    []byte
	Record  json.RawMessage
	Session *sinks.Session
}

const signing = "a secret to sign with"

func newReceiver(t testing.TB, answer func([]entry) int) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	var batch struct{ Records []entry }
	err := json.Unmarshal(body, &batch)
	if err == nil {
		err = webhook.Verify([]byte(signing), body, req.Header.Get(webhook.Header), time.Now(), time.Minute)
	}
	code := 200
	if r.answer != nil {
		code = r.answer(batch.Records)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.bad = append(r.bad, err.Error())
	}
	if code == 200 {
		r.seen = append(r.seen, batch.Records...)
	}
	w.WriteHeader(code)
}

// got are the indices that were taken, in the order that they came.
func (r *receiver) got() (list []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.seen {
		list = append(list, e.Index)
	}
	return list
}

func (r *receiver) sink(change ...func(*sinks.Config)) sinks.Config {
	c := sinks.Config{Name: "hook", FromStart: true, Webhook: &sinks.Webhook{
		Where: r.URL, URL: secret(r.URL), Secret: secret(signing), TLS: sinks.TLS{Roots: roots{r.Server}},
	}}
	for _, f := range change {
		f(&c)
	}
	return c
}

func TestEveryRecordComesAsItIsInTheLog(t *testing.T) {
	l, r := newLog(t), newReceiver(t, nil)
	l.statement(t, "select * from customers", policy.Verdict{Outcome: policy.Refuse, Rule: "no-pii"})
	l.start(t, r.sink())
	await(t, "the end of the session", func() bool { return len(r.got()) == 6 })
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, e := range r.seen {
		if got := sha256.Sum256(append([]byte{0}, e.Record...)); e.Index != int64(i) || !bytes.Equal(got[:], e.Leaf) {
			t.Errorf("record %d as %d has the hash %x, want %x", i, e.Index, got, e.Leaf)
		}
	}
	if s := r.seen[3].Session; s == nil || s.Workload != "reporter" || s.User != "alice" || s.Database != "shop" {
		t.Errorf("got the session %+v, want reporter's, as alice in shop", s)
	}
	if len(r.bad) > 0 {
		t.Errorf("got %q, want signed batches", r.bad)
	}
}

func TestASinkGoesOnWhereItStopped(t *testing.T) {
	l, r := newLog(t), newReceiver(t, nil)
	l.notes(t, 600)
	s := l.start(t, r.sink())
	await(t, "600 notes", func() bool { return len(r.got()) == 601 })
	s.Rest(0)
	l.notes(t, 100)
	l.start(t, r.sink())
	await(t, "100 more", func() bool { return len(r.got()) >= 701 })
	for i, index := range r.got() {
		if index != int64(i) {
			t.Fatalf("got record %d as number %d, want each once and in order", index, i)
		}
	}
}

func TestANewSinkBeginsWithWhatIsNew(t *testing.T) {
	l, r := newLog(t), newReceiver(t, nil)
	l.notes(t, 50)
	await(t, "a checkpoint", func() bool { return l.Stats().SignedSize == 51 })
	s := l.start(t, r.sink(func(c *sinks.Config) { c.FromStart = false }))
	await(t, "the sink's begin", func() bool { _, err := os.Stat(l.opts.State + "/hook.json"); return err == nil })
	l.notes(t, 5)
	await(t, "5 notes", func() bool { return s.States()["hook"].Delivered == 5 })
	if got, want := r.got(), []int64{51, 52, 53, 54, 55}; !slices.Equal(got, want) {
		t.Errorf("got %d, want %d", got, want)
	}
}

// scratch is a folder for the length of all tests.
var scratch string

// The child of TestNothingIsLostByAKill.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SINKS_CHILD"); dir != "" {
		child(dir)
	}
	var err error
	if scratch, err = os.MkdirTemp("", "sinks"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// child hands a log on until it is killed.
func child(dir string) {
	where := os.Getenv("SINKS_URL")
	s := sinks.New(sinks.Options{
		Node: "node-1", Log: dir, State: os.Getenv("SINKS_STATE"), Signed: func() int64 { return 20_001 },
		Latest: func() []byte { return nil }, Whole: func(int64) bool { return true }, Logger: slog.Default(),
	})
	s.Use([]sinks.Config{{Name: "hook", FromStart: true, Webhook: &sinks.Webhook{URL: secret(where), Where: where, Secret: secret(signing)}}})
	s.Begin()
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	select {}
}

func TestNothingIsLostByAKill(t *testing.T) {
	l := newLog(t)
	l.notes(t, 20_000)
	await(t, "a checkpoint", func() bool { return l.Stats().SignedSize == 20_001 })
	r := &receiver{}
	plain := httptest.NewServer(r)
	defer plain.Close()
	for _, until := range []int{2_000, 9_000, 20_001} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SINKS_CHILD="+l.opts.Log, "SINKS_STATE="+l.opts.State, "SINKS_URL="+plain.URL)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		distinct := func() int {
			seen := map[int64]bool{}
			for _, i := range r.got() {
				seen[i] = true
			}
			return len(seen)
		}
		await(t, fmt.Sprint(until, " records"), func() bool { return distinct() >= until })
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		in.Close()
	}
	got := r.got()
	next := int64(0) // what came again is before it, and nothing is left out
	for _, i := range got {
		if i > next {
			t.Fatalf("record %d came where %d had not", i, next)
		}
		next = max(next, i+1)
	}
	t.Logf("%d of 20001 records came again", len(got)-20_001)
}

func TestARecordThatIsNotWantedKeepsNoOtherBack(t *testing.T) {
	l := newLog(t)
	r := newReceiver(t, func(got []entry) int {
		if slices.ContainsFunc(got, func(e entry) bool { return bytes.Contains(e.Record, []byte(`"note 7"`)) }) {
			return http.StatusBadRequest
		}
		return 200
	})
	l.notes(t, 20)
	s := l.start(t, r.sink())
	await(t, "all but one", func() bool { return len(r.got()) == 20 })
	await(t, "the end of the log", func() bool { return s.States()["hook"].Behind == 0 })
	if got := s.States()["hook"]; got.Refused != 1 || got.Delivered != 20 || slices.Contains(r.got(), 8) {
		t.Errorf("got %+v, want 20 delivered and record 8 refused", got)
	}
}

func TestASinkGetsWhatItAsksFor(t *testing.T) {
	l, r := newLog(t), newReceiver(t, nil)
	l.statement(t, "select 'a secret text'", policy.Verdict{Outcome: policy.Refuse, Rule: "no"})
	l.statement(t, "select 'a secret text'", policy.Verdict{Outcome: policy.Forward, Rule: "yes"})
	s := l.start(t, r.sink(func(c *sinks.Config) { c.Types, c.Verdicts, c.NoText = []string{"request"}, []string{"deny"}, true }))
	await(t, "the end of the log", func() bool { return l.Stats().SignedSize == l.Stats().TreeSize && s.States()["hook"].Behind == 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) != 1 || !bytes.Contains(r.seen[0].Record, []byte(`"rule":"no"`)) || bytes.Contains(r.seen[0].Record, []byte("secret")) {
		t.Errorf("got %+v, want the request that was denied, without its text", r.seen)
	}
}

// The URL of a webhook is a secret, and so is what a receiver is shown.
func TestProblemsTellNoSecret(t *testing.T) {
	l := newLog(t)
	l.notes(t, 1)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	where := "http://user:hidden-password@" + gone.Addr().String() + "/hidden-token"
	gone.Close()
	s := l.start(t,
		sinks.Config{Name: "hook", FromStart: true, Webhook: &sinks.Webhook{URL: secret(where), Secret: secret("hidden-secret")}},
		sinks.Config{Name: "otlp", FromStart: true, OTLP: &sinks.OTLP{URL: where, Header: sinks.Header{Name: "Authorization", Value: secret("hidden-header")}}},
		sinks.Config{Name: "objects", Objects: &sinks.Objects{Endpoint: where, Bucket: "hidden-bucket", Access: secret("hidden-access"), Secret: secret("hidden-key")}},
	)
	for _, name := range []string{"hook", "otlp", "objects"} {
		await(t, "a problem of "+name, func() bool { return s.States()[name].Problem != "" })
		if got := s.States()[name].Problem; strings.Contains(got, "hidden") || !strings.Contains(got, "refused") {
			t.Errorf("%s: got %q, want that the connection was refused, and no secret", name, got)
		}
	}
}
