package agentd_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentd.dev/agentd/internal/dialogue"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/recorder"
)

// Whatever a client runs, and however it ends, the record says how many rows of
// how many columns there were and what they took on the wire, how long it ran,
// what was masked, and why it failed.
func TestTheRecordSaysWhatCameOfEveryKindOfRequest(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers)
	a := lab.StartAgentd(t, lab.Setup{Policy: strict, Target: server, Open: true})
	const all = "select id, email from customers"
	for i, tt := range []struct {
		name  string
		turns [][]byte
		want  string // of what came of the last request
	}{
		{"simple", [][]byte{asks(all)}, "SELECT 3: 3 rows of 2, 2 masked"},
		{"simple, without rows", [][]byte{asks(all + " where false")}, "SELECT 0: 0 rows of 2"},
		{"extended", [][]byte{slices.Concat(prepares("", all), executes("", 0, 0), frontend('S', ""))}, "SELECT 3: 3 rows of 2, 2 masked"},
		{"extended, without rows", [][]byte{slices.Concat(prepares("", all+" where false"), executes("", 0, 0), frontend('S', ""))}, "SELECT 0: 0 rows of 2"},
		{"extended, a part", [][]byte{slices.Concat(prepares("", all), executes("", 1, 2), frontend('S', ""))}, ": 2 rows of 2, 1 masked"},
		{"fetch", [][]byte{asks("begin; declare c cursor for " + all), asks("fetch 2 from c")}, "FETCH 2: 2 rows of 2, 1 masked"},
		{"copy out", [][]byte{asks("copy customers to stdout")}, "COPY 3: 3 rows of 3, 2 masked"},
		{"copy in", [][]byte{asks("copy customers from stdin"), slices.Concat(frontend('d', "7\tseven\t\\N\n8\teight\t\\N\n"), frontend('c', ""))}, "COPY 2: 2 rows of 3, 2 changed"},
		{"a change", [][]byte{asks("update customers set name = name where id < 3")}, "UPDATE 2: 0 rows of 0, 2 changed"},
		{"an error", [][]byte{asks("select 1/0")}, "22012: 0 rows of 0"},
		{"an error behind rows", [][]byte{asks("select 1/(3-n) from generate_series(1, 4) n")}, "22012: 2 rows of 1"},
		{"cancelled", [][]byte{asks("select pg_cancel_backend(pg_backend_pid()), pg_sleep(60)")}, "57014: 0 rows of 2"},
		{"terminated", [][]byte{asks("select pg_terminate_backend(pg_backend_pid()), pg_sleep(60)")}, "57P01: 0 rows of 2"},
	} {
		hear(t, server, []string{server.Database}, []dialogue.Session{{User: server.User, Turns: tt.turns}}, func(cmd *exec.Cmd) *exec.Cmd { return a.Captured(t, cmd) })
		if got := cameOf(t, a, i+1); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A request that was running when its session ended has an outcome, too: what had
// come until then.
func TestTheRecordSaysWhatHadComeOfAnInterruptedRequest(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	a := lab.StartAgentd(t, lab.Setup{Target: server, Config: "limits: {drain: 0s}\nrecord: {results: 4KiB}\n"})
	cmd := a.Captured(t, psql(server, "select n, repeat('x', 9000), case when n = 5 then pg_sleep(600) end from generate_series(1, 9) n;"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); server.SQL(t, "select count(*) from pg_stat_activity where wait_event = 'PgSleep'") != "1"; {
		if time.Now().After(deadline) {
			t.Fatal("the statement does not come to where it sleeps")
		}
	}
	a.Process.Stop(syscall.SIGTERM)
	_ = cmd.Wait()
	if got, want := cameOf(t, a, 1), "unfinished: 4 rows of 3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// cameOf says what came of the last request of the latest of n sessions, once that
// is recorded to its end.
func cameOf(t *testing.T, a *lab.Agentd, n int) string {
	t.Helper()
	folder, err := recorder.OpenFolder(a.Log)
	if err != nil {
		t.Fatal(err)
	}
	sessions := awaitEnds(t, a, n)
	script, err := folder.Session(sessions[len(sessions)-1].ID)
	if err != nil {
		t.Fatal(err)
	}
	var last *recorder.Entry
	for _, e := range script.Entries {
		if e.Kind == "request" {
			last = e
		}
	}
	if last == nil || last.Done == nil {
		return "nothing"
	}
	d := last.Done
	out := fmt.Sprintf("%s%s: %d rows of %d", d.Tag, d.Code, d.Rows, d.Width)
	if d.Unfinished {
		out = "unfinished" + out
	}
	if d.Masked > 0 {
		out += fmt.Sprintf(", %d masked", d.Masked)
	}
	if d.Affected > 0 {
		out += fmt.Sprintf(", %d changed", d.Affected)
	}
	if d.Took <= 0 || d.Rows > 0 && d.Bytes <= 0 || d.Code != "" && d.Message == "" && !strings.HasPrefix(d.Code, "22") {
		out += fmt.Sprintf("; but %+v", *d)
	}
	return out
}

func TestTheRecordSaysWhatAFunctionCalledByItsOIDGave(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	a := lab.StartAgentd(t, lab.Setup{Target: server, Open: true})
	const abs = "\x00\x00\x05\x75" // abs(integer), 1397
	call := frontend('F', abs+"\x00\x01\x00\x01\x00\x01\x00\x00\x00\x04\xff\xff\xff\xf9\x00\x01")
	hear(t, server, []string{server.Database}, []dialogue.Session{{User: server.User, Turns: [][]byte{call}}}, func(cmd *exec.Cmd) *exec.Cmd { return a.Captured(t, cmd) })
	if got, want := cameOf(t, a, 1), ": 1 rows of 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
