package agentd_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentd.dev/agentd/approvals"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/watch"
)

// agreed holds deletions for people.
const agreed = `
rules:
  - name: deletions
    on: request
    when: '"delete" in sql.verbs'
    do: approve
    message: Deletions are agreed to.
    expires: 1h
`

const things = "CREATE TABLE things (id int); INSERT INTO things VALUES (1), (2), (3); GRANT ALL ON things TO PUBLIC;"

// somebody is a user who has not started what the tests capture.
const somebody = 65534

// waits returns the first request that waits for people and that is not among
// those known, once there is one.
func waits(t *testing.T, a *lab.Agentd, known ...string) approvals.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := control.NewClient(a.Socket)
	defer client.Close()
	var f control.ApprovalFilter
	for {
		list, err := client.Approvals(ctx, f)
		if err != nil {
			t.Fatalf("%v\n%s", err, a.Said())
		}
		for _, r := range list.Approvals {
			if !strings.Contains(strings.Join(known, " "), r.ID) {
				return r
			}
		}
		f.Since = list.Version
	}
}

// asks has a captured psql say something that waits, and returns what will come
// of it.
func (c *talk) asks(t *testing.T, statement string) (answer <-chan string) {
	t.Helper()
	if _, err := fmt.Fprintf(c.in, "%s\n\\echo --\n", statement); err != nil {
		t.Fatal(err)
	}
	whole := make(chan string, 1)
	go func() {
		said := ""
		for {
			line, err := c.out.ReadString('\n')
			if line == "--\n" || err != nil { // psql ends with its connection
				whole <- said + strings.TrimSuffix(line, "--\n")
				return
			}
			said += line
		}
	}()
	return whole
}

func TestSomebodyElseApprovesAStatement(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, things)
	a := lab.StartAgentd(t, lab.Setup{Policy: agreed, Target: server})
	k := converse(t, a, server)
	k.says(t, "begun")
	answer := k.asks(t, "DELETE FROM things WHERE id = 2;")
	r := waits(t, a)
	if r.Statement != "DELETE FROM things WHERE id = 2;" || r.Rule != "deletions" || r.Workload.Source != "run" || r.Database != server.Database || strings.Join(r.Verbs, " ") != "delete" {
		t.Errorf("what waits is %+v", r)
	}
	shown := mustCtl(t, a, "approvals", "show", r.ID)
	for _, want := range []string{"DELETE FROM things WHERE id = 2;", "Deletions are agreed to.", "lab, by run", "select 'begun'"} {
		if !strings.Contains(shown, want) {
			t.Errorf("show lacks %q:\n%s", want, shown)
		}
	}
	if out := mustCtl(t, a, "status"); !strings.Contains(out, "1 statement waits for a person") {
		t.Errorf("status says\n%s", out)
	}

	if _, err := a.Ctl(t, "approvals", "approve", r.ID); err == nil || !strings.Contains(err.Error(), "nobody approves their own agent's requests") {
		t.Errorf("who has started it approved it: %v", err)
	}
	// Where the kernel can refuse it, it does not even come to the socket.
	inside := exec.Command(lab.Binary(t, "./cmd/agentctl"), "--socket", a.Socket, "approvals", "approve", r.ID)
	if out, err := a.Captured(t, inside).CombinedOutput(); err == nil || !strings.Contains(string(out), "in the captured workload lab") && !strings.Contains(string(out), "permission denied") {
		t.Errorf("from within a workload it was approved: %v\n%s", err, out)
	}
	if out, err := a.CtlBy(t, somebody, "approvals", "approve", r.ID, "--reason", "ticket 4711"); err != nil {
		t.Fatal(err)
	} else if !strings.Contains(out, "Approved, for one use.") {
		t.Errorf("approved, it printed\n%s", out)
	}
	if got := <-answer; strings.Contains(got, "ERROR") {
		t.Errorf("approved, psql printed %q", got)
	}
	if got := k.say(t, "SELECT count(*) FROM things;"); got != "2\n" {
		t.Errorf("%q things are left, want 2", got)
	}

	answer = k.asks(t, "DELETE FROM things WHERE id = 3;") // differs by one value
	again := waits(t, a, r.ID)
	if _, err := a.CtlBy(t, somebody, "approvals", "deny", again.ID, "--reason", "not this one"); err != nil {
		t.Fatal(err)
	}
	if got := <-answer; !strings.Contains(got, "not this one") {
		t.Errorf("denied, psql printed %q", got)
	}
	if got := k.say(t, "SELECT count(*) FROM things;"); got != "2\n" {
		t.Errorf("%q things are left, want 2", got)
	}
	k.ends(t)
}

// The users and their group are Debian's.
func TestTwoPeopleApproveForAWhile(t *testing.T) {
	t.Parallel()
	const daemons = 1 // uid of daemon
	server := lab.Postgres(t)
	server.SQL(t, things)
	a := lab.StartAgentd(t, lab.Setup{Policy: agreed + `    need: 2
    by: [nogroup, "user:daemon"]
    for: 10m
`, Target: server})
	k := converse(t, a, server)
	k.says(t, "begun")
	answer := k.asks(t, "DELETE FROM things WHERE id = 2;")
	r := waits(t, a)
	for _, tt := range []struct {
		login uint32
		want  string // what is wrong
	}{
		{2, "the rule asks for nogroup, user:daemon"},
		{somebody, ""},
		{somebody, "you have agreed already, and 2 people have to"},
		{daemons, ""},
	} {
		_, err := a.CtlBy(t, tt.login, "approvals", "approve", r.ID)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("uid %d: %v, want %q", tt.login, err, tt.want)
		}
	}
	if got := <-answer; strings.Contains(got, "ERROR") {
		t.Errorf("approved, psql printed %q", got)
	}
	server.SQL(t, "INSERT INTO things VALUES (2);")
	if got := k.say(t, "DELETE FROM things WHERE id = 2; "); strings.Contains(got, "agentd") { // at once
		t.Errorf("approved for a while, psql printed %q", got)
	}
	if got := output(t, psql(server, "SELECT count(*) FROM things;")); got != "2\n" {
		t.Errorf("%q things are left, want 2", got)
	}
	if out := listedAll(t, a); !strings.Contains(out, "granted") || strings.Count(out, "DELETE") != 1 {
		t.Errorf("it is listed as\n%s", out)
	}
	k.ends(t)
}

// listedAll is what became of all requests.
func listedAll(t *testing.T, a *lab.Agentd) string {
	t.Helper()
	return mustCtl(t, a, "approvals", "list", "--all")
}

func TestWhatWaitsIsExpiredWhenAgentdIsKilledStoppedOrUpgraded(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, things)
	for _, tt := range []struct {
		name string
		end  func(*testing.T, *lab.Agentd)
		want string // the reason
		goes bool   // the session goes on
	}{
		{"killed", func(t *testing.T, a *lab.Agentd) {
			_ = a.Process.Cmd.Process.Kill()
			_ = a.Process.Wait()
		}, "agentd was restarted", false},
		{"stopped", func(t *testing.T, a *lab.Agentd) {
			_ = a.Process.Cmd.Process.Signal(syscall.SIGTERM)
			if err := a.Process.Wait(); err != nil {
				t.Errorf("agentd ended with %v", err)
			}
		}, "agentd was stopped", false},
		{"upgraded", func(*testing.T, *lab.Agentd) {}, "agentd was upgraded", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := lab.StartAgentd(t, lab.Setup{Policy: agreed, Target: server, Config: "limits: {drain: 1s}\n"})
			k := converse(t, a, server)
			k.says(t, "begun")
			answer := k.asks(t, "DELETE FROM things WHERE id = 1;")
			r := waits(t, a)
			awaitKept(t, a, r.ID)
			tt.end(t, a)
			if err := a.Start(t); err != nil {
				t.Fatal(err)
			}
			if got := <-answer; tt.goes && !strings.Contains(got, tt.want) || strings.Contains(got, "DELETE") {
				t.Errorf("psql printed %q", got)
			}
			if out := listedAll(t, a); !strings.Contains(out, r.ID) || !strings.Contains(out, "expired: "+tt.want) {
				t.Errorf("afterwards it is listed as\n%s", out)
			}
			if tt.goes {
				k.says(t, "still there")
				if got := k.say(t, "DELETE FROM things WHERE id = 1;"); !strings.Contains(got, tt.want) {
					t.Errorf("asked for in the old one, psql printed %q", got)
				}
				k.ends(t)
			}
			if got := output(t, psql(server, "SELECT count(*) FROM things WHERE id = 1;")); got != "1\n" {
				t.Errorf("it was run: %q are left", got)
			}
			if out, err := a.Ctl(t, "audit", "verify"); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// awaitKept returns once a request is in the file that outlives agentd.
func awaitKept(t *testing.T, a *lab.Agentd, id string) {
	t.Helper()
	folder := filepath.Dir(a.Log)
	w, err := watch.New()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add(folder); err != nil {
		t.Fatal(err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(folder, "approvals.json"))
		if strings.Contains(string(text), id) {
			return
		}
		select {
		case <-w.Changed():
		case <-time.After(time.Minute):
			t.Fatalf("%s is not kept: %s (%v)", id, text, err)
		}
	}
}
