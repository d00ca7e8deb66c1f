package approvals_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"agentd.dev/agentd/approvals"
	"agentd.dev/policy"
)

// A clock is one that goes when it is told to.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*timer]bool
}

type timer struct {
	at time.Time
	f  func()
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), timers: map[*timer]bool{}}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &timer{c.now.Add(d), f}
	c.timers[t] = true
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		waited := c.timers[t]
		delete(c.timers, t)
		return waited
	}
}

// pass lets time pass and calls what is due.
func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	var due []func()
	for t := range c.timers {
		if !t.at.After(c.now) {
			due = append(due, t.f)
			delete(c.timers, t)
		}
	}
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}

// A record keeps what is recorded, until it is broken.
type record struct {
	mu     sync.Mutex
	notes  []string
	broken error
}

func (r *record) Note(kind, text string, attrs ...any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		return r.broken
	}
	r.notes = append(r.notes, kind+" "+text+" "+fmt.Sprint(attrs...))
	return nil
}

func (r *record) breaks(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = err
}

// texts returns what was recorded, without its attributes.
func (r *record) texts() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, n := range r.notes {
		all = append(all, strings.Fields(n)[1])
	}
	return strings.Join(all, " ")
}

// A scene is a desk with its clock and its record.
type scene struct {
	*approvals.Desk
	clock  *clock
	record *record
}

func newScene(t testing.TB, change func(*approvals.Options)) *scene {
	t.Helper()
	s := &scene{clock: newClock(), record: &record{}}
	options := approvals.Options{Recorder: s.record, Clock: s.clock, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&options)
	}
	s.Desk = approvals.Open(options)
	return s
}

// question asks for a statement in a session.
func question(session string, seq uint64, statement string) *approvals.Question {
	return &approvals.Question{
		Session: &policy.Session{
			ID:       session,
			Identity: policy.Identity{Workload: "reporter", Source: "unit", Cgroup: "/system.slice/reporter.service", Process: policy.Process{PID: 7, UID: 998}},
			Target:   policy.Target{Name: "orders", Address: netip.MustParseAddrPort("10.0.0.5:5432"), Protocol: "postgres"},
		},
		User: "app", Database: "orders", Seq: seq,
		Statement: statement, Digest: sha256.Sum256([]byte(statement)), Verbs: []string{"delete"},
		Terms: policy.Terms{Rule: "changes", Message: "Changes are agreed to.", Need: 1, Expires: time.Minute},
	}
}

// person is somebody of this node.
func person(uid uint32, name string, groups ...string) approvals.Voter {
	return approvals.Voter{UID: &uid, Name: name, Groups: groups, Via: "socket"}
}

var (
	alice = person(1000, "alice", "dba")
	bob   = person(1001, "bob", "dba", "ops")
)

func (s *scene) want(t *testing.T, q *approvals.Question, want approvals.State) approvals.Standing {
	t.Helper()
	got := s.Consult(q)
	if got.State != want {
		t.Fatalf("seq %d of %s is %s (%s), want %s", q.Seq, q.Session.ID, got.State, got.Reason, want)
	}
	return got
}

func (s *scene) approve(t *testing.T, id string, by approvals.Voter) {
	t.Helper()
	if _, err := s.Vote(id, true, by, "", ""); err != nil {
		t.Fatalf("approve %s: %v", id, err)
	}
}

// resumed returns a function that says how often the wait for id was over.
func (s *scene) resumed(id string) func() int {
	var (
		mu sync.Mutex
		n  int
	)
	s.Wait(id, func() { mu.Lock(); n++; mu.Unlock() })
	return func() int { mu.Lock(); defer mu.Unlock(); return n }
}

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

func TestNobodyInTimeIsANo(t *testing.T) {
	s := newScene(t, nil)
	q := question("s1", 1, "delete from a")
	id := s.want(t, q, approvals.Pending).ID
	resumed := s.resumed(id)
	s.record.breaks(errors.New("no space left")) // that it is over is so without a record
	s.clock.pass(time.Minute)
	if resumed() != 1 {
		t.Error("the wait goes on")
	}
	s.record.breaks(nil)
	s.want(t, q, approvals.Expired)
	if _, err := s.Vote(id, true, alice, "", ""); !errors.Is(err, approvals.ErrOver) {
		t.Errorf("approved afterwards: %v, want %v", err, approvals.ErrOver)
	}
}

func TestAVoteBeforeItsTimerIsTooLate(t *testing.T) {
	s := newScene(t, nil)
	id := s.want(t, question("s1", 1, "delete from a"), approvals.Pending).ID
	s.clock.mu.Lock()
	s.clock.now = s.clock.now.Add(time.Minute)
	s.clock.mu.Unlock()
	if _, err := s.Vote(id, true, alice, "", ""); !errors.Is(err, approvals.ErrOver) {
		t.Errorf("approved when it was over: %v, want %v", err, approvals.ErrOver)
	}
}

func TestADenialHoldsForTheSameForAWhile(t *testing.T) {
	s := newScene(t, nil)
	q := question("s1", 1, "delete from a")
	id := s.want(t, q, approvals.Pending).ID
	if _, err := s.Vote(id, false, alice, " ", ""); !errors.Is(err, approvals.ErrWrong) {
		t.Errorf("denied without a reason: %v, want %v", err, approvals.ErrWrong)
	}
	if _, err := s.Vote(id, false, alice, "not now", ""); err != nil {
		t.Fatal(err)
	}
	for _, q := range []*approvals.Question{q, question("s1", 2, "delete from a"), question("s2", 1, "delete from a")} {
		if got := s.want(t, q, approvals.Denied); got.Reason != "not now" || got.By != "alice (uid 1000)" {
			t.Errorf("denied by %q because %q", got.By, got.Reason)
		}
	}
	s.want(t, question("s1", 3, "delete from b"), approvals.Pending)
	s.clock.pass(time.Minute)
	s.want(t, question("s1", 4, "delete from a"), approvals.Pending)
}

func TestTwoPeopleAreTwo(t *testing.T) {
	s := newScene(t, nil)
	q := question("s1", 1, "drop table a")
	q.Terms.Need, q.Terms.By = 2, []string{"dba", "user:carol"}
	id := s.want(t, q, approvals.Pending).ID
	resumed := s.resumed(id)
	for _, tt := range []struct {
		voter approvals.Voter
		want  error
	}{
		{person(1003, "dave", "ops"), approvals.ErrBarred},
		{alice, nil},
		{alice, approvals.ErrBarred},
		{approvals.Voter{Subject: "mallory", Groups: []string{"users"}, Via: "callback"}, approvals.ErrBarred},
	} {
		if _, err := s.Vote(id, true, tt.voter, "", ""); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.voter.String(), err, tt.want)
		}
	}
	if resumed() != 0 {
		t.Error("one person was enough")
	}
	s.want(t, q, approvals.Pending)
	s.approve(t, id, person(1002, "carol"))
	if got := s.want(t, q, approvals.Granted); got.By != "alice (uid 1000), carol (uid 1002)" {
		t.Errorf("granted by %q", got.By)
	}
	if got, want := s.record.texts(), "asked agreed granted used"; got != want {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

func TestOneOfTwoDenies(t *testing.T) {
	s := newScene(t, nil)
	q := question("s1", 1, "drop table a")
	q.Terms.Need = 2
	id := s.want(t, q, approvals.Pending).ID
	s.approve(t, id, alice)
	if _, err := s.Vote(id, false, alice, "on second thoughts", ""); err != nil {
		t.Errorf("who has agreed denies: %v", err)
	}
	s.want(t, q, approvals.Denied)
}

func TestNobodyApprovesTheirOwnAgentsRequest(t *testing.T) {
	starter := map[string]uint32{"/agentd-runs/mine": 1000, "/agentd-runs/roots": 0}
	s := newScene(t, func(o *approvals.Options) {
		o.Starter = func(cgroup string) (uint32, error) {
			uid, ok := starter[cgroup]
			if !ok {
				return 0, errors.New("the run is over")
			}
			return uid, nil
		}
	})
	root := person(0, "root", "dba")
	inside := person(0, "root")
	inside.Captured = "reporter"
	remote := approvals.Voter{Subject: "alice@example.org", Via: "callback"}
	unit := policy.Identity{Workload: "w", Source: "unit", Cgroup: "/system.slice/w.service"}
	with := func(id policy.Identity, uid uint32) policy.Identity {
		id.Process.UID = uid
		return id
	}
	run := func(name string) policy.Identity {
		return policy.Identity{Workload: "w", Source: "run", Cgroup: "/agentd-runs/" + name}
	}
	pod := policy.Identity{Workload: "agents/w", Source: "pod", PodUID: "1-2", ContainerID: "abc", Cgroup: "/kubepods/abc"}
	for i, tt := range []struct {
		name  string
		id    policy.Identity
		by    approvals.Voter
		owned bool
	}{
		{"another user", with(unit, 998), alice, false},
		{"the same user", with(unit, 1000), alice, true},
		{"root of a unit that runs as root", unit, root, false},
		{"root from within a workload", unit, inside, true},
		{"who started the run", with(run("mine"), 65534), alice, true},
		{"the user whom somebody else started it as", with(run("roots"), 1000), alice, true},
		{"somebody else", with(run("mine"), 65534), bob, false},
		{"root, who started it", run("roots"), root, true},
		{"root, when alice did by sudo", run("mine"), root, false},
		{"anybody once the run is over", run("gone"), bob, true},
		{"root on the node of a pod that runs as root", pod, root, false},
		{"a user with the number of a pod's", with(pod, 1000), alice, false},
		{"root from within a pod", pod, inside, true},
		{"somebody elsewhere", with(unit, 1000), remote, false},
	} {
		q := question("s", uint64(i), fmt.Sprint("delete from ", i))
		q.Session.Identity = tt.id
		id := s.want(t, q, approvals.Pending).ID
		if _, err := s.Vote(id, true, tt.by, "", ""); errors.Is(err, approvals.ErrBarred) != tt.owned || err != nil && !tt.owned {
			t.Errorf("%s: %v, want barred: %v", tt.name, err, tt.owned)
		}
	}
}

func TestAGrantIsForNothingElse(t *testing.T) {
	pod := policy.Identity{Workload: "w", Source: "pod", PodUID: "1", Namespace: "agents", Owner: "ReplicaSet/w-1", ServiceAccount: "w", Container: "main", ContainerID: "x", Image: "img:1", Cgroup: "/kubepods/pod1/x"}
	for _, tt := range []struct {
		name   string
		change func(*approvals.Question)
		same   bool
	}{
		{"nothing", func(*approvals.Question) {}, true},
		{"a parameter or a word", func(q *approvals.Question) { q.Digest[31]++ }, false},
		{"the session and its place in it", func(q *approvals.Question) { q.Session.ID, q.Seq = "other", 99 }, true},
		{"the process and its cgroup's number", func(q *approvals.Question) {
			q.Session.Identity.Process.PID, q.Session.Identity.CgroupID = 8, 9
		}, true},
		{"another pod in its place", func(q *approvals.Question) {
			q.Session.Identity.PodUID, q.Session.Identity.ContainerID, q.Session.Identity.Cgroup = "2", "y", "/kubepods/pod2/y"
		}, true},
		{"another image", func(q *approvals.Question) { q.Session.Identity.Image = "img:2" }, false},
		{"another container", func(q *approvals.Question) { q.Session.Identity.Container = "side" }, false},
		{"another account", func(q *approvals.Question) { q.Session.Identity.ServiceAccount = "v" }, false},
		{"another owner", func(q *approvals.Question) { q.Session.Identity.Owner = "ReplicaSet/v" }, false},
		{"another namespace", func(q *approvals.Question) { q.Session.Identity.Namespace = "others" }, false},
		{"no pod, of the same name", func(q *approvals.Question) {
			q.Session.Identity = policy.Identity{Workload: "w", Source: "pod", Cgroup: "/w"}
		}, false},
		{"another target", func(q *approvals.Question) { q.Session.Target.Name = "other" }, false},
		{"another address", func(q *approvals.Question) { q.Session.Target.Address = netip.MustParseAddrPort("10.0.0.6:5432") }, false},
		{"another user", func(q *approvals.Question) { q.User = "admin" }, false},
		{"another database", func(q *approvals.Question) { q.Database = "prod" }, false},
		{"another rule", func(q *approvals.Question) { q.Terms.Rule = "other" }, false},
		{"more people to be asked", func(q *approvals.Question) { q.Terms.Need = 2 }, false},
		{"other people to be asked", func(q *approvals.Question) { q.Terms.By = []string{"dba"} }, false},
		{"a shorter while", func(q *approvals.Question) { q.Terms.For = time.Second }, false},
	} {
		s := newScene(t, nil)
		q := question("s1", 1, "delete from a")
		q.Session.Identity = pod
		q.Terms.For = time.Hour
		s.approve(t, s.want(t, q, approvals.Pending).ID, alice)
		tt.change(q)
		if got := s.Consult(q).State; (got == approvals.Granted) != tt.same {
			t.Errorf("%s: %s, want granted: %v", tt.name, got, tt.same)
		}
	}
	for _, identity := range []policy.Identity{
		{Workload: "w", Source: "unit", Cgroup: "/system.slice/w.service", Process: policy.Process{UID: 1}},
		{Workload: "w", Source: "pod", PodUID: "1", Namespace: "agents", ContainerID: "x"},
		{Workload: "w", Source: "container", ContainerID: "x"},
	} {
		s := newScene(t, nil)
		q := question("s1", 1, "delete from a")
		q.Session.Identity = identity
		q.Terms.For = time.Hour
		s.approve(t, s.want(t, q, approvals.Pending).ID, alice)
		q.Seq = 2
		s.want(t, q, approvals.Granted)
		id := &q.Session.Identity
		id.Process.UID, id.PodUID, id.ContainerID = id.Process.UID+1, id.PodUID+"2", id.ContainerID+"y"
		q.Seq = 3
		if got := s.Consult(q).State; got == approvals.Granted {
			t.Errorf("%+v: what is called the same was granted it", *id)
		}
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

func TestOnlyWhatWasShownIsDecided(t *testing.T) {
	s := newScene(t, nil)
	id := s.want(t, question("s1", 1, "delete from a"), approvals.Pending).ID
	r, err := s.Find(id[:8])
	if err != nil || r.ID != id {
		t.Fatalf("found %s, %v", r.ID, err)
	}
	if _, err := s.Vote(id, true, alice, "", strings.Repeat("0", 64)); !errors.Is(err, approvals.ErrWrong) {
		t.Errorf("shown something else: %v, want %v", err, approvals.ErrWrong)
	}
	if got := approvals.Shown(&r); got != r.Shown {
		t.Errorf("what is shown has the digest %s, want %s", got, r.Shown)
	}
	if _, err := s.Vote(id, true, alice, "", r.Shown); err != nil {
		t.Error(err)
	}
	if n := s.record.notes[1]; !strings.Contains(n, r.Shown) || !strings.Contains(n, "alice") {
		t.Errorf("recorded %q", n)
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
