package approvals_test

import (
	"crypto/sha256"
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
	return approvals.Voter{UID: &uid, As: uid, Name: name, Groups: groups, Via: "socket"}
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
