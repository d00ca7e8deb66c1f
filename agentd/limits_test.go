package agentd_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/conversation"
	"agentd.dev/agentd/internal/dialogue"
	"agentd.dev/agentd/internal/lab"
	"github.com/jackc/pgx/v5/pgproto3"
)

const limited = `
rules:
  - {name: short, on: request, do: limit, rows: 2, when: workload.name == "lab"}
  - {name: small, on: request, do: limit, affected: 1}
`

func TestAResultIsNoLongerThanItsLimit(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: limited, Target: server})
	const over = "ERROR:  53400: The result is longer than the 2 rows that are allowed here. (agentd, rule short)\nHINT:  Ask for less: with a WHERE or a LIMIT.\n"
	for _, tt := range []struct{ text, want string }{
		{"select id from customers order by id limit 2;", "1\n2\n"},
		{"select id from customers order by id;", over},
		{"select id from customers order by id; select 'on';", over + "on\n"},
		{"select generate_series(1, 100000); select 'on';", over + "on\n"},
		{
			"begin; select generate_series(1, 5); select 'failed'; rollback; select 'on';",
			over + "ERROR:  25P02: current transaction is aborted, commands ignored until end of transaction block\nLOCATION:  #\non\n",
		},
		{"copy customers to stdout; select 'on';", "1\tAda\tada@example.com\n2\tGrace\t\\N\n" + over + "on\n"},
		{`select 1 \; select generate_series(1, 5);` + "\nselect 'on';", "1\n" + over + "on\n"},
	} {
		got := output(t, agentd.Captured(t, psql(server, strings.ReplaceAll(tt.text, "; ", ";\n"))))
		if got = withoutLocation(got); got != tt.want {
			t.Errorf("%s printed\n%s\nwant\n%s", tt.text, got, tt.want)
		}
	}
}

// withoutLocation leaves out where in the server's source an error is from.
func withoutLocation(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "LOCATION: ") {
			line = "LOCATION:  #\n"
		}
		out.WriteString(line)
	}
	return out.String()
}

func TestAStatementThatChangesTooManyRowsChangesNone(t *testing.T) {
	t.Parallel()
	const over = "At most 1 rows may be changed here, and this statement changes more. (agentd, rule small)"
	for _, tt := range []struct {
		name, text string
		left       string // ids, afterwards
		refused    bool
	}{
		{"one row", "delete from customers where id = 1;", "2,3", false},
		{"all rows", "delete from customers;", "1,2,3", true},
		{"an update", "update customers set id = id + 10;", "1,2,3", true},
		{"an insert", "insert into customers select g, 'x', 'y' from generate_series(7, 9) g;", "1,2,3", true},
		{"a copy", "copy customers from stdin;\n7\tx\ty\n8\tx\ty\n\\.\n", "1,2,3", true},
		{"within a transaction", "begin; delete from customers where id = 1; delete from customers; commit;", "1,2,3", true},
		{"several in a query", `delete from customers where id = 1 \; delete from customers where id = 2;`, "1,2,3", true},
		{"after a savepoint", "begin; delete from customers where id = 1; savepoint s; delete from customers; rollback to s; commit;", "2,3", true},
		{"a prepared statement", "prepare p as delete from customers; execute p;", "1,2,3", true},
		{"a table made of a query", "create table copy as select * from customers; select count(*) from copy;", "1,2,3", true},
		{"a query into a table", "select * into copy from customers; table copy;", "1,2,3", true},
		{"a cursor", "begin; declare c cursor for select * from customers; fetch all c; move backward all c; fetch 2 c; close c; commit;", "1,2,3", false},
		{"a deferred constraint", "begin; commit; delete from customers where id = 3;", "1,2", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := lab.Postgres(t)
			server.SQL(t, customers)
			agentd := lab.StartAgentd(t, lab.Setup{Policy: limited, Target: server})
			got := output(t, agentd.Captured(t, psql(server, strings.ReplaceAll(tt.text, "; ", ";\n"), "select 'on';")))
			if strings.Contains(got, over) != tt.refused || !strings.HasSuffix(got, "on\n") {
				t.Errorf("it printed\n%s\nwant a refusal: %v, and to go on", got, tt.refused)
			}
			if left := server.SQL(t, "select string_agg(id::text, ',' order by id) from customers"); left != tt.left {
				t.Errorf("%s are left, want %s", left, tt.left)
			}
		})
	}
}

// A limited COPY in the extended protocol is answered whenever the client asks
// for it: before it knows of the COPY, with its data, or behind it.
func TestALimitedCopyIsAnswered(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: limited, Target: server})
	start := []pgproto3.FrontendMessage{
		&pgproto3.Parse{Query: "copy customers from stdin"}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{},
	}
	var few, many, done, sync pgproto3.FrontendMessage = &pgproto3.CopyData{Data: []byte("7\tx\ty\n")},
		&pgproto3.CopyData{Data: []byte("8\tx\ty\n9\tx\ty\n")}, &pgproto3.CopyDone{}, &pgproto3.Sync{}
	var flush pgproto3.FrontendMessage = &pgproto3.Flush{} // the dialogue leaves out data that nobody has asked for yet
	end := sent(&pgproto3.Query{String: "select 'that was all'"})
	for _, tt := range []struct {
		name  string
		turns [][]byte
		want  string // the kinds of what comes, without that of the end
	}{
		{"asked at once", [][]byte{sent(append(start, few, done, sync)...), end}, "12nGCZ"},
		{"asked with the data", [][]byte{sent(append(start, sync)...), sent(flush, few, done, sync), end}, "12nGCZ"},
		{"asked behind", [][]byte{sent(append(start, sync)...), sent(flush, few), sent(done), sent(sync), end}, "12nGCZ"},
		{"too many at once", [][]byte{sent(append(start, many, done, sync)...), end}, "12nGEZ"},
		{"too many with the data", [][]byte{sent(append(start, sync)...), sent(flush, many, done, sync), end}, "12nGEZ"},
		{"given up", [][]byte{sent(append(start, sync)...), sent(flush, few, &pgproto3.CopyFail{Message: "no"}, sync), end}, "12nGEZ"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server.SQL(t, "delete from customers where id > 6")
			heard := hear(t, server, []string{server.Database}, []dialogue.Session{{User: server.User, Turns: tt.turns, Until: theEnd}},
				func(cmd *exec.Cmd) *exec.Cmd { return agentd.Captured(t, cmd) })[0]
			var kinds strings.Builder
			dialogue.Walk(joinedAnswers(&heard), func(kind byte, _ []byte) { kinds.WriteByte(kind) })
			if got := kinds.String(); got != tt.want+"TDCZ" || heard.End != "" {
				t.Errorf("%s came, and %q; want %s", got, heard.End, tt.want+"TDCZ")
			}
			if n, want := server.SQL(t, "select count(*) from customers where id > 6"), fmt.Sprint(strings.Count(tt.want, "C")); n != want {
				t.Errorf("%s rows were copied, want %s", n, want)
			}
		})
	}
}

// sent is messages as they go out.
func sent(messages ...pgproto3.FrontendMessage) []byte {
	var out []byte
	for _, m := range messages {
		out, _ = m.Encode(out)
	}
	return out
}

// What notices and errors say counts as the rows that it may come from.
func TestAFunctionSaysNoMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers+`
create function tell(n int) returns int language plpgsql as $$ begin for i in 1..n loop raise notice '%', repeat('told ', 100); end loop; return 1; end $$;
create function shout(n int) returns int language plpgsql as $$ begin raise exception '%', repeat('told ', n); end $$;
`)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: "rules: [{name: short, on: request, do: limit, bytes: 4000B}]", Target: server})
	const over = "53400: The result is longer than the 4000 bytes that are allowed here. (agentd, rule short)"
	for text, refused := range map[string]bool{
		"select tell(3);":                        false,
		"select tell(300);":                      true,
		"select shout(10);":                      false,
		"select shout(100000);":                  true,
		"select tell(4), tell(5);":               true,
		"do $$ begin perform tell(50); end $$;":  true,
		"begin; select shout(100000); rollback;": true,
		"select tell(5), repeat('told ', 300);":  true,
	} {
		got := output(t, agentd.Captured(t, psql(server, strings.ReplaceAll(text, "; ", ";\n"), "select 'on';")))
		if strings.Count(got, over) != map[bool]int{true: 1}[refused] || strings.Count(got, "told") > 800 || !strings.HasSuffix(got, "on\n") {
			t.Errorf("%s printed %d bytes:\n%.3000s\nwant it cut: %v", text, len(got), got, refused)
		}
	}
	for name, form := range forms {
		for _, text := range []string{"select shout(100000)", "select tell(300)"} {
			turns := append(form(text), encoded(&pgproto3.Query{String: "select 'on'"}))
			got := spoken(t, agentd, server, dialogue.Session{Turns: turns})
			if strings.Count(got, over[7:]) != 1 || !strings.HasSuffix(got, "row \"on\"\nSELECT 1\n") {
				t.Errorf("%s as %s: got %.3000s", text, name, got)
			}
		}
	}
}

func TestWhatCannotBeCountedIsRefusedWhereChangesAreLimited(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: limited, Target: server, Open: true})
	for _, text := range []string{
		"do $$ begin delete from customers; end $$;",
		"truncate customers;",
		"drop table customers;",
		"drop table if exists nothing, customers cascade;",
		"drop schema public cascade;",
		"drop owned by current_user;",
		"create materialized view m as select 1; refresh materialized view m;",
		"explain analyze create table copy as select * from customers;",
		`begin \; create table copy as select * from customers \; commit;`,
		"with gone as (delete from customers returning id) select count(*) from gone;",
		"with a as (select 1), gone as materialized (delete from customers returning id) insert into customers select 9, 'x', 'y';",
		"with gone as (delete from customers returning id) insert into customers values (9, 'x', 'y');",
		"with gone as (delete from customers) update customers set name = 'a' where id = 9;",
		"with gone as (with x as (select 1) delete from customers returning id) select count(*) from gone;",
		"with gone as(delete from customers returning id)select count(*) from gone;",
		`with ")" as (select 1), gone as(/**/delete from customers returning id) select count(*) from gone;`,
		"copy (delete from customers returning id) to stdout;",
		"explain analyze delete from customers;",
		"explain (analyze, timing off) update customers set id = id;",
		`begin \; delete from customers \; commit;`,
		`delete from customers \; commit;`,
	} {
		got := output(t, agentd.Captured(t, psql(server, text, "select 'on';")))
		if !strings.Contains(got, "42501") || !strings.Contains(got, "rule small") || !strings.HasSuffix(got, "on\n") {
			t.Errorf("%s printed\n%s\nwant a refusal by rule small", text, got)
		}
	}
	if left := server.SQL(t, "select count(*) from customers"); left != "3" {
		t.Errorf("%s customers are left, want 3", left)
	}
}

func TestDriversAreLimitedInPipelinesAndBatches(t *testing.T) {
	t.Parallel()
	server, agentd := conversing(t, `
rules:
  - {name: wide, on: request, do: limit, rows: 1000000, bytes: 1GiB}
  - {name: large, on: request, do: limit, affected: 1000000, when: 'sql.verbs == ["insert"] || sql.verbs == ["update"] || sql.verbs == ["delete"]'}
`)
	for _, client := range clientsButRaw() {
		t.Run(client.Name, func(t *testing.T) {
			want := client.Transcript(t, client.Cmd(t, server))
			got := client.Transcript(t, agentd.Captured(t, client.Cmd(t, server)))
			if diff := conversation.Difference(got, want); diff != "" {
				t.Errorf("limited differs from direct: %s", diff)
			}
		})
	}
}

func TestWhatIsUsedUpIsRefusedUntilItsTimeIsOver(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, customers)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: `
rules:
  - {name: daily, on: request, do: limit, rows: 5, per: 24h, when: 'sql.normalized.contains("customers")'}
  - {name: session, on: request, do: limit, statements: 3, by: session, message: "Three are enough."}
`, Target: server})
	const query = "select id from customers order by id;"
	got := output(t, agentd.Captured(t, psql(server, query)))
	if got != "1\n2\n3\n" {
		t.Errorf("the first session printed %q", got)
	}
	got = output(t, agentd.Captured(t, psql(server, query, query, "select 1;", "select 2;", "select 3;")))
	for _, want := range []string{
		"53400: The result is longer than the 2 rows that are allowed here. (agentd, rule daily)",
		"42501: The 5 rows that are allowed here are used up. (agentd, rule daily)\nHINT:  Try again at ",
		"\n1\n",
		"Three are enough. (agentd, rule session)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the second session printed\n%s\nwant it to have %q", got, want)
		}
	}
}

// clientsButRaw are the clients of conversations, without the one that counts
// on messages which a limited request holds up.
func clientsButRaw() (clients []conversation.Client) {
	for _, c := range conversation.Clients {
		if c.Name != "raw bytes" {
			clients = append(clients, c)
		}
	}
	return clients
}
