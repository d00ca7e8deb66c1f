package agentd_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentd.dev/agentd/internal/asker"
	"agentd.dev/agentd/internal/lab"
)

const budgetRules = `
rules:
  - name: enough
    on: request
    when: '"select" in sql.verbs && usage.hour.rows > 100'
    do: deny
    message: More than 100 rows in an hour.
`

func rowsOrder(n int) asker.Order {
	return asker.Order{SQL: fmt.Sprintf("select generate_series(1, %d)", n)}
}

// wantSpent reports an answer that is not a refusal by the budget.
func wantSpent(t *testing.T, when string, got asker.Answer) {
	t.Helper()
	if got.Code != "42501" || !strings.Contains(got.Message, "100 rows in an hour") {
		t.Errorf("%s: %+v, want it refused", when, got)
	}
}

func TestABudgetIsUsedUpAcrossSessionsRestartsAndUpgrades(t *testing.T) {
	t.Parallel()
	o := newOffice(t, budgetRules, lab.Setup{})
	a := o.agent()
	for i := range 3 { // 40, 80 and 120 rows; each session has its own memory of verdicts
		if got := a.say(asker.Order{Conn: i, SQL: rowsOrder(40).SQL}); got.Tag != "SELECT 40" {
			t.Fatalf("the statement that comes to %d rows: %+v", 40*(i+1), got)
		}
	}
	for i := range 4 {
		wantSpent(t, "after 120 rows", a.say(asker.Order{Conn: i, SQL: rowsOrder(40).SQL}))
	}
	if got := a.say(asker.Order{SQL: "insert into ran values (1)"}); got.Tag != "INSERT 0 1" {
		t.Errorf("what the rule does not speak of: %+v", got)
	}

	for i := range 4 {
		a.do(asker.Order{Conn: i, Close: true})
	}
	o.agentd.Process.Stop(syscall.SIGTERM)
	o.start()
	a = o.agent()
	wantSpent(t, "after a restart", a.say(rowsOrder(1)))

	old := o.agentd.Process
	o.start() // takes over
	wantSpent(t, "in the session that the old agentd keeps", a.say(rowsOrder(1)))
	wantSpent(t, "after an upgrade", a.say(asker.Order{Conn: 1, SQL: rowsOrder(1).SQL}))
	a.do(asker.Order{Close: true})
	if err := old.Wait(); err != nil {
		t.Errorf("the old agentd: %v", err)
	}
}

func TestWhatAnOldAgentdsSessionsUseCountsForTheNew(t *testing.T) {
	t.Parallel()
	o := newOffice(t, budgetRules, lab.Setup{})
	a := o.agent()
	if got := a.say(rowsOrder(1)); got.Tag != "SELECT 1" {
		t.Fatalf("%+v", got)
	}
	o.start()
	if got := a.say(rowsOrder(150)); got.Tag != "SELECT 150" {
		t.Fatalf("%+v", got)
	}
	limit := time.Now().Add(time.Minute)
	for conn := 1; ; conn++ {
		got := a.say(asker.Order{Conn: conn, SQL: "select 1"})
		if got.Code == "42501" {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("the new agentd does not know of what the old one's session used: %+v", got)
		}
		a.do(asker.Order{Conn: conn, Close: true})
	}
}

func TestABudgetOutlivesAKill(t *testing.T) {
	t.Parallel()
	o := newOffice(t, budgetRules, lab.Setup{})
	a := o.agent()
	if got := a.say(rowsOrder(150)); got.Tag != "SELECT 150" {
		t.Fatalf("%+v", got)
	}
	file := filepath.Join(o.agentd.Dir, "state", "usage.json")
	limit := time.Now().Add(time.Minute)
	for {
		text, _ := os.ReadFile(file)
		if strings.Contains(string(text), ",150,") {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("what was used is not kept: %s", text)
		}
		<-time.After(20 * time.Millisecond)
	}
	o.agentd.Process.Stop(syscall.SIGKILL)
	o.start()
	wantSpent(t, "after a kill", o.agent().say(rowsOrder(1)))
}

// What a workload has never done is told to people, or held until they agree, and
// is nothing new from then on.
func TestWhatAWorkloadDoesForTheFirstTimeIsToldAndHeld(t *testing.T) {
	t.Parallel()
	p, config := newPress(t, "carol")
	o := newOffice(t, `
rules:
  - {name: new-table, on: request, when: first.table, do: alert}
  - {name: new-verb, on: request, when: 'first.verb && !("select" in sql.verbs)', do: approve, message: It has never done this.}
  - {name: new-program, on: login, when: first.program, do: alert}
`, lab.Setup{Config: config + "drift: {learn: 0s}\n"})
	a := o.agent()
	if got := a.say(asker.Order{SQL: "select count(*) from ran"}); got.Tag != "SELECT 1" {
		t.Fatalf("%+v", got)
	}
	told := map[string]toldNotice{}
	for range 2 {
		n := p.next("alert", "alert")
		told[n.Facts["rule"]] = n
	}
	if n := told["new-table"]; n.Facts["workload"] != "agents" || n.Statement != "select count(*) from ran" {
		t.Errorf("people are told %+v", told)
	}
	if n := told["new-program"]; !strings.HasSuffix(n.Facts["program"], "client") {
		t.Errorf("people are told %+v", told)
	}
	for range 3 {
		if got := a.say(asker.Order{SQL: "select count(*) from ran"}); got.Tag != "SELECT 1" {
			t.Fatalf("%+v", got)
		}
	}
	a.do(asker.Order{SQL: "insert into ran values (1)", Simple: true})
	o.approve(a.held(0))
	if got := a.result(0); got.Tag != "INSERT 0 1" {
		t.Errorf("%+v", got)
	}
	if got := a.say(asker.Order{SQL: "insert into ran values (2)", Simple: true}); got.Tag != "INSERT 0 1" {
		t.Errorf("it has done that before, and yet: %+v", got)
	}
	metrics := overSocket(t, o.agentd.Socket, "/metrics")
	for _, want := range []string{`agentd_alerts_total{rule="new-table"} 1`, `agentd_alerts_total{rule="new-program"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics have no %s", want)
		}
	}
}

// Whoever hangs up in the midst of a result has had it all the same.
func TestABudgetCountsWhatWasReadBeforeHangingUp(t *testing.T) {
	t.Parallel()
	o := newOffice(t, budgetRules, lab.Setup{})
	cmd := psql(o.server, "copy (select generate_series(1, 100000000)) to stdout;")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.group.Put(cmd).Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 1000 {
		if !lines.Scan() {
			t.Fatalf("psql has ended: %v", lines.Err())
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	limit := time.Now().Add(time.Minute)
	for list := sessions(t, o.agentd); len(list) != 1 || list[0].State == "live"; list = sessions(t, o.agentd) {
		if time.Now().After(limit) {
			t.Fatalf("the session goes on: %+v", list)
		}
	}
	wantSpent(t, "after hanging up", o.agent().say(rowsOrder(1)))
}
