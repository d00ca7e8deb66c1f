package agentd_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
)

// A sink that comes by a reload brings what is recorded from then on, hung ones
// beside it, and the end of the log when agentd stops.
func TestTheRecordIsHandedOn(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got strings.Builder
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got.Write(body)
	}))
	defer receiver.Close()
	release := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hung.Close()
	defer close(release)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret to sign with"), 0o600); err != nil {
		t.Fatal(err)
	}

	server := lab.Postgres(t)
	server.SQL(t, customers)
	a := lab.StartAgentd(t, lab.Setup{Policy: denyOther, Target: server})
	c := converse(t, a, server)
	edit(t, a, func(config string) string {
		return config + fmt.Sprintf("\nlimits: {drain: 100ms}\nsinks:\n  - {name: lake, webhook: {url: %q, secret: {file: %q}}}\n  - {name: stuck, otlp: {url: %q}}\n", receiver.URL, secret, hung.URL)
	})
	sink := func(name string, holds func(control.Sink) bool) func(control.Status) bool {
		return func(s control.Status) bool {
			for _, k := range s.Sinks {
				if k.Name == name {
					return holds(k)
				}
			}
			return false
		}
	}
	eventually(t, a, "the sink has begun", sink("lake", func(k control.Sink) bool { return k.Delivered > 0 && k.Behind == 0 }))
	if got := c.say(t, "select 'other' as other_name;"); !strings.Contains(got, "no-other") {
		t.Fatalf("got %q, want it refused", got)
	}
	heard := func(want string) bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(got.String(), want)
	}
	eventually(t, a, "the refusal is handed on", func(control.Status) bool { return heard(`"rule":"no-other"`) })
	s := eventually(t, a, "the other is behind", sink("stuck", func(k control.Sink) bool { return k.Behind > 0 && k.Delivered == 0 }))
	if len(s.Sinks) != 2 {
		t.Errorf("got %+v, want two sinks", s.Sinks)
	}
	a.Process.Stop(syscall.SIGTERM)
	if !heard(`"type":"stop"`) {
		t.Error("the end of the log was not handed on")
	}
}
