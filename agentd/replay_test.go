package agentd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"agentd.dev/agentd/internal/lab"
	"agentd.dev/agentd/replay"
)

// varied is a policy with some of all that verdicts can depend on.
const varied = `
rules:
  - {name: reads, on: request, do: allow, when: 'sql.verbs.all(v, v in ["select", "begin", "commit", "rollback", "set", "show", "prepare", "execute", "deallocate"])'}
  - {name: writes, on: request, do: allow, when: '"insert" in sql.verbs || "update" in sql.verbs || "delete" in sql.verbs || "copy" in sql.verbs'}
  - {name: tables, on: request, do: allow, when: 'sql.ddl && sql.tables.all(t, t.startsWith("public.own"))'}
  - {name: no-secrets, on: request, do: deny, when: '"public.secrets" in sql.tables', message: Secrets are nobody's.}
  - {name: whole-tables, on: request, do: deny, when: '!sql.has_where', message: Say which rows.}
  - {name: no-sleep, on: request, do: deny, when: '"pg_sleep" in sql.functions && login.user != "nobody"', message: Stay awake.}
  - {name: emails, on: result, do: mask, columns: [public.customers.email], with: "[hidden]"}
  - {name: names, on: result, do: mask, columns: [public.customers.name], predicates: allow}
  - {name: short, on: request, do: limit, rows: 200}
  - {name: in-time, on: login, do: limit, time: 20s}
  - {name: few, on: request, do: limit, affected: 2}
  - {name: budget, on: request, do: limit, statements: 60, by: session}
  - {name: ask-first, on: request, do: approve, when: '"lower" in sql.functions', message: Ask first., expires: 10s}
  - {name: watched, on: request, do: deny, mode: shadow, when: '"select" in sql.verbs', message: No.}
  - {name: noticed, on: request, do: alert, when: '"delete" in sql.verbs'}
  - {name: rows-in-all, on: request, do: limit, rows: 500, by: session, when: '"generate_series" in sql.functions'}
`

// workload is what a psql says of all kinds.
const workload = `
select 1;
select id from customers;
select * from customers where id = 2;
select email, upper(name) from customers;
select id from customers where email = 'ada@example.com';
select id from customers where name = 'Ada';
select max(email) from customers;
select current_setting('work_mem'), my_own(email) from customers;
select * from secrets;
select * from view_of_secrets;
select * from view_of_customers;
select pg_sleep(0);
select generate_series(1, 150);
select generate_series(1, 150);
select generate_series(1, 150);
select generate_series(1, 150);
select generate_series(1, 150);
select generate_series(1, 1000);
insert into customers values (10, 'x', 'y');
insert into customers select g, 'x', 'y' from generate_series(20, 30) g;
update customers set id = 11 where id = 10;
update customers set id = id;
delete from customers;
delete from customers where id = 11;
do $$ begin perform 1; end $$;
create table own (id int);
create table other (id int);
drop table own;
truncate customers;
select lower('X');
begin;
select lower('X');
rollback;
selec 1;
select 1 +;
select U&"\0061" from t;
prepare p as select email from customers where id = $1;
execute p (1);
deallocate p;
begin;
set local search_path = pg_catalog;
select count(*) from pg_class;
select 1 / 0;
rollback;
copy customers (id) to stdout;
copy (select email from customers) to stdout;
copy customers from stdin;
40	a	b
\.
copy customers to '/tmp/x';
alter role nobody password 'hunter2';
show work_mem;
set statement_timeout = 0;
select set_config('statement_timeout', '0', false);
select 1 \; select email from customers \; select 'x';
`

func TestReplayOfThePolicyThatWasInForceChangesNothing(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers+`
create table secrets (s text); alter table secrets owner to agent;
create view view_of_secrets as select * from secrets; alter view view_of_secrets owner to agent;
create view view_of_customers as select id, email from customers; alter view view_of_customers owner to agent;
create function my_own(text) returns text language sql as 'select $1'; `)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: varied, Config: fmt.Sprintf("targets: [{name: orders, address: %q, protocol: postgres, default: deny, labels: {env: test}}]\n", server.Addr)})
	for range 2 {
		output(t, agentd.Captured(t, psql(server, workload)))
	}
	const asks = "\\set i random(1, 3)\nselect id, email from customers where id = :i;\nselect 1;\n"
	for _, tt := range []struct{ mode, script string }{
		{"simple", asks},
		{"extended", asks},
		{"prepared", asks},
		{"extended", "\\startpipeline\n" + asks + "select * from secrets;\nselect 2;\n\\endpipeline\n"},
		{"prepared", "\\startpipeline\n" + asks + "\\endpipeline\n"},
	} {
		script := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(script, []byte(tt.script), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("pgbench", "-n", "-c", "2", "-t", "40", "-M", tt.mode, "-f", script)
		cmd.Env = append(os.Environ(), "PGHOST="+server.Addr.Addr().String(), fmt.Sprintf("PGPORT=%d", server.Addr.Port()),
			"PGUSER="+server.User, "PGPASSWORD="+server.Password, "PGDATABASE="+server.Database)
		if out, err := agentd.Captured(t, cmd).CombinedOutput(); err == nil {
			t.Errorf("pgbench -M %s was not stopped, although it asks for too much: %s", tt.mode, out)
		}
	}
	agentd.Process.Stop(syscall.SIGTERM)
	draft := filepath.Join(t.TempDir(), "draft.yaml")
	if err := os.WriteFile(draft, []byte(varied), 0o600); err != nil {
		t.Fatal(err)
	}
	r := replayed(t, agentd, draft)
	if r.Judged < 200 || r.Same != r.Judged || r.Otherwise != 0 || r.Undecided != 0 {
		t.Errorf("of %d verdicts %d are the same, %d by another rule, %d are not decided, %d by agentd, %d unreached; want all the same",
			r.Judged, r.Same, r.Otherwise, r.Undecided, r.ByAgentd, r.Unreached)
	}
	for _, g := range r.Groups {
		t.Errorf("%s: %s %d times %s by %s, now %s by %s: %+v", g.Change, g.Kind, g.Count, g.Was, g.By, g.Is, g.Now, g.Examples)
	}
	for _, d := range r.Doubts {
		t.Errorf("not decided: %s: %+v", d.Why, d.Examples)
	}
}

// replayed tries a policy on what an agentd recorded.
func replayed(t *testing.T, agentd *lab.Agentd, args ...string) *replay.Report {
	t.Helper()
	out, err := agentd.Ctl(t, append([]string{"policy", "replay", "-o", "json", "--dir", agentd.Log}, args...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := new(replay.Report)
	if err := json.NewDecoder(strings.NewReader(out)).Decode(r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return r
}

// errands are what a workload does that a policy is to be made of.
const errands = `
select id, name from customers where id = 1;
select count(*), max(lower(name)) from customers c join notes n on n.customer = c.id;
insert into notes values (1, 'hello');
insert into notes select id, 'again' from customers;
update notes set text = upper(text) where customer = 1;
begin;
delete from notes where customer = 2;
set local work_mem = '8MB';
commit;
copy notes to stdout;
prepare p as select * from notes where customer = $1;
execute p (1);
create table scratch (id int);
drop table scratch;
select relname from pg_class limit 1;
selec 1;
`

func TestASuggestedPolicyAllowsWhatWasDoneAndNoMore(t *testing.T) {
	t.Parallel()
	for _, facts := range []string{"wanted", "all"} {
		t.Run("facts "+facts, func(t *testing.T) {
			t.Parallel()
			server := lab.Postgres(t)
			server.SQL(t, customers+"create table notes (customer int, text text); alter table notes owner to agent; create table secrets (s text);")
			agentd := lab.StartAgentd(t, lab.Setup{Policy: "rules: []\n", Target: server, Config: "record: {facts: " + facts + "}\n"})
			output(t, agentd.Captured(t, psql(server, errands)))
			agentd.Process.Stop(syscall.SIGTERM)

			out, err := agentd.Ctl(t, "policy", "suggest", "--workload", "lab", "--dir", agentd.Log)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			draft := filepath.Join(t.TempDir(), "draft.yaml")
			if err := os.WriteFile(draft, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := agentd.Ctl(t, "policy", "check", draft); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			r := replayed(t, agentd, "--default", "deny", "--schema", "public", draft)
			if r.Same != r.Judged || r.Judged < 15 || r.Assumed > 0 != (facts == "wanted") {
				t.Errorf("of %d verdicts %d are the same, %d assume a schema: %+v, %+v\n%s", r.Judged, r.Same, r.Assumed, r.Groups, r.Doubts, out)
			}
			explained(t, agentd, draft)
			next := lab.StartAgentd(t, lab.Setup{Policy: out, Config: fmt.Sprintf("targets: [{name: orders, address: %q, protocol: postgres, default: deny}]\n", server.Addr)})
			for text, refused := range map[string]bool{
				"select name from customers;": false, "delete from notes where customer = 3;": false,
				"select * from secrets;": true, "delete from customers;": true, "drop table notes;": true,
				"select pg_sleep(0) from notes;": true, "set role agent;": true,
			} {
				if got := output(t, next.Captured(t, psql(server, text))); strings.Contains(got, "(agentd, rule default)") != refused {
					t.Errorf("%s printed %q, want a refusal: %v", text, got, refused)
				}
			}
		})
	}
}

// explained checks what is explained of a recorded DELETE and of one that
// somebody might send.
func explained(t *testing.T, agentd *lab.Agentd, draft string) {
	t.Helper()
	sessions, err := agentd.Ctl(t, "sessions", "list", "--dir", agentd.Log, "-o", "json")
	var list []struct{ ID string }
	if e := json.Unmarshal([]byte(sessions), &list); err != nil || e != nil || len(list) != 1 {
		t.Fatalf("%v, %v\n%s", err, e, sessions)
	}
	all, err := agentd.Ctl(t, "policy", "explain", "--dir", agentd.Log, "--session", list[0].ID, "--default", "deny", draft)
	if err != nil {
		t.Fatalf("%v\n%s", err, all)
	}
	seq := ""
	for line := range strings.Lines(all) {
		if strings.Contains(line, "delete from notes") {
			seq = strings.Fields(line)[0]
		}
	}
	for _, args := range [][]string{
		{"--dir", agentd.Log, "--session", list[0].ID + "#" + seq},
		{"--sql", "delete from notes where customer = 2", "--as", "lab", "--target", "orders", "--user", "agent", "--agentd", agentd.Program()},
	} {
		out, err := agentd.Ctl(t, append(append([]string{"policy", "explain", "--default", "deny"}, args...), draft)...)
		for _, want := range []string{"lab-orders-delete", "does not match", "sql.verbs = [\"delete\"]"} {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("%q: %v, want %q in\n%s", args, err, want, out)
			}
		}
	}
}
