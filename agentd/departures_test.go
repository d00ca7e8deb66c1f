package agentd_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/internal/town"
	"agentd.dev/agentd/webhook"
)

// Checkpoints leave by agentd's own log, a webhook and a witness, across a
// rotation of the key, and each of them finds what was put back.
func TestCheckpointsLeaveByEveryWay(t *testing.T) {
	t.Parallel()
	w := town.Start(t)
	told := make(chan string, 1000)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var notice struct {
			Agentd struct {
				Kind string
				Data struct {
					Records int64
					Note    string
				}
			}
		}
		if err := webhook.Verify([]byte("sixteen letters!"), body, r.Header.Get(webhook.Header), time.Now(), time.Minute); err != nil {
			t.Errorf("the signature: %v", err)
		}
		if err := json.Unmarshal(body, &notice); err != nil || notice.Agentd.Kind != "checkpoint" {
			t.Errorf("got %s, %v, want a checkpoint", body, err)
		}
		select {
		case told <- notice.Agentd.Data.Note:
		default:
		}
	}))
	t.Cleanup(hook.Close)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("sixteen letters!"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := t.TempDir()
	a := lab.StartAgentd(t, lab.Setup{Policy: "rules: []\n", Config: fmt.Sprintf(`
record:
  heartbeat: 50ms
  key: %s/node.key
  checkpoints: {witnesses: [{name: w1, url: '%s', key: '%s'}]}
webhooks: [{name: archive, url: '%s', secret: {file: %s}, on: [checkpoint]}]
`, keys, w.URL, w.Key, hook.URL, secret)})
	a.Key = filepath.Join(keys, "node.key.pub")
	problem := eventually(t, a, "the witness does not know the log", func(s control.Status) bool { return departure(s, "witness w1").Problem != "" })
	if got := departure(problem, "witness w1"); !strings.Contains(got.Problem, "404") || got.Failures == 0 {
		t.Errorf("got %+v, want that the witness does not know the log", got)
	}
	w.Knows(t, read(t, a.Key))
	first := eventually(t, a, "all have left", func(s control.Status) bool {
		return !slices.ContainsFunc(s.Log.Left, func(d control.Departure) bool { return d.At.IsZero() || d.Problem != "" }) && len(s.Log.Left) == 3
	})
	before := read(t, a.Key)

	out, err := a.Ctl(t, "audit", "rotate-key", "-o", "json")
	if err != nil {
		t.Fatalf("rotate the key: %v\n%s", err, out)
	}
	w.Knows(t, read(t, a.Key)) // as its operator does
	now := departure(first, "witness w1").Records
	eventually(t, a, "the witness follows", func(s control.Status) bool {
		d := departure(s, "witness w1")
		return d.Records > now+2 && d.Problem == ""
	})
	metrics := overSocket(t, a.Socket, "/metrics")
	for _, want := range []string{`agentd_checkpoint_lag_seconds{to="witness w1"}`, `agentd_checkpoint_behind_records{to="journal"}`, `agentd_checkpoint_leave_failures_total{to="webhook archive"}`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	copied := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(copied, os.DirFS(a.Log)); err != nil {
		t.Fatal(err)
	}
	a.Process.Stop(syscall.SIGTERM)

	oldKey := filepath.Join(t.TempDir(), "old.pub")
	if err := os.WriteFile(oldKey, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	var last string
	for len(told) > 0 {
		last = <-told
	}
	kept := filepath.Join(t.TempDir(), "kept")
	if err := os.WriteFile(kept, []byte(last), 0o600); err != nil {
		t.Fatal(err)
	}
	verify := func(dir string, more ...string) (string, error) {
		return a.Ctl(t, append([]string{"audit", "verify", "--dir", dir, "--key", oldKey}, more...)...)
	}
	out, err = verify(a.Log, "--witness", w.Key, "--checkpoint", kept)
	if err != nil || !strings.Contains(out, "witnessed") || !strings.Contains(out, "rotated") || !strings.Contains(out, "a heartbeat is due every 50ms") {
		t.Errorf("the log as it is: %v\n%s\nwant it witnessed, with a rotation", err, out)
	}
	if out, err := verify(copied, "--witness", w.Key); err != nil {
		t.Errorf("a copy of before with what was witnessed then: %v\n%s", err, out)
	}
	if out, err := verify(copied, "--checkpoint", kept); err == nil || !strings.Contains(out, "log rolled back") {
		t.Errorf("a copy of before, with what the webhook told: got %v\n%s\nwant it rolled back", err, out)
	}
	if err := os.WriteFile(filepath.Join(copied, "witnessed"), []byte(read(t, filepath.Join(a.Log, "witnessed"))), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := verify(copied, "--witness", w.Key); err == nil || !strings.Contains(out, "log rolled back") || !strings.Contains(out, "witness.test/w1 has witnessed") {
		t.Errorf("a copy of before, with what was witnessed since: got %v\n%s\nwant it rolled back", err, out)
	}
}

func departure(s control.Status, to string) control.Departure {
	i := slices.IndexFunc(s.Log.Left, func(d control.Departure) bool { return d.To == to })
	if i < 0 {
		return control.Departure{}
	}
	return s.Log.Left[i]
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
