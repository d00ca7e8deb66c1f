package approvals_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/approvals"
	"agentd.dev/policy"
)

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
	if _, err := s.Vote(id, false, alice, "a\x00b", ""); !errors.Is(err, approvals.ErrWrong) {
		t.Errorf("denied with what no protocol carries: %v, want %v", err, approvals.ErrWrong)
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
		{person(0, "root", "dba"), approvals.ErrBarred},
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
	become := bob // by sudo -u
	become.As = 1000
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
		{"another who has become the same user", with(unit, 1000), become, true},
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
		{Workload: "w", Source: "run", CgroupID: 1},
	} {
		s := newScene(t, nil)
		q := question("s1", 1, "delete from a")
		q.Session.Identity = identity
		q.Terms.For = time.Hour
		s.approve(t, s.want(t, q, approvals.Pending).ID, alice)
		q.Seq = 2
		s.want(t, q, approvals.Granted)
		id := &q.Session.Identity
		id.Process.UID, id.PodUID, id.ContainerID, id.CgroupID = id.Process.UID+1, id.PodUID+"2", id.ContainerID+"y", id.CgroupID+1
		q.Seq = 3
		if got := s.Consult(q).State; got == approvals.Granted {
			t.Errorf("%+v: what is called the same was granted it", *id)
		}
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
