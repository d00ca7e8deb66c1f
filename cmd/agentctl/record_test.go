package main

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"agentd.dev/decoders"
	"agentd.dev/policy"
	"agentd.dev/recorder"
)

// at is when the recorded sessions begin.
var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// record makes a log with the real recorder: record DIR makes DIR/log and
// DIR/key.pub. It holds one session of each kind that agentctl can show.
func record(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: record DIR")
	}
	ts.Check(recordFolder(ts.MkAbs(args[0])))
}

func recordFolder(dir string) error {
	r, err := recorder.Open(recorder.Options{
		Dir: filepath.Join(dir, "log"), KeyFile: filepath.Join(dir, "key"),
		Node: "agentd/test", Interval: time.Hour, Reserve: 1,
	})
	if err != nil {
		return err
	}
	return errors.Join(recordReport(r), recordAttack(r), recordQuiet(r), r.Close())
}

// session begins the log of a session.
func session(r *recorder.Recorder, turn *recorder.Turn, id, workload string, start time.Time) (*recorder.Log, error) {
	return r.Begin(turn, someSession(id, workload, start))
}

func someSession(id, workload string, start time.Time) *policy.Session {
	return &policy.Session{
		ID: id, Start: start, Scope: "plaintext",
		Identity: policy.Identity{
			Workload: workload, Source: "run", Cgroup: "/agentd-runs/" + workload,
			Process: policy.Process{PID: 4711, Start: start.Add(-time.Minute), UID: 1000, Comm: "psql", Exe: "/usr/bin/psql"},
		},
		Target: policy.Target{Name: "orders", Address: netip.MustParseAddrPort("192.0.2.1:5432"), Host: "db.shop.internal", Protocol: "postgres"},
	}
}

// facts are those of a login.
type facts map[string]string

func (f facts) Field(name string) any {
	if v, ok := f[name]; ok {
		return v
	}
	return nil
}

func event(kind decoders.Kinds, seq uint64, text string) *decoders.Event {
	return &decoders.Event{Kind: kind, Seq: seq, Text: []byte(text), Record: []byte(text)}
}

func told(seq uint64, r decoders.Result) *decoders.Event {
	return &decoders.Event{Kind: decoders.Outcome, Seq: seq, Result: r}
}

var allowed = policy.Verdict{Outcome: policy.Forward, Rule: "default"}

// recordReport records a session with a masked result, a refusal, an error,
// and what the error kept from running.
func recordReport(r *recorder.Recorder) error {
	var t recorder.Turn
	log, err := session(r, &t, "REPORTAAAAAAAAAAAAAAAAAAAA", "report", at)
	if err != nil {
		return err
	}
	login := &decoders.Event{Kind: decoders.Login, Seq: 1, Facts: facts{"login.user": "ann", "login.database": "shop"}}
	log.Asked(&t, at.Add(time.Millisecond), login, allowed)

	log.Asked(&t, at.Add(10*time.Millisecond), event(decoders.Request, 2, "select name, email\nfrom customers"), allowed)
	columns := &decoders.Event{Kind: decoders.Columns, Seq: 2, Columns: []decoders.Column{{Index: 1, Schema: "public", Table: "customers", Name: "email"}}}
	log.Asked(&t, at.Add(11*time.Millisecond), columns, policy.Verdict{Outcome: policy.Rewrite, Rule: "hide-mail", Masks: []decoders.Mask{{Index: 1, As: "***"}}})
	log.Told(&t, at.Add(12*time.Millisecond), told(2, decoders.Result{Rows: 3, Bytes: 2048, Tag: "SELECT 3", Masked: 3, By: []decoders.Count{{Name: "hide-mail", N: 3}}}))

	refused := policy.Verdict{Outcome: policy.Refuse, Rule: "no-drop", Reason: "dropping tables needs a person", Hint: "ask the DBA"}
	log.Asked(&t, at.Add(20*time.Millisecond), event(decoders.Request, 3, "drop table customers"), refused)
	log.Told(&t, at.Add(21*time.Millisecond), told(3, decoders.Result{Code: "42501", Message: "dropping tables needs a person"}))

	log.Asked(&t, at.Add(30*time.Millisecond), event(decoders.Request, 4, "selec 1"), policy.Verdict{Outcome: policy.Forward, Rule: "unclassified"})
	log.Told(&t, at.Add(31*time.Millisecond), told(4, decoders.Result{Code: "42601", Message: "syntax error"}))
	watched := policy.Verdict{Outcome: policy.Forward, Rule: "default", Shadows: []policy.Shadow{{Outcome: policy.Refuse, Rule: "draft"}}, Alerts: []string{"tell"}}
	log.Asked(&t, at.Add(40*time.Millisecond), event(decoders.Request, 5, "commit"), watched)
	log.Told(&t, at.Add(41*time.Millisecond), told(5, decoders.Result{Skipped: true}))
	log.End(&t, at.Add(50*time.Millisecond), recorder.End{FromClient: 300, FromServer: 4000, Reason: "client closed"})
	return r.Commit(&t)
}

// recordAttack records statements that try to speak to the terminal of whoever
// reads them: by escape sequences, an 8-bit control, a carriage return, a
// change of direction, and bytes that are no text.
func recordAttack(r *recorder.Recorder) error {
	var t recorder.Turn
	log, err := session(r, &t, "ATTACKAAAAAAAAAAAAAAAAAAAA", "attack\x1b]0;pwned\a", at.Add(time.Hour))
	if err != nil {
		return err
	}
	for i, text := range []string{"select 'a\x1b[2Jb'", "select 'c\u009b1md'", "select 1\rselect 2", "select '\u202etxt'", "select '\xff\xfe\x1b[31m'"} {
		log.Asked(&t, at.Add(time.Hour), event(decoders.Request, uint64(i+1), text), allowed)
	}
	log.End(&t, at.Add(time.Hour+time.Minute), recorder.End{Reason: "client closed"})
	return r.Commit(&t)
}

// recordQuiet records a session that does not end.
func recordQuiet(r *recorder.Recorder) error {
	var t recorder.Turn
	s := someSession("ATTICAAAAAAAAAAAAAAAAAAAAA", "quiet", at.Add(2*time.Hour))
	id := &s.Identity
	id.Namespace, id.Pod, id.PodUID, id.ServiceAccount, id.Owner = "agents", "quiet-7d9f", "0f3c", "quiet", "ReplicaSet/quiet-7d"
	id.Container, id.ContainerID, id.Image = "main", "5ca1ab1e", "registry/quiet:1"
	id.Labels = map[string]string{"app": "quiet", "tier": "night"}
	if _, err := r.Begin(&t, s); err != nil {
		return err
	}
	return r.Commit(&t)
}

// tamper changes a text in the only segment of a log: tamper DIR OLD NEW, both
// of the same length.
func tamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || len(args[1]) != len(args[2]) {
		ts.Fatalf("usage: tamper DIR OLD NEW")
	}
	segments, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "0*"))
	ts.Check(err)
	if len(segments) != 1 {
		ts.Fatalf("%d segments, want 1", len(segments))
	}
	data, err := os.ReadFile(segments[0])
	ts.Check(err)
	changed := bytes.Replace(data, []byte(args[1]), []byte(args[2]), 1)
	if bytes.Equal(data, changed) {
		ts.Fatalf("the log does not hold %q", args[1])
	}
	ts.Check(os.WriteFile(segments[0], changed, 0o600))
}

// printed checks that the last command printed nothing a terminal would obey.
func printed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || args[0] != "safely" {
		ts.Fatalf("usage: printed safely")
	}
	for _, stream := range []string{"stdout", "stderr"} {
		text := ts.ReadFile(stream)
		for i, r := range text {
			bare := r == 0xfffd && text[i] != 0xef // a byte that is not UTF-8
			if r < ' ' && r != '\n' || 0x7f <= r && r < 0xa0 || r == 0x202e || bare {
				ts.Fatalf("%s has %U at byte %d: %q", stream, r, i, text)
			}
		}
	}
}
