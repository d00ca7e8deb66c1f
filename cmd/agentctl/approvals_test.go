package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/approvals"
	"agentd.dev/agentd/control"
	"agentd.dev/policy"
)

// unrecorded keeps no record.
type unrecorded struct{}

func (unrecorded) Note(string, string, ...any) error { return nil }

// newDesk returns a desk for the daemon of a test, where nobody is in a captured
// workload.
func newDesk() control.Desk {
	desk := approvals.Open(approvals.Options{Recorder: unrecorded{}, Log: slog.New(slog.DiscardHandler)})
	return control.Desk{Desk: desk, Captured: func(string) string { return "" }}
}

// wait has a statement wait for a person, and returns the request's id.
func (d *daemon) wait(seq uint64, statement string, terms policy.Terms, parameters ...string) string {
	s := someSession("REPORTAAAAAAAAAAAAAAAAAAAA", "report", at)
	s.Identity.Namespace, s.Identity.Pod = "agents", "report-7d9f"
	if terms.Expires == 0 {
		terms.Expires = 90*time.Minute + 30*time.Second
	}
	return d.desk.Consult(&approvals.Question{
		Session: s, User: "app", Database: "shop", Seq: seq, Terms: terms,
		Statement: statement, Parameters: parameters, Digest: sha256.Sum256([]byte(statement)),
		Verbs: []string{"delete"}, Tables: []string{"public.orders"},
	}).ID
}

// samples are what waits in the scripts, by the variable that holds the id.
func (d *daemon) samples() map[string]string {
	evil := "drop table\x1b[2J orders"
	return map[string]string{
		"FIRST":  d.wait(3, "delete from orders\nwhere id = $1", policy.Terms{Rule: "changes", Message: "Changes of orders are agreed to."}, "42", evil),
		"SECOND": d.wait(4, evil, policy.Terms{Rule: "schema", Need: 2, By: []string{"nogroup", "user:daemon"}}),
		"THIRD":  d.wait(5, "vacuum", policy.Terms{Rule: "upkeep", For: 15 * time.Minute}),
	}
}

// What changes is printed as it happens.
func TestWatchPrintsWhatChanges(t *testing.T) {
	for _, tt := range []struct {
		format string
		want   [4]string
	}{
		{"table", [4]string{"pending, 0 of 1, ", "pending, 0 of 1, ", "denied: no  report to orders: delete from a", "granted  report to orders: delete from b"}},
		{"json", [4]string{`"state":"pending"`, `"state":"pending"`, `"state":"denied"`, `"state":"granted"`}},
	} {
		d, socket := newDaemon(t)
		r, w := io.Pipe()
		a := &app{socket: socket, format: tt.format, out: w, errs: io.Discard}
		first := d.wait(1, "delete from a", policy.Terms{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.watchApprovals(ctx, control.ApprovalFilter{}) }()
		lines := bufio.NewScanner(r)
		next := func(want string) {
			t.Helper()
			if !lines.Scan() || !strings.Contains(lines.Text(), want) {
				t.Fatalf("%s: got %q, want a line with %q", tt.format, lines.Text(), want)
			}
			if tt.format == "json" && !json.Valid(lines.Bytes()) {
				t.Errorf("%s is not JSON", lines.Text())
			}
		}
		next(tt.want[0])
		second := d.wait(2, "delete from b", policy.Terms{})
		next(tt.want[1])
		by := approvals.Voter{Subject: "alice", Via: "callback"}
		if _, err := d.desk.Vote(first, false, by, "no", ""); err != nil {
			t.Fatal(err)
		}
		next(tt.want[2])
		if _, err := d.desk.Vote(second, true, by, "", ""); err != nil {
			t.Fatal(err)
		}
		next(tt.want[3])
		cancel()
		var exit *exitError
		if err := <-ended; !errors.As(err, &exit) || exit.code != interrupted {
			t.Errorf("ended with %v, want as by Ctrl-C", err)
		}
	}
}

func TestLongStatementsAreWrappedForATerminal(t *testing.T) {
	a := &app{outWidth: 34}
	for _, tt := range []struct{ text, want string }{
		{"select 1", "select 1"},
		{"select one, two, three from orders\nwhere id = 1", "select one, two, three\nfrom orders\nwhere id = 1"},
		{strings.Repeat("x", 30), strings.Repeat("x", 24) + "\n" + strings.Repeat("x", 6)},
	} {
		if got := a.wrapped(tt.text, 10); got != tt.want {
			t.Errorf("%q became %q, want %q", tt.text, got, tt.want)
		}
	}
}
