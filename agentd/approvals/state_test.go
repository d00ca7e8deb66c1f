package approvals_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/approvals"
)

// kept is a scene whose desk writes to path.
func kept(t testing.TB, path string) *scene {
	return newScene(t, func(o *approvals.Options) {
		o.File, o.Ended, o.Keep = path, "agentd was restarted", 5
	})
}

// states lists what became of requests, by when they were asked.
func states(s *scene) string {
	list, _ := s.List(true)
	var all []string
	for _, r := range list {
		all = append(all, strings.TrimPrefix(r.Statement, "delete from ")+": "+r.State.String()+" "+r.Reason)
	}
	return strings.Join(all, ", ")
}

func TestWhatWasPendingIsExpiredAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "approvals.json")
	s := kept(t, path)
	s.want(t, question("s1", 1, "delete from a"), approvals.Pending)
	s.clock.pass(time.Second)
	denied := s.want(t, question("s1", 2, "delete from b"), approvals.Pending).ID
	if _, err := s.Vote(denied, false, alice, "no", ""); err != nil {
		t.Fatal(err)
	}
	s.clock.pass(time.Second)
	open := question("s1", 3, "delete from c")
	open.Open, open.Terms.For = true, time.Hour
	granted := s.want(t, open, approvals.Pending).ID
	s.approve(t, granted, alice)
	if err := s.Leave(); err != nil { // what is there when agentd is killed
		t.Fatal(err)
	}
	s.want(t, open, approvals.Granted)

	next := kept(t, path)
	defer next.Close("over")
	want := "a: expired agentd was restarted, b: denied no, c: expired agentd was restarted"
	if got := states(next); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := next.record.texts(), "expired expired"; got != want {
		t.Errorf("recorded %q, want %q", got, want)
	}
	open.Seq = 4
	next.want(t, open, approvals.Pending) // no grant outlives who gave it
	if r, _ := next.Find(granted); len(r.Votes) != 1 || r.Votes[0].By != "alice (uid 1000)" || r.Uses != 0 {
		t.Errorf("after the restart it is %+v", r)
	}
	if mode := stat(t, path).Mode(); mode.Perm() != 0o600 {
		t.Errorf("others may read it: %s", mode)
	}
	s.Left("over")
}

func TestAStoppedDeskApprovesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "approvals.json")
	s := kept(t, path)
	q := question("s1", 1, "delete from a")
	resumed := s.resumed(s.want(t, q, approvals.Pending).ID)
	if err := s.Close("agentd was stopped"); err != nil {
		t.Fatal(err)
	}
	if resumed() != 1 {
		t.Error("the wait goes on")
	}
	if got := s.want(t, q, approvals.Refused); got.Reason != "Nothing is approved here any more: agentd was stopped." {
		t.Errorf("refused because %q", got.Reason)
	}
	next := kept(t, path)
	defer next.Close("over")
	if got, want := states(next), "a: expired agentd was stopped"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWhatIsOverIsKeptForAWhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "approvals.json")
	s := kept(t, path)
	long := strings.Repeat("ä", 4<<10)
	for i := range 7 {
		q := question("s1", uint64(i), fmt.Sprintf("delete from %d", i))
		if i == 6 {
			q.Statement, q.Parameters = long, []string{"x", long}
		}
		s.Withdraw(s.want(t, q, approvals.Pending).ID, "gone")
		s.clock.pass(time.Second)
	}
	list, _ := s.List(true)
	if len(list) != 5 || list[0].Statement != "delete from 2" {
		t.Errorf("%d are kept, from %q: want the last 5", len(list), list[0].Statement)
	}
	if r := list[4]; !r.Cut || len(r.Statement) != 4<<10 || len(r.Parameters) != 2 || len(r.Parameters[1]) != 4<<10-2 {
		t.Errorf("%d bytes are kept of a long statement, cut: %v", len(r.Statement), r.Cut)
	}
	if err := s.Close("over"); err != nil {
		t.Fatal(err)
	}
	next := kept(t, path)
	defer next.Close("over")
	if list, _ := next.List(true); len(list) != 5 {
		t.Errorf("%d are read, want 5", len(list))
	}
	next.clock.pass(7*24*time.Hour + time.Minute)
	if list, _ := next.List(true); len(list) != 0 {
		t.Errorf("%d are kept for more than a week", len(list))
	}
}

func TestADamagedFileIsMovedAside(t *testing.T) {
	for _, text := range []string{"", "{", `{"version": 99}`, `{"version": 1, "requests": [{"id": 7}]}`, `{"version": 1, "requests": [{}]}`, "\x00\x01"} {
		path := filepath.Join(t.TempDir(), "approvals.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := kept(t, path)
		if got := states(s); got != "" {
			t.Errorf("%q: it has %s", text, got)
		}
		s.want(t, question("s1", 1, "delete from a"), approvals.Pending)
		if err := s.Close("over"); err != nil {
			t.Error(err)
		}
		if aside, err := os.ReadFile(path + ".damaged"); err != nil || string(aside) != text {
			t.Errorf("aside is %q (%v), want %q", aside, err, text)
		}
		var kept struct{ Requests []approvals.Request }
		if text, err := os.ReadFile(path); err != nil || json.Unmarshal(text, &kept) != nil || len(kept.Requests) != 1 {
			t.Errorf("the new file is %s (%v)", text, err)
		}
	}
}

// An upgraded agentd's desk goes on until the next one is there.
func TestTheFileIsLeftToTheNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "approvals.json")
	s := kept(t, path)
	q := question("s1", 1, "delete from a")
	id := s.want(t, q, approvals.Pending).ID
	if err := s.Leave(); err != nil {
		t.Fatal(err)
	}
	next := newScene(t, func(o *approvals.Options) { o.File, o.Ended, o.Silent = path, "agentd was upgraded", true })
	defer next.Close("over")
	if got, want := states(next), "a: expired agentd was upgraded"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := next.record.texts(); got != "" {
		t.Errorf("recorded %q, want nothing: the old one does that", got)
	}
	before := stat(t, path)
	s.want(t, question("s1", 2, "delete from b"), approvals.Pending)
	s.Left("agentd was upgraded")
	if got, want := s.record.texts(), "asked asked expired expired"; got != want {
		t.Errorf("recorded %q, want %q", got, want)
	}
	if err := s.Close("over"); err != nil {
		t.Error(err)
	}
	if !os.SameFile(before, stat(t, path)) {
		t.Error("the old one has written the file that is the new one's")
	}
	if _, err := s.Vote(id, true, alice, "", ""); err == nil {
		t.Error("approved by the old one")
	}
}

func stat(t testing.TB, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
