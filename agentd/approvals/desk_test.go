package approvals_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/approvals"
)

func TestAGrantIsForOneUse(t *testing.T) {
	s := newScene(t, nil)
	q := question("s1", 4, "delete from a")
	first := s.want(t, q, approvals.Pending)
	if again := s.want(t, q, approvals.Pending); again.ID != first.ID {
		t.Errorf("asked about anew it is %s, want %s", again.ID, first.ID)
	}
	resumed := s.resumed(first.ID)
	s.approve(t, first.ID, alice)
	if got := resumed(); got != 1 {
		t.Errorf("resumed %d times, want once", got)
	}
	if got := s.want(t, q, approvals.Granted); got.By != "alice (uid 1000)" {
		t.Errorf("granted by %q, want alice", got.By)
	}
	s.want(t, q, approvals.Used)
	if again := s.want(t, question("s1", 5, "delete from a"), approvals.Pending); again.ID == first.ID {
		t.Error("the next one has the request of the last")
	}
	if got, want := s.record.texts(), "asked granted used asked"; got != want {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

func TestWhatCannotBeRecordedHasNoEffect(t *testing.T) {
	s := newScene(t, nil)
	q := question("s1", 1, "delete from a")
	id := s.want(t, q, approvals.Pending).ID
	full := errors.New("no space left")
	s.record.breaks(full)
	if _, err := s.Vote(id, true, alice, "", ""); !errors.Is(err, full) {
		t.Errorf("the vote came to %v, want %v", err, full)
	}
	s.want(t, q, approvals.Pending)
	s.want(t, question("s2", 1, "delete from b"), approvals.Refused)
	s.record.breaks(nil)
	s.approve(t, id, alice)
	s.record.breaks(full)
	s.want(t, q, approvals.Refused)
	s.record.breaks(nil)
	s.want(t, q, approvals.Granted)
}

func TestAWhileLetsTheSameThroughAgain(t *testing.T) {
	s := newScene(t, nil)
	ask := func(session string, seq uint64) *approvals.Question {
		q := question(session, seq, "delete from a")
		q.Terms.For = 10 * time.Minute
		return q
	}
	id := s.want(t, ask("s1", 1), approvals.Pending).ID
	beside := s.want(t, ask("s2", 1), approvals.Pending).ID
	resumed := s.resumed(beside)
	s.approve(t, id, alice)
	if resumed() != 1 {
		t.Error("what waits for the same goes on waiting")
	}
	for _, q := range []*approvals.Question{ask("s1", 1), ask("s2", 1), ask("s2", 2)} {
		if got := s.want(t, q, approvals.Granted); got.ID != id {
			t.Errorf("granted by %s, want %s", got.ID, id)
		}
	}
	s.clock.pass(10 * time.Minute)
	s.want(t, ask("s1", 3), approvals.Pending)
	if r, err := s.Find(id); err != nil || r.State != approvals.Used || r.Uses != 3 {
		t.Errorf("it is %s after %d uses (%v), want used after 3", r.State, r.Uses, err)
	}
}

// In a transaction the client is told to try again.
func TestWhatDoesNotWaitIsGrantedToTheSameLater(t *testing.T) {
	s := newScene(t, nil)
	open := question("s1", 1, "delete from a")
	open.Open = true
	id := s.want(t, open, approvals.Pending).ID
	again := question("s2", 9, "delete from a")
	again.Open = true
	if got := s.want(t, again, approvals.Pending).ID; got != id {
		t.Errorf("tried again it is %s, want %s", got, id)
	}
	s.approve(t, id, alice)
	s.want(t, again, approvals.Granted)
	s.want(t, open, approvals.Used)
	again.Seq++
	if got := s.want(t, again, approvals.Pending).ID; got == id {
		t.Error("the same grant is there again")
	}
	s.clock.pass(time.Minute)
	if r, _ := s.Find(id); r.State != approvals.Used {
		t.Errorf("later it is %s, want used", r.State)
	}
}

func TestWhatDidNotWaitIsTakenOverByWhatDoes(t *testing.T) {
	s := newScene(t, nil)
	open := question("s1", 1, "delete from a")
	open.Open = true
	id := s.want(t, open, approvals.Pending).ID
	waits := question("s2", 1, "delete from a")
	if got := s.want(t, waits, approvals.Pending).ID; got != id {
		t.Errorf("it is %s, want %s", got, id)
	}
	if other := s.want(t, question("s3", 1, "delete from a"), approvals.Pending); other.ID == id {
		t.Error("two wait for one grant")
	}
	s.approve(t, id, alice)
	s.want(t, waits, approvals.Granted)
}

func TestAGrantThatIsNotUsedExpires(t *testing.T) {
	s := newScene(t, nil)
	open := question("s1", 1, "delete from a")
	open.Open = true
	id := s.want(t, open, approvals.Pending).ID
	s.approve(t, id, alice)
	s.clock.pass(time.Minute)
	if r, _ := s.Find(id); r.State != approvals.Expired || r.Reason != "granted, and not used in time" {
		t.Errorf("it is %s (%s), want expired unused", r.State, r.Reason)
	}
	if got := s.want(t, question("s1", 2, "delete from a"), approvals.Pending).ID; got == id {
		t.Error("it is asked for by the old id")
	}
}

func TestWhatIsWithdrawnIsNeverGranted(t *testing.T) {
	s := newScene(t, nil)
	q := question("s1", 1, "delete from a")
	id := s.want(t, q, approvals.Pending).ID
	resumed := s.resumed(id)
	s.Withdraw(id, "the client has disconnected")
	s.Withdraw(id, "again")
	if resumed() != 1 {
		t.Errorf("resumed %d times, want once", resumed())
	}
	if _, err := s.Vote(id, true, alice, "", ""); !errors.Is(err, approvals.ErrOver) {
		t.Errorf("approved afterwards: %v", err)
	}
	if got := s.want(t, q, approvals.Withdrawn); got.Reason != "the client has disconnected" {
		t.Errorf("withdrawn because %q", got.Reason)
	}
	q.Seq = 2
	id = s.want(t, q, approvals.Pending).ID
	s.approve(t, id, alice)
	s.Withdraw(id, "the client has disconnected") // granted, and gone before it went on
	s.want(t, q, approvals.Withdrawn)
	s.want(t, question("s1", 3, "delete from a"), approvals.Pending)
	if got, want := s.record.texts(), "asked withdrawn asked granted withdrawn asked"; got != want {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

func TestWhatIsHeldByOtherRulesIsAskedForAnew(t *testing.T) {
	s := newScene(t, nil)
	q := question("s1", 1, "delete from a")
	id := s.want(t, q, approvals.Pending).ID
	s.approve(t, id, alice)
	q.Terms.Need = 2 // reloaded before it went on
	if got := s.want(t, q, approvals.Pending).ID; got == id {
		t.Error("it is asked for under the old terms")
	}
	if r, _ := s.Find(id); r.State != approvals.Withdrawn || r.Reason != "the rules have changed" {
		t.Errorf("the old one is %s (%s), want withdrawn", r.State, r.Reason)
	}
	q.Terms.Need = 1
	s.want(t, q, approvals.Pending)
	if list, _ := s.List(false); len(list) != 1 {
		t.Errorf("%d are pending, want 1", len(list))
	}
}

func TestWaitForWhatIsOverDoesNotWait(t *testing.T) {
	s := newScene(t, nil)
	id := s.want(t, question("s1", 1, "delete from a"), approvals.Pending).ID
	s.approve(t, id, alice)
	if s.resumed(id)() != 1 || s.resumed("none")() != 1 {
		t.Error("the wait goes on")
	}
}

func TestTooManyAreRefusedAndToldSo(t *testing.T) {
	s := newScene(t, func(o *approvals.Options) { o.PerWorkload, o.Pending = 2, 3 })
	first := s.want(t, question("s1", 1, "delete from a"), approvals.Pending).ID
	s.want(t, question("s1", 2, "delete from b"), approvals.Pending)
	other := question("s2", 1, "delete from a")
	other.Session.Identity.Cgroup = "/other"
	another := question("s3", 1, "delete from a")
	another.Session.Identity.Cgroup = "/another"
	for _, tt := range []struct {
		q    *approvals.Question
		want string
	}{
		{question("s1", 3, "delete from c"), "2 requests of this workload wait for approval already."},
		{other, ""},
		{another, "3 requests wait for approval on this node already."},
		{question("s1", 4, strings.Repeat("x", 65<<10)), "Nobody can be asked about a statement of 66560 bytes: 65536 is the most that a person is shown."},
	} {
		if got := s.Consult(tt.q); got.Reason != tt.want {
			t.Errorf("%q (%s), want %q", got.Reason, got.State, tt.want)
		}
	}
	s.Withdraw(first, "gone")
	s.want(t, question("s1", 5, "delete from c"), approvals.Pending)
	c := s.Counts()
	if c.Pending != 3 || c.Refused != 3 || c.Ended[approvals.Withdrawn] != 1 {
		t.Errorf("counted %+v", c)
	}
}

func TestChangesAreTold(t *testing.T) {
	var told []string
	s := newScene(t, func(o *approvals.Options) {
		o.Heard = func(what string, r approvals.Request) { told = append(told, what+" "+r.State.String()) }
	})
	_, version := s.List(false)
	changed := s.Changed(version)
	select {
	case <-changed:
		t.Fatal("it has changed before anything happened")
	default:
	}
	id := s.want(t, question("s1", 1, "delete from a"), approvals.Pending).ID
	<-changed
	list, version := s.List(false)
	if len(list) != 1 || list[0].ID != id {
		t.Errorf("listed %+v", list)
	}
	changed = s.Changed(version)
	s.approve(t, id, alice)
	<-changed
	<-s.Changed(version)
	s.want(t, question("s1", 1, "delete from a"), approvals.Granted)
	if list, _ := s.List(false); len(list) != 0 {
		t.Errorf("listed %+v", list)
	}
	if list, _ := s.List(true); len(list) != 1 || list[0].State != approvals.Used {
		t.Errorf("listed %+v", list)
	}
	if got, want := fmt.Sprint(told), "[asked pending granted granted used used]"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
}

func TestIDsSortByTimeAndDoNotRepeat(t *testing.T) {
	s := newScene(t, func(o *approvals.Options) { o.PerWorkload = 1000 })
	last, seen := "", map[string]bool{}
	for i := range 500 {
		id := s.want(t, question("s1", uint64(i), fmt.Sprint("delete from ", i)), approvals.Pending).ID
		if id[:6] <= last || seen[id] || len(id) != 16 {
			t.Fatalf("%s comes after %s", id, last)
		}
		last, seen[id] = id[:6], true
		s.clock.mu.Lock()
		s.clock.now = s.clock.now.Add(time.Second) // its timers do not matter
		s.clock.mu.Unlock()
	}
	if _, err := s.Find(last[:4]); !errors.Is(err, approvals.ErrUnknown) {
		t.Errorf("found by what many begin with: %v", err)
	}
}
