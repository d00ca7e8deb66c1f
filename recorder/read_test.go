package recorder

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"agentd.dev/decoders"
	"agentd.dev/policy"
)

// conversation records a session with something of everything.
func conversation(t *testing.T, l *aLog, id string) {
	t.Helper()
	var turn Turn
	log, err := l.Begin(&turn, aSession(id))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(ev *decoders.Event, v policy.Verdict) { log.Asked(&turn, at, ev, v) }
	tell := func(seq uint64, r decoders.Result) { log.Told(&turn, at.Add(time.Second), outcome(seq, r)) }

	ask(&decoders.Event{Kind: decoders.Login, Seq: 1, Facts: loginFacts{
		"login.user": "alice", "login.database": "shop", "login.application": "psql",
	}}, allowed)
	own := statement(2, "select oid from pg_class")
	own.Kind = decoders.Own
	log.Told(&turn, at, own)
	prepare := statement(3, "select email from customers where id = $1")
	prepare.Kind = decoders.Prepare
	ask(prepare, allowed)
	run := statement(4, "select email from customers where id = $1")
	run.Ref = 3
	ask(run, policy.Verdict{Outcome: policy.Forward, Rule: "read"})
	ask(&decoders.Event{Kind: decoders.Columns, Seq: 4, Columns: []decoders.Column{
		{Index: 0, Schema: "public", Table: "customers", Name: "email"}, {Index: 2, Name: "phone", Derived: true},
	}}, policy.Verdict{Outcome: policy.Rewrite, Rule: "hide", Masks: []decoders.Mask{{Index: 0, As: "***"}, {Index: 2}}})
	tell(4, decoders.Result{Rows: 5, Bytes: 70, Tag: "SELECT 5", Masked: 10})
	ask(statement(5, "drop table customers"), policy.Verdict{Rule: "no-drop", Reason: "dropping needs a person", Hint: "ask"})
	tell(5, decoders.Result{Code: "42501", Message: "dropping needs a person"})
	odd := statement(6, "frobnicate")
	odd.Unclassified = "no such verb"
	ask(odd, allowed)
	tell(6, decoders.Result{Skipped: true})
	log.End(&turn, at.Add(2*time.Second), End{FromClient: 1, FromServer: 2, Reason: "client closed"})
	l.commit(t, &turn)
}

func open(t testing.TB, l *aLog) *Folder {
	t.Helper()
	f, err := OpenFolder(l.opts.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestATranscriptTellsWhatHappened(t *testing.T) {
	l := begin(t)
	conversation(t, l, "ABC1")
	l.work(t, "ABD2", 2)
	s, err := open(t, l).Session("ABC")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintln(&b, s.ID, s.State, s.Outcome, s.User, s.Database, s.Application, s.Statements, s.Denied, s.Failed, s.Rows, s.Masked)
	for _, e := range s.Entries {
		fmt.Fprintln(&b, e.Seq, e.Kind, e.Text.Text, "|", e.Verdict, e.Rule, e.Reason, e.Unclassified)
		for _, c := range e.Columns {
			fmt.Fprintln(&b, " column", c.Index, c.Table, c.Column, c.Derived, c.Masked, c.As, "by", e.Result.Rule)
		}
		if e.Done != nil {
			fmt.Fprintln(&b, " done", e.Done.Took, e.Done.Rows, e.Done.Tag, e.Done.Code, e.Done.Skipped)
		}
	}
	want := `ABC1 ended client closed alice shop psql 3 1 1 5 10
1 login  | allow default  
2 own select oid from pg_class |    
3 prepare select email from customers where id = $1 | allow default  
4 request select email from customers where id = $1 | allow read  
 column 0 customers email false true *** by hide
 column 2  phone true true  by hide
 done 1s 5 SELECT 5  false
5 request drop table customers | deny no-drop dropping needs a person 
 done 1s 0  42501 false
6 request frobnicate | allow default  no such verb
 done 1s 0   true
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestASessionIsFoundByAUniquePrefix(t *testing.T) {
	l := begin(t)
	l.work(t, "ABC", 1)
	l.work(t, "ABCD", 1)
	l.work(t, "XYZ", 1)
	for _, tt := range []struct{ prefix, id, err string }{
		{"X", "XYZ", ""},
		{"ABC", "ABC", ""},
		{"ABCD", "ABCD", ""},
		{"AB", "", "2 sessions begin with"},
		{"Q", "", "no session begins with"},
		{"", "", "which session"},
	} {
		s, err := open(t, l).Session(tt.prefix)
		if err != nil {
			if tt.err == "" || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: got %v, want %q", tt.prefix, err, tt.err)
			}
			continue
		}
		if s.ID != tt.id {
			t.Errorf("%q: got %s, want %s", tt.prefix, s.ID, tt.id)
		}
	}
}

// states returns "id=state" of every session, sorted.
func states(t *testing.T, l *aLog, f Filter) string {
	t.Helper()
	list, err := open(t, l).Sessions(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range list {
		all = append(all, s.ID+"="+s.State)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestASessionIsLiveEndedOrInterrupted(t *testing.T) {
	l := begin(t)
	conversation(t, l, "A")
	var turn Turn
	if _, err := l.Begin(&turn, aSession("B")); err != nil {
		t.Fatal(err)
	}
	l.commit(t, &turn)
	if got, want := states(t, l, Filter{}), "A=ended B=live"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	l.Close()
	l = again(t, l.opts)
	log, err := l.Begin(&turn, aSession("C"))
	if err != nil {
		t.Fatal(err)
	}
	log.Asked(&turn, at.Add(time.Minute), statement(1, "select 1"), allowed)
	l.commit(t, &turn)
	if got, want := states(t, l, Filter{}), "A=ended B=interrupted C=live"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, tt := range []struct {
		filter Filter
		want   string
	}{
		{Filter{User: "alice"}, "A=ended"},
		{Filter{State: Live}, "C=live"},
		{Filter{Workload: "other"}, ""},
		{Filter{Since: at.Add(time.Second)}, ""},
		{Filter{Until: at.Add(time.Second), Database: "shop"}, "A=ended"},
	} {
		if got := states(t, l, tt.filter); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.filter, got, tt.want)
		}
	}
	l.lock.Close() // as if the process were gone
	list, err := open(t, l).Sessions(Filter{State: Interrupted})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.ID == "C" && (s.Statements != 1 || !s.End.Equal(at.Add(time.Minute))) {
			t.Errorf("got %+v, want one statement, a minute after the start", s)
		}
	}
	if len(list) != 2 {
		t.Errorf("got %d interrupted sessions, want B and C", len(list))
	}
}

func TestReadingGoesOnAfterDamage(t *testing.T) {
	l := begin(t)
	l.work(t, "A", 1)
	l.work(t, "B", 1)
	l.Close()
	data, err := os.ReadFile(segmentFile(l))
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte("SELECT 1"))] ^= 1
	if err := os.WriteFile(segmentFile(l), data, 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := open(t, l).Sessions(Filter{})
	if !errors.Is(err, ErrDamaged) || len(list) != 2 {
		t.Errorf("got %d sessions and %v, want both and %v", len(list), err, ErrDamaged)
	}
}

func TestLoopsCommitWhileOthersReadAndVerify(t *testing.T) {
	l := begin(t, func(o *Options) { o.SegmentBytes, o.Interval = 40_000, time.Millisecond })
	const loops, sessions = 4, 20
	var writing sync.WaitGroup
	for i := range loops {
		writing.Go(func() {
			for j := range sessions {
				l.work(t, fmt.Sprintf("S%d-%d", i, j), 10)
			}
		})
	}
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	verifier := l.verifier(t)
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		r, err := Verify(l.opts.Dir, verifier, VerifyOptions{})
		if err != nil || !r.OK {
			t.Fatalf("while writing: got %v, %v", r.Bad, err)
		}
		if _, err := open(t, l).Sessions(Filter{}); err != nil {
			t.Fatalf("while writing: %v", err)
		}
	}
	l.Close()
	r, err := Verify(l.opts.Dir, verifier, VerifyOptions{Progress: func(int64, int64) {}})
	if want := int64(2 + loops*sessions*22); err != nil || !r.OK || r.Records != want {
		t.Errorf("got %+v, %v, %v, want %d records", r, r.Bad, err, want)
	}
}

func TestAPodIsKnownByEverythingThatWasKnownOfIt(t *testing.T) {
	l := begin(t)
	l.work(t, "POD", 1)
	want := aSession("POD").Identity
	s, err := open(t, l).Session("POD")
	if err != nil {
		t.Fatal(err)
	}
	if got := (Place{
		Container: want.Container, ContainerID: want.ContainerID, Image: want.Image, Namespace: want.Namespace, Pod: want.Pod,
		PodUID: want.PodUID, ServiceAccount: want.ServiceAccount, Owner: want.Owner, Labels: want.Labels,
	}); !reflect.DeepEqual(s.Place, got) {
		t.Errorf("got %+v, want %+v", s.Place, got)
	}
	for _, tt := range []struct {
		filter Filter
		want   int
	}{
		{Filter{Namespace: "agents"}, 1},
		{Filter{Namespace: "agents", Pod: "reporter-7d9f"}, 1},
		{Filter{Namespace: "others"}, 0},
		{Filter{Pod: "reporter"}, 0},
	} {
		if list, err := open(t, l).Sessions(tt.filter); err != nil || len(list) != tt.want {
			t.Errorf("%+v: got %d sessions, %v, want %d", tt.filter, len(list), err, tt.want)
		}
	}
}

func TestATranscriptTellsWhatDidNotDecide(t *testing.T) {
	l := begin(t)
	var turn Turn
	log, err := l.Begin(&turn, aSession("S"))
	if err != nil {
		t.Fatal(err)
	}
	log.Asked(&turn, at, statement(1, "select 1"), policy.Verdict{
		Outcome: policy.Forward, Rule: "default", Alerts: []string{"watch", "count"},
		Shadows: []policy.Shadow{{Outcome: policy.Refuse, Rule: "draft"}, {Outcome: policy.Hold, Rule: "ask"}},
	})
	log.Asked(&turn, at, &decoders.Event{Kind: decoders.Columns, Seq: 1, Columns: []decoders.Column{{Index: 3, Name: "email"}}}, policy.Verdict{
		Outcome: policy.Forward, Rule: "default", Shadows: []policy.Shadow{{Outcome: policy.Rewrite, Rule: "mail", Columns: []int{1, 3}}},
	})
	log.Told(&turn, at, outcome(1, decoders.Result{Rows: 7, Over: []string{"few", "fewer"}}))
	log.Asked(&turn, at, statement(2, "select 2"), policy.Verdict{Outcome: policy.Hold, Rule: "ask"})
	l.commit(t, &turn)
	s, err := open(t, l).Session("S")
	if err != nil {
		t.Fatal(err)
	}
	e := s.Entries[0]
	got := fmt.Sprintln(e.Alerts, e.Shadows, e.Result.Shadows, e.Done.Over, s.Entries[1].Verdict, s.Entries[1].Shadows)
	if want := "[watch count] [{deny draft []} {hold ask []}] [{mask mail [1 3]}] [few fewer] hold []\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
