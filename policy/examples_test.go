package policy_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"agentd.dev/agentd/grammar/walk"
	"agentd.dev/decoders"
	"agentd.dev/decoders/all"
	"agentd.dev/decoders/sql"
	"agentd.dev/policy"
)

// The policies under deploy/policies do what they say, to statements as the
// real decoder reads them.

func TestExamplesJudgeStatements(t *testing.T) {
	const readOnly, destructive = "../deploy/policies/readonly.yaml", "../deploy/policies/no-destructive-sql.yaml"
	for _, tt := range []struct{ file, text, want string }{
		{readOnly, "select * from orders where id = 1", "default"},
		{readOnly, "with x as (select 1) select * from x", "default"},
		{readOnly, "begin; declare c cursor for select 1; fetch c; close c; commit", "default"},
		{readOnly, "set statement_timeout = 5", "default"},
		{readOnly, "explain analyze select 1", "default"},
		{readOnly, "copy orders to stdout", "default"},
		{readOnly, "insert into orders values (1)", "read-only"},
		{readOnly, "with x as (delete from orders returning *) select * from x", "read-only"},
		{readOnly, "explain analyze delete from orders", "read-only"},
		{readOnly, "select 1; drop table orders", "read-only"},
		{readOnly, "select * into copy from orders", "read-only"},
		{readOnly, "copy orders from stdin", "read-only"},
		{readOnly, "copy orders to program 'curl'", "read-only"},
		{readOnly, "do 'begin end'", "read-only"},
		{readOnly, "create table t (a int)", "read-only"},
		{readOnly, "grant all on orders to public", "read-only"},
		{destructive, "select 1", "default"},
		{destructive, "drop table orders", "no-drop-or-truncate"},
		{destructive, "begin; truncate orders; commit", "no-drop-or-truncate"},
		{destructive, "alter table orders add column x int", "default"},
		{destructive, "alter table orders drop column x", "no-alter-drop"},
		{destructive, "delete from orders", "no-unbounded-writes"},
		{destructive, "delete from orders where id = 1", "default"},
		{destructive, "update orders set note = 'where'", "no-unbounded-writes"},
		{destructive, "with x as (delete from orders returning *) select * from x where id = 1", "no-unbounded-writes"},
		{destructive, "do $$ begin drop table orders; end $$", "no-hidden-sql"},
	} {
		session := orders()
		session.Target.Labels = map[string]string{"access": "read-only"}
		ev := request(understood(t, tt.text))
		v := example(t, tt.file).For(session).Decide(ev)
		if v.Rule != tt.want {
			t.Errorf("%s: %s: got %q (%s), want %q", tt.file, tt.text, v.Rule, v.Reason, tt.want)
		}
		session.Target.Labels = nil
		if v := example(t, tt.file).For(session).Decide(ev); tt.file == readOnly && v.Outcome != policy.Forward {
			t.Errorf("%s without the label: got %q, want no rule", tt.text, v.Rule)
		}
	}
}

func TestTheExampleForReplicationLetsInBackupsAlone(t *testing.T) {
	e := example(t, "../deploy/policies/replication.yaml")
	for workload, want := range map[string]string{"backup": "backups-replicate", "coder": "default"} {
		session := orders()
		session.Identity.Workload = workload
		ev := &decoders.Event{Kind: decoders.Login, Facts: replicating{}, Exceptional: "It carries whole tables."}
		if v := e.For(session).Decide(ev); v.Rule != want || (v.Outcome == policy.Forward) != (workload == "backup") {
			t.Errorf("%s: got %q (%s), want %q", workload, v.Rule, v.Reason, want)
		}
	}
}

// replicating are the facts of a login that wants to replicate.
type replicating struct{}

func (replicating) Field(name string) any {
	if name == "login.replication" {
		return true
	}
	return ""
}

// understood is what the decoder says of a statement in a session where orders
// are public, and invoices of billing.
func understood(t *testing.T, text string) decoders.Facts {
	t.Helper()
	facts := sql.NewAnalyzer(nil).Analyze([]byte(text))
	meaning := walk.Read(facts.Skeleton())
	scope := sql.Scope{
		Path: []string{"pg_catalog", "public", "billing"}, Current: "public",
		Relations: map[string]string{"orders": "public", "invoices": "billing"},
	}
	resolved := sql.Resolve(facts, &meaning, &scope)
	if why := facts.Unclassified + meaning.Unclear + resolved.Unclear; why != "" {
		t.Errorf("%s: not understood: %s", text, why)
	}
	return resolved
}

func TestExamplesJudgeWhatStatementsTouch(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"select * from invoices", "default"},
		{"update orders set note = 'x' where id = 1", "default"},
		{"update invoices set paid = true where id = 1", "billing-is-read-only"},
		{"select 1 from orders where exists (select from hr.employees where salary > 1)", "salaries-are-not-used"},
		{"select count(*) from hr.employees", "default"},
		{"delete from orders", "where-or-nothing"},
		{"select pg_catalog.pg_sleep(1)", "no-server-functions"},
		{"select * from dblink_exec('x', 'y')", "no-server-functions"},
		{"select count(*), max(id), now() from orders", "default"},
		{"select my_function(1)", "only-harmless-functions"},
		{"select nextval('s')", "only-harmless-functions"},
		{"copy orders to '/x'", "copy-to-the-client-only"},
		{"copy orders to stdout", "default"},
		{"set role x", "stay-who-you-are"},
		{"set work_mem = 1", "default"},
	} {
		session := orders()
		session.Target.Labels = map[string]string{"access": "read-only"}
		v := example(t, "../deploy/policies/tables-and-functions.yaml").For(session).Decide(request(understood(t, tt.text)))
		if v.Rule != tt.want {
			t.Errorf("%s: got %q (%s), want %q", tt.text, v.Rule, v.Reason, tt.want)
		}
	}
}

func TestExamplesBoundSessions(t *testing.T) {
	e := example(t, "../deploy/policies/limits.yaml")
	for access, writes := range map[string]string{"read-only": "nothing-is-written", "": ""} {
		session := orders()
		session.Target.Labels = map[string]string{"access": access}
		rules := e.For(session)
		v := rules.Decide(&decoders.Event{Kind: decoders.Login, Seq: 1})
		if v.Outcome != policy.Forward || v.Limits == nil || v.Limits.Time.Rule != "no-long-statements" || v.Limits.Time.Max != 30_000 || v.Limits.Writes.Rule != writes {
			t.Errorf("access %q: got %s %+v, want 30 seconds, and writes by %q", access, v.Outcome, v.Limits, writes)
		}
		for how, want := range map[decoders.Loosens]string{
			{Time: "could change that"}:   "no-long-statements",
			{Writes: "could change that"}: writes,
			{}:                            "",
		} {
			ev := request(understood(t, "set x = 1"))
			ev.Loosens = how
			v := rules.Decide(ev)
			if refused := v.Outcome == policy.Refuse; refused != (want != "") || refused && v.Rule != want {
				t.Errorf("access %q, %+v: got %s by %q, want %q", access, how, v.Outcome, v.Rule, want)
			}
		}
	}
}

// A session of which the rules become tighter cannot be told to its server.
func TestTighterBoundsAreSeen(t *testing.T) {
	before := example(t, "../deploy/policies/limits.yaml").For(orders())
	before.Decide(&decoders.Event{Kind: decoders.Login, Seq: 1})
	for text, want := range map[string]bool{
		"{name: a, on: login, do: limit, time: 30s}":               false,
		"{name: a, on: login, do: limit, time: 1m}":                false,
		"{name: a, on: login, do: limit, time: 29s}":               true,
		"{name: a, on: login, do: limit, time: 30s, writes: deny}": true,
		"{name: a, on: request, do: deny, message: Nothing goes.}": false,
	} {
		e, err := policy.Load([]string{file(t, "rules: ["+text+"]")}, protocols)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Renew(orders(), before).Tighter(before); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

func TestWantNamesTheFieldsThatTakeLearning(t *testing.T) {
	for file, want := range map[string]string{
		"tables-and-functions": "sql.columns sql.tables_written sql.volatile",
		"no-destructive-sql":   "",
	} {
		session := orders()
		session.Target.Labels = map[string]string{"access": "read-only"}
		got := example(t, "../deploy/policies/"+file+".yaml").For(session).Want().Fields
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}

func TestExamplesMaskColumns(t *testing.T) {
	e := example(t, "../deploy/policies/mask-pii.yaml")
	for _, tt := range []struct {
		workload, table, column string
		want                    policy.Outcome
		text                    string
	}{
		{"coder", "customers", "email", policy.Rewrite, "[masked]"},
		{"coder", "suppliers", "phone", policy.Rewrite, "[masked]"},
		{"coder", "customers", "name", policy.Forward, ""},
		{"billing", "customers", "email", policy.Forward, ""},
		{"billing", "customers", "ssn", policy.Rewrite, ""},
		{"billing", "cards", "pan", policy.Rewrite, ""},
	} {
		session := orders()
		session.Identity.Workload = tt.workload
		v := e.For(session).Decide(&decoders.Event{
			Kind: decoders.Columns, Columns: []decoders.Column{{Schema: "public", Table: tt.table, Name: tt.column}},
		})
		if v.Outcome != tt.want || len(v.Masks) > 0 && v.Masks[0].As != tt.text {
			t.Errorf("%s reads %s.%s: got %s %v, want %s %q", tt.workload, tt.table, tt.column, v.Outcome, v.Masks, tt.want, tt.text)
		}
	}
}

func TestTheExampleForWorkingHoursGoesByTheClock(t *testing.T) {
	e := example(t, "../deploy/policies/working-hours.yaml")
	var now time.Time
	e.Clock(func() time.Time { return now })
	session := orders()
	session.Target.Labels = map[string]string{"hours": "office"}
	r := e.For(session)
	for _, tt := range []struct{ at, text, want string }{
		{"2026-11-25T09:00:00+01:00", "update orders set note = 'x' where id = 1", "default"},
		{"2026-11-25T07:59:00+01:00", "update orders set note = 'x' where id = 1", "changes-in-working-hours"},
		{"2026-11-25T18:00:00+01:00", "with x as (delete from orders returning *) select * from x", "changes-in-working-hours"},
		{"2026-11-25T18:00:00+01:00", "select * from orders", "default"},
		{"2026-11-25T18:00:00+01:00", "create table t (a int)", "changes-in-working-hours"},
		{"2026-11-25T18:00:00+01:00", "copy orders from stdin", "changes-in-working-hours"},
		{"2026-11-28T12:00:00+01:00", "insert into orders values (1)", "changes-in-working-hours"}, // a Saturday
		{"2026-12-25T12:00:00+01:00", "insert into orders values (1)", "changes-in-working-hours"},
		{"2026-12-24T12:00:00+01:00", "insert into orders values (1)", "default"},
	} {
		now, _ = time.Parse(time.RFC3339, tt.at)
		if v := r.Decide(request(understood(t, tt.text))); v.Rule != tt.want {
			t.Errorf("%s: %s: got %q (%s), want %q", tt.at, tt.text, v.Rule, v.Reason, tt.want)
		}
	}
	in := r.Decide(login("agent"))
	now = now.Add(12 * time.Hour)
	out := r.Decide(login("agent"))
	if in.Shadows != nil || out.Outcome != policy.Forward || shadows(out) != "logins-in-working-hours deny" {
		t.Errorf("logins: got %q by day and %s, %q by night, want only words by night", shadows(in), out.Outcome, shadows(out))
	}
}

func TestTheExampleForApprovalHoldsDDL(t *testing.T) {
	e := example(t, "../deploy/policies/approve-ddl.yaml")
	for _, tt := range []struct{ env, text, want string }{
		{"prod", "alter table orders add column x int", "hold ddl-needs-approval, 1 of [dba], [] 10m0s"},
		{"prod", "create table t (a int)", "hold ddl-needs-approval, 1 of [dba], [] 10m0s"},
		{"prod", "drop table orders", "hold ddl-needs-approval, 2 of [dba], [] 5m0s"},
		{"prod", "truncate orders", "hold drops-need-two, 2 of [dba], [] 5m0s"},
		{"prod", "grant select on orders to public", "hold grants-need-approval, 1 of [dba security], [] 5m0s"},
		{"prod", "select * from orders", "allow default, []"},
		{"test", "drop table orders", "allow default, [ddl-elsewhere]"},
		{"test", "delete from orders", "allow default, []"},
	} {
		session := orders()
		session.Target.Labels = map[string]string{"env": tt.env}
		v := e.For(session).Decide(request(understood(t, tt.text)))
		got := v.Outcome.String() + " " + v.Rule
		if v.Terms != nil {
			got += fmt.Sprintf(", %d of %v", v.Terms.Need, v.Terms.By)
		}
		got += fmt.Sprintf(", %v", v.Alerts)
		if v.Terms != nil {
			got += " " + v.Terms.Expires.String()
		}
		if got != tt.want {
			t.Errorf("%s: %s: got %s, want %s", tt.env, tt.text, got, tt.want)
		}
	}
}

func TestTheExampleForGroupsGoesByWhoAsks(t *testing.T) {
	e := example(t, "../deploy/policies/per-group.yaml")
	analyst := policy.Identity{Namespace: "analytics", ServiceAccount: "reporting"}
	finance := policy.Identity{Namespace: "money", Labels: map[string]string{"team": "finance"}}
	salary := []decoders.Column{{Schema: "hr", Table: "employees", Name: "salary"}}
	for _, tt := range []struct {
		who        policy.Identity
		text, want string
		salary     policy.Outcome
	}{
		{analyst, "select * from orders", "analysts-read", policy.Rewrite},
		{analyst, "delete from orders", "default", policy.Rewrite},
		{analyst, "select my_function(1)", "default", policy.Rewrite},
		{analyst, "select * from invoices", "invoices-are-for-finance", policy.Rewrite},
		{finance, "update invoices set paid = true", "finance-works", policy.Forward},
		{finance, "drop table invoices", "default", policy.Forward},
		{policy.Identity{Namespace: "analytics", ServiceAccount: "other"}, "select 1", "default", policy.Rewrite},
	} {
		session := orders()
		session.Identity = tt.who
		session.Target.Default, session.Target.Labels = policy.Refusing, map[string]string{"access": "groups"}
		r := e.For(session)
		if v := r.Decide(request(understood(t, tt.text))); v.Rule != tt.want {
			t.Errorf("%+v: %s: got %q (%s), want %q", tt.who, tt.text, v.Rule, v.Reason, tt.want)
		}
		if v := r.Decide(&decoders.Event{Kind: decoders.Columns, Columns: salary}); v.Outcome != tt.salary {
			t.Errorf("%+v reads salaries: got %s, want %s", tt.who, v.Outcome, tt.salary)
		}
	}
}

func TestTheExampleOfLimitsBoundsWhatRequestsDo(t *testing.T) {
	session := orders()
	session.Target.Labels = map[string]string{"access": "read-only"}
	v := example(t, "../deploy/policies/limits.yaml").For(session).Decide(request(understood(t, "select * from orders")))
	if v.Limits == nil || v.Limits.Rows.Max != 10000 || v.Limits.Bytes.Max != 64<<20 || v.Limits.Affected.Max != 1000 {
		t.Errorf("got %+v, want 10000 rows, 64 MiB and 1000 changes", v.Limits)
	}
}

func TestTheExampleOfFindingSearchesAllValues(t *testing.T) {
	e := example(t, "../deploy/policies/find-in-values.yaml")
	if r := e.For(orders()); len(r.Want().Searches) == 0 {
		t.Error("nothing is searched for")
	} else if v := r.Decide(login("agent")); len(v.Masks) != 1 || v.Masks[0].Search == nil || len(v.Masks[0].Search.Kinds) == 0 {
		t.Errorf("got %+v, want a search of all values", v.Masks)
	}
}

func TestEveryExampleIsTested(t *testing.T) {
	var test []byte
	for _, file := range []string{"examples_test.go", "usage_examples_test.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		test = append(test, text...)
	}
	for _, file := range policy.Files([]string{"../deploy/policies"}) {
		if !strings.Contains(string(test), file[strings.LastIndexByte(file, '/')+1:len(file)-len(".yaml")]) {
			t.Errorf("%s has no test", file)
		}
	}
}

func TestExamplesAreOneSet(t *testing.T) {
	rules, err := policy.Check([]string{"../deploy/policies"}, all.Protocols)
	if err != nil || len(rules) != 46 {
		t.Errorf("got %d rules, %v, want 46", len(rules), err)
	}
}

func example(t *testing.T, file string) *policy.Engine {
	t.Helper()
	e, err := policy.Load([]string{file}, all.Protocols)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
