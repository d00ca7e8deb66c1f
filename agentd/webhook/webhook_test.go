package webhook

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A delivery is what a receiver got.
type delivery struct {
	body   []byte
	header http.Header
	told   told
	text   string
}

// A receiver is a real HTTPS server that takes notices. Answer is what it says
// to each.
type receiver struct {
	*httptest.Server
	got    chan delivery
	answer func(n int, w http.ResponseWriter)
	n      atomic.Int64
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter)) *receiver {
	r := &receiver{got: make(chan delivery, 100), answer: answer}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	var p struct {
		Text   string
		Agentd told
	}
	if err := json.Unmarshal(body, &p); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.answer != nil {
		r.answer(int(r.n.Add(1)), w)
	}
	r.got <- delivery{body, req.Header, p.Agentd, p.Text}
}

// next returns what comes next.
func (r *receiver) next(t *testing.T) delivery {
	t.Helper()
	select {
	case d := <-r.got:
		return d
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came within 20 seconds")
		panic("unreachable")
	}
}

// Pool implements Roots.
func (r *receiver) Pool() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	pool.AddCert(r.Certificate())
	return pool, nil
}

func (r *receiver) hook(name string) Hook {
	return Hook{Name: name, On: Approval | Alert | Record | Reload, URL: func() (string, error) { return r.URL + "/hook", nil }, Secret: secret("one"), Roots: r}
}

func secret(s string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(s), nil }
}

func newSender(t *testing.T, hooks ...Hook) *Sender {
	s := New("node-1", slog.New(slog.DiscardHandler))
	s.first, s.most = 5*time.Millisecond, 20*time.Millisecond
	s.Use(hooks)
	t.Cleanup(func() { s.Close(0) })
	return s
}

func alertOf(title string) *Notice {
	return &Notice{Kind: Alert, What: "alert", At: time.Now(), Title: title}
}

// await waits until a hook's state is as wanted.
func await(t *testing.T, s *Sender, hook string, want func(State) bool) State {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		state := s.States()[hook]
		if want(state) {
			return state
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the hook is %+v, and stays so", state)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestANoticeComesSignedAndIsShownBySlack(t *testing.T) {
	r := newReceiver(t, nil)
	s := newSender(t, r.hook("a"))
	s.Send(&Notice{
		Kind: Approval, What: "asked", At: time.Now(), Title: "<!channel> wants & asks",
		Facts: []Fact{{"workload", "agents/<@U1>"}}, Statement: "delete from ```orders",
		Decide: func(as string) string { return "https://desk/approvals/1?as=" + as },
		Data:   map[string]int{"need": 2},
	})
	d := r.next(t)
	if err := Verify([]byte("one"), d.body, d.header.Get(Header), time.Now(), time.Minute); err != nil {
		t.Errorf("the signature %q: %v", d.header.Get(Header), err)
	}
	if got, want := d.text, "&lt;!channel&gt; wants &amp; asks"; got != want {
		t.Errorf("text is %q, want %q", got, want)
	}
	if d.told.Kind != "approval" || d.told.What != "asked" || d.told.Node != "node-1" || d.told.Statement != "delete from ```orders" || d.told.Decide == "" {
		t.Errorf("got %+v", d.told)
	}
	var shown struct{ Blocks []map[string]any }
	if err := json.Unmarshal(d.body, &shown); err != nil {
		t.Fatal(err)
	}
	for _, b := range shown.Blocks {
		text, _ := json.Marshal(b)
		if strings.Contains(string(text), "mrkdwn") {
			t.Errorf("markup would be read in %s", text)
		}
	}
	if len(shown.Blocks) != 5 {
		t.Errorf("got %d blocks, want 5: title, facts, statement, link and place", len(shown.Blocks))
	}
}

func TestANoticeIsBroughtAgainUntilItIsTaken(t *testing.T) {
	r := newReceiver(t, func(n int, w http.ResponseWriter) {
		if n < 4 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	s := newSender(t, r.hook("a"))
	s.Send(alertOf("one"))
	first := r.next(t)
	for range 3 {
		if again := r.next(t); again.told.ID != first.told.ID {
			t.Fatalf("got notice %s, want %s again", again.told.ID, first.told.ID)
		}
	}
	got := await(t, s, "a", func(s State) bool { return s.Delivered == 1 })
	if got.Failures != 3 || got.Dropped != 0 || got.Waiting != 0 || got.Problem != "" {
		t.Errorf("the hook is %+v, want 3 failures and nothing dropped", got)
	}
}

func TestANoticeWaitsForAReceiverThatIsNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	r := &receiver{got: make(chan delivery, 100)}
	r.Server = httptest.NewUnstartedServer(r)
	s := newSender(t, Hook{Name: "a", On: Alert, URL: func() (string, error) { return "http://" + addr, nil }})
	s.Send(alertOf("one"))
	if got := await(t, s, "a", func(s State) bool { return s.Failures > 0 }); got.Waiting != 1 || got.Lag == 0 {
		t.Errorf("the hook is %+v, want one that waits", got)
	}
	if r.Listener, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	r.Start()
	t.Cleanup(r.Close)
	if got := r.next(t).told.Title; got != "one" {
		t.Errorf("got %q, want one", got)
	}
}

func TestNoticesComeInOrder(t *testing.T) {
	r := newReceiver(t, func(n int, w http.ResponseWriter) {
		if n%3 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	s := newSender(t, r.hook("a"))
	for i := range 30 {
		s.Send(alertOf(fmt.Sprint(i)))
	}
	for i, last := 0, ""; i < 30; {
		switch title := r.next(t).told.Title; title {
		case fmt.Sprint(i):
			last, i = title, i+1
		case last: // again
		default:
			t.Fatalf("got %s, want %d", title, i)
		}
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	elsewhere := newReceiver(t, nil)
	r := newReceiver(t, func(_ int, w http.ResponseWriter) {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	s := newSender(t, r.hook("a"))
	s.Send(alertOf("one"))
	got := await(t, s, "a", func(s State) bool { return s.Dropped == 1 })
	if !strings.Contains(got.Problem, "redirects are not followed") || got.Failures != 1 {
		t.Errorf("the hook is %+v", got)
	}
	if n := elsewhere.n.Load() + int64(len(elsewhere.got)); n != 0 {
		t.Errorf("%d requests went where the redirect led", n)
	}
}

func TestAnotherSecretSignsFromTheNextAttemptOn(t *testing.T) {
	r := newReceiver(t, nil)
	var now atomic.Value
	now.Store("one")
	h := r.hook("a")
	h.Secret = func() ([]byte, error) { return []byte(now.Load().(string)), nil }
	s := newSender(t, h)
	for _, key := range []string{"one", "two"} {
		now.Store(key)
		s.Send(alertOf(key))
		d := r.next(t)
		if err := Verify([]byte(key), d.body, d.header.Get(Header), time.Now(), time.Minute); err != nil {
			t.Errorf("secret %s: %v", key, err)
		}
	}
}

func TestWithoutItsSecretNothingGoesOut(t *testing.T) {
	r := newReceiver(t, nil)
	h := r.hook("a")
	h.Secret = func() ([]byte, error) { return nil, fmt.Errorf("no such file") }
	s := newSender(t, h)
	s.Send(alertOf("one"))
	await(t, s, "a", func(s State) bool { return s.Failures > 2 })
	if len(r.got) != 0 {
		t.Error("an unsigned notice went out")
	}
}

func TestAReceiverThatIsSomebodyElseGetsNothing(t *testing.T) {
	r := newReceiver(t, nil)
	h := r.hook("a")
	h.Roots = nil
	s := newSender(t, h)
	s.Send(alertOf("one"))
	got := await(t, s, "a", func(s State) bool { return s.Failures > 0 })
	if !strings.Contains(got.Problem, "certificate") || len(r.got) != 0 {
		t.Errorf("the hook is %+v, and %d notices came", got, len(r.got))
	}
}

func TestAHookThatHangsHoldsNothingUp(t *testing.T) {
	free := make(chan struct{})
	r := newReceiver(t, func(int, http.ResponseWriter) { <-free })
	good := newReceiver(t, nil)
	s := newSender(t, r.hook("hangs"), good.hook("good"))
	t.Cleanup(func() { close(free) })
	start := time.Now()
	for i := range maxWaiting + 50 {
		s.Send(alertOf(fmt.Sprint(i)))
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("%d notices took %s to send", maxWaiting+50, took)
	}
	if got := s.States()["hangs"]; got.Waiting != maxWaiting || got.Dropped < 49 {
		t.Errorf("the hook is %+v, want %d waiting and the rest dropped", got, maxWaiting)
	}
	if got := good.next(t).told.Title; got == "" {
		t.Error("the other hook got nothing")
	}
}

func TestWhatIsTooOldIsNotBroughtAnyMore(t *testing.T) {
	r := newReceiver(t, nil)
	s := newSender(t, r.hook("a"))
	n := alertOf("late")
	n.Until = time.Now().Add(-time.Second)
	s.Send(n)
	s.Send(alertOf("new"))
	if got := r.next(t).told.Title; got != "new" {
		t.Errorf("got %q, want new", got)
	}
	await(t, s, "a", func(s State) bool { return s.Dropped == 1 && s.Delivered == 1 })
}

func TestWhatAReceiverCannotTakeKeepsNothingBack(t *testing.T) {
	r := newReceiver(t, nil)
	r.answer = func(n int, w http.ResponseWriter) {
		if n <= maxAnswered {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}
	s := newSender(t, r.hook("a"))
	s.Send(alertOf("poison"))
	s.Send(alertOf("good"))
	await(t, s, "a", func(s State) bool { return s.Dropped == 1 && s.Delivered == 1 })
}

func TestCloseBringsWhatWaits(t *testing.T) {
	r := newReceiver(t, nil)
	s := newSender(t, r.hook("a"))
	for i := range 10 {
		s.Send(alertOf(fmt.Sprint(i)))
	}
	s.Close(10 * time.Second)
	if len(r.got) != 10 {
		t.Errorf("%d notices came, want 10", len(r.got))
	}
}

func TestASignatureIsOfItsBodySecretAndTime(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	body, key := []byte(`{"a":1}`), []byte("secret")
	good := Sign(key, body, now)
	for _, tt := range []struct {
		name, header, body string
		key                string
		at                 time.Time
		good               bool
	}{
		{"as it is", good, `{"a":1}`, "secret", now, true},
		{"within the time", good, `{"a":1}`, "secret", now.Add(4 * time.Minute), true},
		{"while secrets change", good + ",v1=" + strings.Repeat("00", 32), `{"a":1}`, "secret", now, true},
		{"another body", good, `{"a":2}`, "secret", now, false},
		{"another secret", good, `{"a":1}`, "other", now, false},
		{"an old one", good, `{"a":1}`, "secret", now.Add(6 * time.Minute), false},
		{"one from the future", good, `{"a":1}`, "secret", now.Add(-6 * time.Minute), false},
		{"another time", strings.Replace(good, "t=1800000000", "t=1800000001", 1), `{"a":1}`, "secret", now, false},
		{"two times", "t=1800000000," + good, `{"a":1}`, "secret", now, false},
		{"none", "", `{"a":1}`, "secret", now, false},
		{"no secret", good, `{"a":1}`, "", now, false},
		{"a long header", strings.Repeat("v1=00,", 1000) + good, `{"a":1}`, "secret", now, false},
	} {
		if err := Verify([]byte(tt.key), []byte(tt.body), tt.header, tt.at, 5*time.Minute); (err == nil) != tt.good {
			t.Errorf("%s: got %v, want good: %t", tt.name, err, tt.good)
		}
	}
}
