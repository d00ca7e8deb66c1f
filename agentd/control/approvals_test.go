package control_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"agentd.dev/agentd/approvals"
	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/control"
	"agentd.dev/policy"
)

// notes are what a desk has recorded.
type notes struct {
	mu   sync.Mutex
	all  []string
	fail error
}

func (n *notes) Note(_, text string, _ ...any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail != nil {
		return n.fail
	}
	n.all = append(n.all, text)
	return nil
}

// A bureau is a desk behind a socket.
type bureau struct {
	control.Desk
	*control.Client
	notes    *notes
	captured string // the workload that everybody is in
	asked    string // whose cgroup was asked for
}

func newBureau(t *testing.T) *bureau {
	t.Helper()
	b := &bureau{notes: &notes{}}
	log := slog.New(slog.DiscardHandler)
	b.Desk.Desk = approvals.Open(approvals.Options{Recorder: b.notes, Log: log})
	b.Captured = func(dir string) string { b.asked = dir; return b.captured }
	path := filepath.Join(t.TempDir(), "agentd.sock")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &daemon{}
	server := &control.Server{Log: log, Reporter: d, Runs: d, Connections: d.connections, Folder: t.TempDir(), Desk: b.Desk}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	b.Client = client(t, path)
	return b
}

// wait has a statement wait.
func (b *bureau) wait(workload, statement string, by ...string) string {
	return b.Consult(&approvals.Question{
		Session: &policy.Session{
			ID:       "s1",
			Identity: policy.Identity{Workload: workload, Source: "pod", PodUID: "1-2"},
			Target:   policy.Target{Name: "orders", Address: netip.MustParseAddrPort("10.0.0.5:5432")},
		},
		Seq: uint64(len(statement)), Statement: statement, Digest: [32]byte{byte(len(statement))},
		Terms: policy.Terms{Rule: "r", By: by, Expires: time.Hour},
	}).ID
}

func TestWhoeverTheKernelNamesDecides(t *testing.T) {
	b := newBureau(t)
	first, second := b.wait("w", "delete"), b.wait("w", "truncate")
	r, err := b.Approval(t.Context(), first[:8])
	if first[:8] != second[:8] && (err != nil || r.ID != first || r.Shown == "") {
		t.Errorf("found %+v, %v", r, err)
	}
	after, err := b.Approve(t.Context(), first, control.Decision{Reason: "fine"})
	if err != nil || after.State != approvals.Granted || len(after.Votes) != 1 {
		t.Fatalf("after the approval it is %+v, %v", after, err)
	}
	v := after.Votes[0]
	if v.UID == nil || !strings.HasSuffix(v.By, "(uid "+login(t)+")") || v.Via != "socket" || v.Reason != "fine" {
		t.Errorf("the vote is %+v, want that of uid %s", v, login(t))
	}
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		t.Fatal(err)
	}
	if own, err := cgroup.Own(hierarchy); err != nil || b.asked != own {
		t.Errorf("whether %q is captured was asked, want %q (%v)", b.asked, own, err)
	}
	if after, err := b.Deny(t.Context(), second, control.Decision{Reason: "no"}); err != nil || after.State != approvals.Denied {
		t.Errorf("after the denial it is %+v, %v", after, err)
	}
}

// login returns the uid of whoever this process acts for.
func login(t *testing.T) string {
	text, err := os.ReadFile("/proc/self/loginuid")
	if uid := strings.TrimSpace(string(text)); err == nil && uid != "4294967295" {
		return uid
	}
	return strconv.Itoa(os.Getuid())
}

func TestWhatIsNoVoteIsSaid(t *testing.T) {
	b := newBureau(t)
	id, dba := b.wait("w", "delete"), b.wait("w", "truncate", "no-such-group")
	over := b.wait("w", "drop")
	b.Withdraw(over, "gone")
	inside := func() { b.captured = "w" }
	broken := func() { b.captured, b.notes.fail = "", errors.New("no space left") }
	for _, tt := range []struct {
		before func()
		id     string
		say    func(context.Context, string, control.Decision) (approvals.Request, error)
		d      control.Decision
		code   int
		text   string
	}{
		{nil, "none", b.Approve, control.Decision{}, http.StatusNotFound, "there is no such request"},
		{nil, id, b.Deny, control.Decision{}, http.StatusBadRequest, "say why not"},
		{nil, id, b.Approve, control.Decision{Shown: "0"}, http.StatusBadRequest, "you were shown something else"},
		{nil, dba, b.Approve, control.Decision{}, http.StatusForbidden, "the rule asks for no-such-group"},
		{nil, over, b.Approve, control.Decision{}, http.StatusConflict, "decided already: withdrawn"},
		{inside, id, b.Approve, control.Decision{}, http.StatusForbidden, "your process is in the captured workload w"},
		{inside, id, b.Deny, control.Decision{Reason: "no"}, http.StatusForbidden, "your process is in the captured workload w"},
		{broken, id, b.Approve, control.Decision{}, http.StatusInternalServerError, "could not be recorded and has no effect: no space left"},
	} {
		if tt.before != nil {
			tt.before()
		}
		var told *control.Error
		_, err := tt.say(t.Context(), tt.id, tt.d)
		if !errors.As(err, &told) || told.Code != tt.code || !strings.Contains(told.Message, tt.text) {
			t.Errorf("%s: got %v, want %d with %q", tt.id, err, tt.code, tt.text)
		}
	}
	if r, err := b.Approval(t.Context(), id); err != nil || r.State != approvals.Pending || len(r.Votes) != 0 {
		t.Errorf("after all that it is %+v, %v", r, err)
	}
}

func TestListsAreChosenAndAwaited(t *testing.T) {
	b := newBureau(t)
	first := b.wait("w", "delete")
	second := b.wait("v", "truncate")
	b.Withdraw(second, "gone")
	for _, tt := range []struct {
		f    control.ApprovalFilter
		want string
	}{
		{control.ApprovalFilter{}, first},
		{control.ApprovalFilter{All: true, Workload: "v"}, second},
		{control.ApprovalFilter{Workload: "v"}, ""},
		{control.ApprovalFilter{Target: "orders"}, first},
		{control.ApprovalFilter{Target: "others"}, ""},
	} {
		got, err := b.Approvals(t.Context(), tt.f)
		var ids []string
		for _, r := range got.Approvals {
			ids = append(ids, r.ID)
		}
		if strings.Join(ids, " ") != tt.want || err != nil {
			t.Errorf("%+v chose %q (%v), want %q", tt.f, ids, err, tt.want)
		}
	}
	now, err := b.Approvals(t.Context(), control.ApprovalFilter{})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan control.Approvals)
	go func() {
		next, err := b.Approvals(t.Context(), control.ApprovalFilter{Since: now.Version})
		if err != nil {
			t.Error(err)
		}
		got <- next
	}()
	third := b.wait("w", "drop it")
	if next := <-got; next.Version == now.Version || len(next.Approvals) != 2 || next.Approvals[1].ID != third && next.Approvals[0].ID != third {
		t.Errorf("waited for %+v", next)
	}
}

// A daemon that stops does not wait for those who wait.
func TestStoppingEndsTheWaitForChanges(t *testing.T) {
	var waiting sync.WaitGroup
	var began time.Time
	t.Cleanup(func() { // after the server has stopped
		waiting.Wait()
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("stopping took %v", took)
		}
	})
	b := newBureau(t)
	now, err := b.Approvals(t.Context(), control.ApprovalFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		waiting.Go(func() { _, _ = b.Approvals(context.Background(), control.ApprovalFilter{Since: now.Version}) })
	}
	// Those who wait have no more of the server's connections than they need.
	if _, err := b.Approvals(t.Context(), control.ApprovalFilter{}); err != nil {
		t.Error(err)
	}
	began = time.Now()
}
