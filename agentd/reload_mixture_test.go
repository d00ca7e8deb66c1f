package agentd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/recorder"
)

// While files change a thousand times, a third of the times for the worse, each
// statement is judged, and by one version of both of them: what is denied by a
// version's rule in one file is alerted to by that version's rule in the other.
func TestNoStatementIsJudgedByAMixtureOfRules(t *testing.T) {
	t.Parallel()
	const versions, sessions = 1000, 2
	server := lab.Postgres(t)
	a := lab.NewAgentd(t, lab.Setup{Policy: versionOf("deny", 0), Target: server})
	files := versioned(t, a)
	files.write(t, 0, 0)
	if err := a.Start(t); err != nil {
		t.Fatal(err)
	}

	var stop atomic.Bool
	var busy sync.WaitGroup
	var asked atomic.Int64
	for range sessions {
		c := converse(t, a, server)
		busy.Go(func() {
			last := 0
			for !stop.Load() {
				fmt.Fprintf(c.in, "select 'a statement';\n\\echo --\n")
				said := ""
				for !strings.HasSuffix(said, "--\n") {
					line, err := c.out.ReadString('\n')
					if said += line; err != nil {
						t.Errorf("the session ended: %s%v", said, err)
						return
					}
				}
				asked.Add(1)
				m := regexp.MustCompile(`rule deny-(\d+)`).FindStringSubmatch(said)
				if m == nil {
					t.Errorf("got %q, want it denied by some version", said)
					return
				}
				if n, _ := strconv.Atoi(m[1]); n < last {
					t.Errorf("got version %d after %d", n, last)
				} else {
					last = n
				}
			}
		})
	}

	client := control.NewClient(a.Socket)
	defer client.Close()
	seen, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= versions && !t.Failed(); n++ {
		wrong := 0
		if n%3 == 0 {
			wrong = 1 + n%2 // in the one file or in the other
		}
		files.write(t, n, wrong)
		if err := a.Process.Cmd.Process.Signal(unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		seen = files.read(t, client, seen, n, wrong)
	}
	stop.Store(true)
	busy.Wait()

	judged, used := versionsOf(t, a)
	if judged < asked.Load() || judged == 0 {
		t.Errorf("got %d statements in the record, want the %d that were asked", judged, asked.Load())
	}
	if used < 50 {
		t.Errorf("got statements by %d versions, want many", used)
	}
	t.Logf("%d statements by %d versions", judged, used)
}

func versionOf(do string, n int) string {
	more := "message: Not now."
	if do == "alert" {
		more = ""
	}
	return fmt.Sprintf("rules:\n  - {name: %s-%d, on: request, do: %s, %s}\n", do, n, do, more)
}

// A pair of policy files is written where nobody watches, so that the daemon
// reads them when it is told to.
type pair [2]string

func versioned(t *testing.T, a *lab.Agentd) (files pair) {
	t.Helper()
	aside := filepath.Join(a.Dir, "aside")
	if err := os.Mkdir(aside, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"policy.yaml", "second.yaml"} {
		inForce := filepath.Join(a.Dir, "policies", name)
		write(t, inForce, "rules: []\n")
		files[i] = filepath.Join(aside, name)
		if err := os.Link(inForce, files[i]); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// write makes the files say version n, one of them wrongly: 1 or 2, or 0 for none.
func (p pair) write(t *testing.T, n, wrong int) {
	t.Helper()
	for i, do := range []string{"deny", "alert"} {
		text := versionOf(do, n)
		if i+1 == wrong {
			text = strings.Replace(text, "on: request", fmt.Sprintf("on: request, version%d: x", n), 1)
		}
		write(t, p[i], text)
	}
}

// read waits until version n has been read.
func (p pair) read(t *testing.T, client *control.Client, before control.Status, n, wrong int) control.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		s, err := client.Status(ctx)
		switch {
		case err != nil:
			t.Fatalf("version %d was not read: %v", n, err)
		case wrong > 0 && strings.Contains(s.Policy.Error, fmt.Sprintf("version%d", n)):
			return s
		case wrong == 0 && s.Policy.Error == "" && s.Policy.Loaded.After(before.Policy.Loaded):
			return s
		}
	}
}

// versionsOf counts the requests that were recorded, and the versions that they
// were denied by; each must be denied and alerted to by the same.
func versionsOf(t *testing.T, a *lab.Agentd) (requests int64, versions int) {
	t.Helper()
	folder, err := recorder.OpenFolder(a.Log)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, s := range summaries(t, a) {
		told, err := folder.Session(s.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range told.Entries {
			if e.Kind != "request" {
				continue
			}
			requests++
			version, denied := strings.CutPrefix(e.Rule, "deny-")
			if !denied || e.Verdict != "deny" || len(e.Alerts) != 1 || e.Alerts[0] != "alert-"+version {
				t.Fatalf("got %s by %s, alerts %q, want deny and alert by one version", e.Verdict, e.Rule, e.Alerts)
			}
			used[version] = true
		}
	}
	return requests, len(used)
}
