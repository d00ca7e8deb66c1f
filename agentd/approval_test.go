package agentd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"agentd.dev/agentd/approvals"
	"agentd.dev/agentd/cgroup"
	"agentd.dev/agentd/control"
	"agentd.dev/agentd/internal/asker"
	"agentd.dev/agentd/internal/lab"
)

// asking holds what writes to a table.
const askingRules = `
rules:
  - name: writes-need-a-person
    on: request
    when: sql.verbs.exists(v, v in ["insert", "delete", "update", "drop"])
    do: approve
    message: This writes.
    expires: 1h
`

// ran counts how often each statement has run.
const ran = "create table ran (n int, at timestamptz default now()); grant all on ran to public;"

// An office is a captured workload that asks, and those who decide.
type office struct {
	t      *testing.T
	server *lab.Server
	agentd *lab.Agentd
	group  *lab.Cgroup // of the workload
	desk   *control.Client
}

func newOffice(t *testing.T, rules string, setup lab.Setup, options ...lab.PostgresOption) *office {
	t.Helper()
	o := &office{t: t, server: lab.Postgres(t, options...)}
	o.server.SQL(t, ran)
	setup.Policy, setup.Target = rules, o.server
	o.agentd = lab.NewAgentd(t, setup)
	o.group = o.agentd.Root.Child(t, "agents")
	hierarchy, err := cgroup.Hierarchy()
	if err != nil {
		t.Fatal(err)
	}
	edit(t, o.agentd, func(config string) string {
		return strings.Replace(config, "capture: {", fmt.Sprintf("capture: {workloads: [{name: agents, cgroup: %q}], ", strings.TrimPrefix(o.group.Path, hierarchy)), 1)
	})
	o.start()
	return o
}

func (o *office) start() {
	o.t.Helper()
	if err := o.agentd.Start(o.t); err != nil {
		o.t.Fatal(err)
	}
	o.desk = control.NewClient(o.agentd.Socket)
	o.t.Cleanup(o.desk.Close)
}

// An agent is a process of the workload.
type agent struct {
	t       *testing.T
	cmd     *exec.Cmd
	mu      sync.Mutex // guards in
	in      *json.Encoder
	answers chan asker.Answer // closed when it has ended
	early   []asker.Answer    // that came before they were waited for
}

func (o *office) agent() *agent {
	o.t.Helper()
	cmd := exec.Command(lab.Binary(o.t, "./agentd/internal/asker/client"))
	cmd.Env = append(os.Environ(), "PGHOST="+o.server.Addr.Addr().String(), fmt.Sprint("PGPORT=", o.server.Addr.Port()),
		"PGUSER="+o.server.User, "PGPASSWORD="+o.server.Password, "PGDATABASE="+o.server.Database, "PGSSLMODE=disable")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	if err := o.group.Put(cmd).Start(); err != nil {
		o.t.Fatal(err)
	}
	a := &agent{t: o.t, cmd: cmd, in: json.NewEncoder(in), answers: make(chan asker.Answer, 10_000)}
	go func() {
		defer close(a.answers)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			var answer asker.Answer
			if err := json.Unmarshal(lines.Bytes(), &answer); err == nil {
				a.answers <- answer
			}
		}
	}()
	o.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return a
}

func (a *agent) do(o asker.Order) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.in.Encode(o); err != nil {
		a.t.Error(err)
	}
}

// hear returns the next answer of a connection that ok takes.
func (a *agent) hear(conn int, ok func(asker.Answer) bool) asker.Answer {
	a.t.Helper()
	for i, early := range a.early {
		if early.Conn == conn && ok(early) {
			a.early = append(a.early[:i:i], a.early[i+1:]...)
			return early
		}
	}
	limit := time.After(time.Minute)
	for {
		select {
		case answer, live := <-a.answers:
			switch {
			case !live:
				a.t.Fatalf("the agent has ended; before that it said %+v", a.early)
			case answer.Conn == conn && ok(answer):
				return answer
			}
			a.early = append(a.early, answer)
		case <-limit:
			a.t.Fatalf("connection %d hears nothing; %d answers were for others", conn, len(a.early))
		}
	}
}

func isNotice(a asker.Answer) bool { return a.Notice != "" }
func isResult(a asker.Answer) bool { return a.Notice == "" }

var approvalID = regexp.MustCompile(`agentd-approval: ([^)]+)\)`)

// held waits until a connection was told that it waits, and returns for what.
func (a *agent) held(conn int) string {
	a.t.Helper()
	return idIn(a.t, a.hear(conn, isNotice).Notice)
}

func idIn(t *testing.T, text string) string {
	t.Helper()
	id := approvalID.FindStringSubmatch(text)
	if id == nil {
		t.Fatalf("%q has no id of an approval", text)
	}
	return id[1]
}

// result waits for what came of a statement.
func (a *agent) result(conn int) asker.Answer {
	a.t.Helper()
	return a.hear(conn, isResult)
}

// say is do, and waits for what comes of it.
func (a *agent) say(o asker.Order) asker.Answer {
	a.t.Helper()
	a.do(o)
	return a.result(o.Conn)
}

func (o *office) approve(id string) {
	o.t.Helper()
	o.decide((*control.Client).Approve, id)
}

func (o *office) deny(id string) {
	o.t.Helper()
	o.decide((*control.Client).Deny, id)
}

func (o *office) decide(how func(*control.Client, context.Context, string, control.Decision) (approvals.Request, error), id string) {
	o.t.Helper()
	r := o.request(id)
	if _, err := how(o.desk, context.Background(), id, control.Decision{Reason: "said the test", Shown: r.Shown}); err != nil {
		o.t.Fatalf("decide on %s: %v", id, err)
	}
}

func (o *office) request(id string) approvals.Request {
	o.t.Helper()
	r, err := o.desk.Approval(context.Background(), id)
	if err != nil {
		o.t.Fatalf("approval %s: %v", id, err)
	}
	return r.Request
}

// ran returns how often a statement with that number has run.
func (o *office) ran(n int) string {
	o.t.Helper()
	return o.server.SQL(o.t, fmt.Sprintf("select count(*) from ran where n = %d", n))
}

func TestApprovedStatementRunsOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t, askingRules, lab.Setup{})
	a := o.agent()
	for i, order := range []asker.Order{
		{SQL: "insert into ran values (1)", Simple: true},
		{SQL: "insert into ran values (2)"},
		{SQL: "insert into ran values ($1)", Args: []any{3}},
	} {
		a.do(order)
		id := a.held(0)
		if got := o.ran(i + 1); got != "0" {
			t.Fatalf("%s has run %s times before anybody agreed", order.SQL, got)
		}
		r := o.request(id)
		if r.Statement != order.SQL || len(order.Args) > 0 && (len(r.Parameters) != 1 || r.Parameters[0] != "3") {
			t.Errorf("people are shown %q with %q, want %q with %v", r.Statement, r.Parameters, order.SQL, order.Args)
		}
		if r.User != o.server.User || r.Database != o.server.Database || r.Target != "orders" || r.Workload.Name != "agents" {
			t.Errorf("people are shown %+v", r)
		}
		o.approve(id)
		if got := a.result(0); got.Tag != "INSERT 0 1" {
			t.Errorf("%s: %+v", order.SQL, got)
		}
		if got := o.ran(i + 1); got != "1" {
			t.Errorf("%s has run %s times, want once", order.SQL, got)
		}
		a.do(order)
		again := a.held(0)
		if again == id {
			t.Errorf("%s runs again by the same approval", order.SQL)
		}
		o.deny(again)
		if got := a.result(0); got.Code != "42501" || !strings.Contains(got.Message, "denied") || !strings.Contains(got.Message, "said the test") {
			t.Errorf("%s denied: %+v", order.SQL, got)
		}
		if got := o.ran(i + 1); got != "1" {
			t.Errorf("%s has run %s times, want once", order.SQL, got)
		}
		if got := a.say(asker.Order{SQL: "select 1"}); got.Tag != "SELECT 1" {
			t.Errorf("after that: %+v", got)
		}
	}
	if out, err := o.agentd.Ctl(t, "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

func TestCancelledStatementNeverRuns(t *testing.T) {
	t.Parallel()
	o := newOffice(t, askingRules, lab.Setup{})
	a := o.agent()
	for i, simple := range []bool{true, false} {
		a.do(asker.Order{SQL: fmt.Sprintf("insert into ran values (%d)", i), Simple: simple})
		id := a.held(0)
		a.do(asker.Order{Cancel: true})
		if got := a.result(0); got.Code != "57014" || got.Message != "canceling statement due to user request" {
			t.Errorf("cancelled: %+v", got)
		}
		if r := o.request(id); r.State != approvals.Withdrawn {
			t.Errorf("the request is %s, want withdrawn", r.State)
		}
		if _, err := o.desk.Approve(context.Background(), id, control.Decision{Shown: o.request(id).Shown}); err == nil {
			t.Error("what was cancelled can be approved")
		}
		if got := a.say(asker.Order{SQL: "select 1"}); got.Tag != "SELECT 1" {
			t.Errorf("after that: %+v", got)
		}
	}
	if got := o.server.SQL(t, "select count(*) from ran"); got != "0" {
		t.Errorf("%s have run", got)
	}
}

func TestDisconnectTakesTheRequestBack(t *testing.T) {
	t.Parallel()
	o := newOffice(t, askingRules, lab.Setup{})
	a := o.agent()
	a.do(asker.Order{SQL: "insert into ran values (1)"})
	closed := a.held(0)
	a.do(asker.Order{Close: true})
	a.result(0)
	b := o.agent()
	b.do(asker.Order{SQL: "insert into ran values (1)"})
	killed := b.held(0)
	_ = b.cmd.Process.Kill()
	for _, id := range []string{closed, killed} {
		for o.request(id).State == approvals.Pending { // the kernel says when
			<-time.After(10 * time.Millisecond)
		}
		if r := o.request(id); r.State != approvals.Withdrawn {
			t.Errorf("the request is %s, want withdrawn", r.State)
		}
	}
	if got := o.ran(1); got != "0" {
		t.Errorf("it has run %s times", got)
	}
}

// A parameter, a literal, a setting or the text makes it another statement.
func TestApprovalIsForOneStatement(t *testing.T) {
	t.Parallel()
	o := newOffice(t, strings.Replace(askingRules, "expires: 1h", "for: 10m", 1), lab.Setup{})
	a := o.agent()
	a.do(asker.Order{SQL: "insert into ran values ($1)", Args: []any{1}})
	id := a.held(0)
	o.approve(id)
	a.result(0)
	if got := a.say(asker.Order{SQL: "INSERT  into ran values ($1) /* traceparent='2' */", Args: []any{1}}); got.Tag != "INSERT 0 1" {
		t.Errorf("the same again: %+v", got)
	}
	if got := a.say(asker.Order{Conn: 1, SQL: "insert into ran values ($1)", Args: []any{1}}); got.Tag != "INSERT 0 1" {
		t.Errorf("the same on another connection: %+v", got)
	}
	for i, order := range []asker.Order{
		{Conn: 2, SQL: "insert into ran values ($1)", Args: []any{2}},
		{Conn: 3, SQL: "insert into ran values (1)"},
		{Conn: 4, SQL: "insert into ran values ($1); ", Args: []any{1}, Simple: true}, // with the value in the text
		{Conn: 5, SQL: "insert into ran (n) values ($1)", Args: []any{1}},
	} {
		a.do(order)
		if other := a.held(order.Conn); other == id {
			t.Errorf("%d goes by the approval of another", i)
		}
	}
	a.say(asker.Order{Conn: 6, SQL: "set app.tenant = '1'", Simple: true})
	a.do(asker.Order{Conn: 6, SQL: "insert into ran values ($1)", Args: []any{1}})
	a.held(6)
	if got := o.ran(1); got != "3" {
		t.Errorf("it has run %s times, want 3", got)
	}
}

func TestInATransactionItIsRefusedAndTriedAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t, askingRules, lab.Setup{})
	a := o.agent()
	try := func(conn, n int) asker.Answer {
		a.say(asker.Order{Conn: conn, SQL: "begin"})
		got := a.say(asker.Order{Conn: conn, SQL: "insert into ran values ($1)", Args: []any{n}})
		end := "rollback"
		if got.Code == "" {
			end = "commit"
		}
		a.say(asker.Order{Conn: conn, SQL: end})
		return got
	}
	first := try(0, 1)
	id := idIn(t, first.Message)
	if first.Code != "42501" || !strings.Contains(first.Hint, id) {
		t.Errorf("in a transaction: %+v", first)
	}
	if again := idIn(t, try(0, 1).Message); again != id {
		t.Errorf("the second try asks for %s, and the first has asked for %s", again, id)
	}
	o.approve(id)
	if got := try(0, 2); idIn(t, got.Message) == id {
		t.Errorf("another value goes by the same approval: %+v", got)
	}
	if got := try(0, 1); got.Tag != "INSERT 0 1" {
		t.Errorf("once it was granted: %+v", got)
	}
	if got := try(0, 1); idIn(t, got.Message) == id {
		t.Errorf("replayed: %+v", got)
	}
	if got := o.ran(1); got != "1" {
		t.Errorf("it has run %s times, want once", got)
	}
}

func TestRulesThatChangeWhileItWaitsDecide(t *testing.T) {
	t.Parallel()
	o := newOffice(t, askingRules, lab.Setup{})
	a := o.agent()
	a.do(asker.Order{SQL: "insert into ran values (1)"})
	id := a.held(0)
	o.reload(strings.Replace(askingRules, "do: approve", "do: deny", 1), "expires: 1h")
	o.approve(id)
	if got := a.result(0); got.Code != "42501" || strings.Contains(got.Message, "approv") {
		t.Errorf("denied by the rules, and approved: %+v", got)
	}
	if got := o.ran(1); got != "0" {
		t.Errorf("it has run %s times", got)
	}
}

// reload has other rules in force, without what they do not take.
func (o *office) reload(rules, without string) {
	o.t.Helper()
	before := status(o.t, o.agentd)
	rules = strings.Replace(rules, without, "", 1)
	if err := os.WriteFile(o.agentd.Dir+"/policies/policy.yaml", []byte(rules), 0o600); err != nil {
		o.t.Fatal(err)
	}
	eventually(o.t, o.agentd, "the rules are new", func(s control.Status) bool { return s.Policy.Loaded.After(before.Policy.Loaded) })
}

// fates are what can become of a statement that waits. Each says what its client
// may be told, by the code of its error.
var fates = []struct {
	name  string
	codes string // "" among them: it ran
	do    func(o *office, a *agent, conn int, id string)
}{
	{"approved", "ran", func(o *office, _ *agent, _ int, id string) { o.vote((*control.Client).Approve, id) }},
	{"denied", "42501", func(o *office, _ *agent, _ int, id string) { o.vote((*control.Client).Deny, id) }},
	{"cancelled", "57014", func(_ *office, a *agent, conn int, _ string) { a.do(asker.Order{Conn: conn, Cancel: true}) }},
	{"closed", "closed", func(_ *office, a *agent, conn int, _ string) { a.do(asker.Order{Conn: conn, Close: true}) }},
	{"expired", "42501", func(*office, *agent, int, string) {}},
	{"approved and cancelled", "ran 57014", func(o *office, a *agent, conn int, id string) {
		go a.do(asker.Order{Conn: conn, Cancel: true})
		o.vote((*control.Client).Approve, id)
	}},
	{"approved and closed", "ran closed", func(o *office, a *agent, conn int, id string) {
		go a.do(asker.Order{Conn: conn, Close: true})
		o.vote((*control.Client).Approve, id)
	}},
	{"approved and denied", "ran 42501", func(o *office, _ *agent, _ int, id string) {
		go o.vote((*control.Client).Deny, id)
		o.vote((*control.Client).Approve, id)
	}},
	{"approved twice", "ran", func(o *office, _ *agent, _ int, id string) {
		go o.vote((*control.Client).Approve, id)
		o.vote((*control.Client).Approve, id)
	}},
	{"restarted", "42501 57P01 closed", nil}, // whatever comes first: the word of the desk, or of the loop
}

// vote is decide where it may have no effect.
func (o *office) vote(how func(*control.Client, context.Context, string, control.Decision) (approvals.Request, error), id string) {
	desk := control.NewClient(o.agentd.Socket)
	defer desk.Close()
	r, err := desk.Approval(context.Background(), id)
	if err == nil {
		_, err = how(desk, context.Background(), id, control.Decision{Reason: "said the test", Shown: r.Request.Shown})
	}
	if err != nil && !strings.Contains(err.Error(), "it is decided already") {
		o.t.Errorf("decide on %s: %v", id, err)
	}
}

// Each of a hundred statements runs once or never, whatever becomes of it, and
// its client is told the truth; the table is the witness.
func TestAHundredHeldStatementsRunOnceOrNever(t *testing.T) {
	t.Parallel()
	const n = 100
	rules := askingRules + `
  - {name: short, on: request, when: 'sql.normalized.contains("expires")', do: approve, expires: 30s}
`
	o := newOffice(t, rules, lab.Setup{Flags: []string{"-race"}, Config: "limits: {drain: 2s}\n"}, lab.Setting("max_connections=300"))
	a := o.agent()
	ids := make([]string, n)
	for i := range n {
		fate := fates[i%len(fates)].name
		text := fmt.Sprintf("insert into ran values ($1) returning '%s' as %s", fate, strings.ReplaceAll(fate, " ", "_"))
		if fate == "expired" {
			text += ", 1 as expires"
		}
		a.do(asker.Order{Conn: i, SQL: text, Args: []any{i}, Simple: i%3 == 0})
	}
	for i := range n {
		ids[i] = a.held(i)
	}
	if got := o.server.SQL(t, "select count(*) from ran"); got != "0" {
		t.Fatalf("%s have run before anybody agreed", got)
	}
	var doing sync.WaitGroup
	atOnce := make(chan struct{}, 8) // agentd answers so many people at once, and some more
	for _, i := range rand.Perm(n) {
		if do := fates[i%len(fates)].do; do != nil {
			doing.Go(func() {
				atOnce <- struct{}{}
				defer func() { <-atOnce }()
				do(o, a, i, ids[i])
			})
		}
	}
	doing.Wait()
	told := make([]string, n)
	hear := func(i int) {
		got := a.result(i)
		switch {
		case got.Tag == "INSERT 0 1":
			told[i] = "ran"
		case got.Code != "":
			told[i] = got.Code
		default:
			told[i] = "closed"
		}
	}
	for i := range n {
		if fates[i%len(fates)].do != nil {
			hear(i)
		}
	}
	o.agentd.Process.Stop(syscall.SIGTERM)
	for i := range n {
		if fates[i%len(fates)].do == nil {
			hear(i)
		}
	}
	o.start()
	for i := range n {
		fate := &fates[i%len(fates)]
		if !slices.Contains(strings.Fields(fate.codes), told[i]) {
			t.Errorf("%s: the client was told %q, want one of %q", fate.name, told[i], fate.codes)
		}
		most, least := "1", "0"
		switch told[i] {
		case "ran":
			least = "1"
		case "42501":
			most = "0"
		}
		if !strings.Contains(fate.codes, "ran") {
			most = "0"
		}
		if got := o.ran(i); got < least || got > most {
			t.Errorf("%s: the client was told %q, and it has run %s times", fate.name, told[i], got)
		}
		o.vote((*control.Client).Approve, ids[i]) // over, whatever it was
	}
	before := o.server.SQL(t, "select count(*) from ran")
	if most := o.server.SQL(t, "select coalesce(max(c), 0) from (select count(*) c from ran group by n) x"); most > "1" {
		t.Errorf("a statement has run %s times", most)
	}
	t.Logf("%s of %d have run", before, n)
	if said := o.agentd.Said(); strings.Contains(said, "DATA RACE") {
		t.Errorf("agentd said:\n%s", said)
	}
	if out, err := o.agentd.Ctl(t, "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

// One grant, and two sessions that try the same in transactions at once.
func TestOneGrantLetsOneOfTwoThrough(t *testing.T) {
	t.Parallel()
	o := newOffice(t, askingRules, lab.Setup{})
	a := o.agent()
	for round := range 20 {
		insert := asker.Order{SQL: "insert into ran values ($1)", Args: []any{round}}
		try := func(conn int) {
			insert.Conn = conn
			a.do(asker.Order{Conn: conn, SQL: "begin"})
			a.do(insert)
			a.do(asker.Order{Conn: conn, SQL: "commit"})
		}
		came := func(conn int) asker.Answer {
			a.result(conn)
			defer a.result(conn)
			return a.result(conn)
		}
		try(0)
		id := idIn(t, came(0).Message)
		o.approve(id)
		try(1)
		try(2)
		one, two := came(1), came(2)
		if (one.Code == "") == (two.Code == "") {
			t.Fatalf("one: %+v, other: %+v", one, two)
		}
		if got := o.ran(round); got != "1" {
			t.Fatalf("it has run %s times, want once", got)
		}
	}
}

// The text of what was held is still there when agentd puts a transaction of its
// own around it.
func TestGrantedStatementKeepsToItsLimits(t *testing.T) {
	t.Parallel()
	o := newOffice(t, askingRules+`
  - {name: small, on: request, do: limit, affected: 2}
`, lab.Setup{})
	a := o.agent()
	for i, tt := range []struct {
		simple bool
		last   int
		code   string
	}{{true, 2, ""}, {true, 3, "53400"}, {false, 2, ""}, {false, 3, "53400"}} {
		text := fmt.Sprintf("insert into ran select %d from generate_series(1, %d) /* %s */", i, tt.last, strings.Repeat("x", 30_000))
		a.do(asker.Order{SQL: text, Simple: tt.simple})
		id := a.held(0)
		for range 3 { // others use the buffers meanwhile
			a.say(asker.Order{Conn: 1, SQL: "select '" + strings.Repeat("y", 60_000) + "'", Simple: true})
		}
		o.approve(id)
		if got := a.result(0); got.Code != tt.code {
			t.Errorf("%d rows: %+v, want the code %q", tt.last, got, tt.code)
		}
		want := fmt.Sprint(tt.last)
		if tt.code != "" {
			want = "0"
		}
		if got := o.ran(i); got != want {
			t.Errorf("%s rows were inserted, want %s", got, want)
		}
	}
}

func TestServerThatEndsASessionWhichWaitsIsHeard(t *testing.T) {
	t.Parallel()
	o := newOffice(t, askingRules, lab.Setup{})
	a := o.agent()
	a.do(asker.Order{SQL: "insert into ran values (1)", Simple: true})
	id := a.held(0)
	o.server.SQL(t, "select pg_terminate_backend(pid) from pg_stat_activity where usename = '"+o.server.User+"'")
	if got := a.result(0); got.Code != "57P01" {
		t.Errorf("the server has ended the session: %+v, want its own words", got)
	}
	for o.request(id).State == approvals.Pending {
		<-time.After(10 * time.Millisecond)
	}
	if r := o.request(id); r.State != approvals.Withdrawn {
		t.Errorf("the request is %s, want withdrawn", r.State)
	}
	if got := o.ran(1); got != "0" {
		t.Errorf("it has run %s times", got)
	}
}

// Nobody can decide in an agentd that another has taken over from: what waits is
// refused, and the session goes on.
func TestUpgradeRefusesWhatWaits(t *testing.T) {
	t.Parallel()
	o := newOffice(t, askingRules, lab.Setup{})
	a := o.agent()
	a.do(asker.Order{SQL: "insert into ran values (1)"})
	id := a.held(0)
	o.start()
	if got := a.result(0); got.Code != "42501" || !strings.Contains(got.Message, "upgraded") {
		t.Errorf("after the upgrade: %+v", got)
	}
	if got := a.say(asker.Order{SQL: "select 1"}); got.Tag != "SELECT 1" {
		t.Errorf("after that: %+v", got)
	}
	if got := a.say(asker.Order{SQL: "insert into ran values (1)"}); got.Code != "42501" || !strings.Contains(got.Message, "upgraded") {
		t.Errorf("in the session from before: %+v", got)
	}
	a.do(asker.Order{Conn: 1, SQL: "insert into ran values (1)"})
	if other := a.held(1); other == id {
		t.Error("what waited before waits again")
	} else {
		o.approve(other)
	}
	if got := a.result(1); got.Tag != "INSERT 0 1" {
		t.Errorf("in a new session: %+v", got)
	}
	if got := o.ran(1); got != "1" {
		t.Errorf("it has run %s times, want once", got)
	}
}

// While it waits, a statement holds no lock, and no snapshot that keeps the
// server from tidying up.
func TestWhatWaitsHoldsNoLock(t *testing.T) {
	t.Parallel()
	o := newOffice(t, askingRules, lab.Setup{})
	a := o.agent()
	for i, order := range []asker.Order{
		{SQL: "insert into ran values (0)", Simple: true},
		{SQL: "insert into ran values ($1)", Args: []any{1}},
		{SQL: "delete from ran where n = $1 returning n", Args: []any{7}},
	} {
		order.Conn = i
		a.do(order)
		id := a.held(i)
		const held = "select coalesce(string_agg(locktype || ' ' || coalesce(relation::regclass::text, '') || ' ' || mode, ', '), '') from pg_locks where pid <> pg_backend_pid() and database is not null"
		if got := o.server.SQL(t, held); got != "" {
			t.Errorf("%s holds %s while it waits", order.SQL, got)
		}
		if got := o.server.SQL(t, "select count(backend_xmin) from pg_stat_activity where usename = '"+o.server.User+"'"); got != "0" {
			t.Errorf("%s holds a snapshot while it waits", order.SQL)
		}
		o.approve(id)
		if got := a.result(i); got.Code != "" || got.Message != "" {
			t.Errorf("%s: %+v", order.SQL, got)
		}
	}
}

// What touches protected columns is shown without its values, and what was not
// understood can be approved, too.
func TestWhatPeopleAreShown(t *testing.T) {
	t.Parallel()
	o := newOffice(t, askingRules+`
  - {name: secret, on: result, do: mask, columns: [public.vault.pin]}
`, lab.Setup{})
	edit(t, o.agentd, func(config string) string {
		return strings.Replace(config, "unclassified: deny", "unclassified: approve", 1)
	})
	o.server.SQL(t, "create table vault (n int, pin text); grant all on vault to public;")
	before := status(t, o.agentd)
	if err := o.agentd.Process.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, o.agentd, "unclassified: approve", func(s control.Status) bool { return s.Config.Loaded.After(before.Config.Loaded) })
	a := o.agent()
	for _, tt := range []struct {
		order            asker.Order
		statement, shown string
		rule, code       string
	}{
		{
			order:     asker.Order{SQL: "insert into vault values ($1, $2)", Args: []any{1, "4711"}},
			statement: "insert into vault values ($1, $2)", shown: "? ?",
		},
		{
			order:     asker.Order{SQL: "insert into vault values (2, '4712')", Simple: true},
			statement: "insert into vault values (?, ?)",
		},
		{
			order:     asker.Order{SQL: "selekt 'nobody understands this'", Simple: true},
			statement: "selekt ?", rule: "unclassified", code: "42601",
		},
	} {
		a.do(tt.order)
		id := a.held(0)
		r := o.request(id)
		if r.Statement != tt.statement || strings.Join(r.Parameters, " ") != tt.shown {
			t.Errorf("people are shown %q with %q, want %q with %q", r.Statement, r.Parameters, tt.statement, tt.shown)
		}
		if tt.rule != "" && r.Rule != tt.rule {
			t.Errorf("%s waits by rule %s, want %s", tt.order.SQL, r.Rule, tt.rule)
		}
		o.approve(id)
		if got := a.result(0); got.Code != tt.code {
			t.Errorf("%s: %+v, want the code %q", tt.order.SQL, got, tt.code)
		}
	}
	if got := o.server.SQL(t, "select string_agg(pin, ' ' order by n) from vault"); got != "4711 4712" {
		t.Errorf("the table has %s", got)
	}
}

// A psql, on TLS or not: it shows the notice, Ctrl-C takes the statement back,
// and so does its end.
func TestPsqlWaits(t *testing.T) {
	t.Parallel()
	for _, tls := range []string{"", "{client: offer}"} {
		o := newOffice(t, askingRules, lab.Setup{TLS: tls})
		for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGKILL} {
			cmd := psql(o.server, "insert into ran values (1);")
			if tls != "" {
				cmd.Env = append(cmd.Env, "PGSSLMODE=require")
			}
			var said strings.Builder
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := o.group.Put(cmd).Start(); err != nil {
				t.Fatal(err)
			}
			id := o.waiting()
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Errorf("psql ends as if all went well; it printed\n%s", said.String())
			}
			for o.request(id).State == approvals.Pending {
				<-time.After(10 * time.Millisecond)
			}
			if r := o.request(id); r.State != approvals.Withdrawn {
				t.Errorf("the request is %s, want withdrawn", r.State)
			}
			for _, want := range []string{
				"NOTICE:  00000: This writes. It waits for approval (agentd-approval: " + id + ")",
				"ERROR:  57014: canceling statement due to user request",
			} {
				if signal == syscall.SIGINT && !strings.Contains(said.String(), want) {
					t.Errorf("TLS %q, %v: psql printed\n%s\nwant %q in it", tls, signal, said.String(), want)
				}
			}
		}
		if got := o.server.SQL(t, "select count(*) from ran"); got != "0" {
			t.Errorf("%s have run", got)
		}
	}
}

// waiting returns the id of what waits, once something does.
func (o *office) waiting() string {
	o.t.Helper()
	for {
		list, err := o.desk.Approvals(context.Background(), control.ApprovalFilter{})
		if err != nil {
			o.t.Fatal(err)
		}
		if len(list.Approvals) > 0 {
			return list.Approvals[0].ID
		}
		<-time.After(10 * time.Millisecond)
	}
}
