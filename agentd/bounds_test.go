package agentd_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"agentd.dev/agentd/internal/dialogue"
	"agentd.dev/agentd/internal/lab"
	"github.com/jackc/pgx/v5/pgproto3"
)

const bounded = `
rules:
  - {name: quick, on: login, do: limit, time: 500ms}
  - {name: reader, on: login, do: limit, writes: deny}
`

// sneaky are functions from before, of which no statement tells what they do.
const sneaky = customers + `
create function keep() returns int language sql volatile as $$ insert into customers values (9, 'x', 'y') returning id $$;
create function run(text) returns text language plpgsql as $$ begin execute $1; return 'ran'; end $$;
`

// spoken is what comes back in one session.
func spoken(t *testing.T, a *lab.Agentd, server *lab.Server, s dialogue.Session) string {
	t.Helper()
	return strings.Join(spokenTurns(t, a, server, s), "")
}

// spokenTurns holds one session as a captured client, and returns what came back
// for each turn.
func spokenTurns(t *testing.T, a *lab.Agentd, server *lab.Server, s dialogue.Session) []string {
	t.Helper()
	s.User, s.Database = server.User, server.Database
	text, err := json.Marshal([]dialogue.Session{s})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(lab.Binary(t, "./agentd/internal/dialogue/client"), server.Database)
	cmd.Env = append(os.Environ(), "PGHOST="+server.Addr.Addr().String(), "PGPORT="+portOf(server),
		"PGPASSWORD="+server.Password, "PGSSLMODE=disable")
	cmd.Stdin = bytes.NewReader(text)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := a.Captured(t, cmd).Output()
	var heard []dialogue.Heard
	if err == nil {
		err = json.Unmarshal(out, &heard)
	}
	if err != nil || len(heard) != 1 {
		t.Fatalf("%s: %v, %d sessions\n%s", cmd, err, len(heard), said.String())
	}
	return readable(&heard[0])
}

// readable is what came back for each turn: rows, tags and errors. Why the
// session ended is the last of it.
func readable(h *dialogue.Heard) (turns []string) {
	for _, a := range h.Answers {
		var out strings.Builder
		dialogue.Walk(a.Messages, func(kind byte, body []byte) {
			switch kind {
			case 'D':
				fmt.Fprintf(&out, "row %q\n", bytes.Trim(body[6:], "\x00"))
			case 'C':
				fmt.Fprintf(&out, "%s\n", bytes.Trim(body, "\x00"))
			case 'E':
				var e pgproto3.ErrorResponse
				_ = e.Decode(body) // an empty one shows
				fmt.Fprintf(&out, "%s %s\n", e.Code, e.Message)
			}
		})
		turns = append(turns, out.String())
	}
	if h.End != "" {
		turns = append(turns, h.End)
	}
	return turns
}

// forms are the ways in which a statement can go to the server.
var forms = map[string]func(text string) [][]byte{
	"a query": func(text string) [][]byte { return [][]byte{encoded(&pgproto3.Query{String: text})} },
	"an extended query": func(text string) [][]byte {
		return [][]byte{encoded(parse("", text), &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{})}
	},
	"a pipeline": func(text string) [][]byte {
		return [][]byte{encoded(parse("", "select 1"), &pgproto3.Bind{}, &pgproto3.Execute{}, parse("a", text), &pgproto3.Bind{PreparedStatement: "a"},
			&pgproto3.Execute{}, &pgproto3.Sync{}, parse("", "select 2"), &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{})}
	},
	"a prepared statement": func(text string) [][]byte {
		return [][]byte{encoded(parse("p", text), &pgproto3.Sync{}), encoded(&pgproto3.Query{String: "execute p"})}
	},
}

func TestTheServerEndsAStatementThatTakesTooLong(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, sneaky)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: bounded, Target: server, Open: true})
	const over = "57014 canceling statement due to statement timeout (agentd, rule quick)\n"
	for name, form := range forms {
		got := spoken(t, agentd, server, dialogue.Session{Turns: append(form("select pg_sleep(60)"), forms["a query"]("select 'on'")...)})
		if !strings.Contains(got, over) || !strings.HasSuffix(got, "row \"on\"\nSELECT 1\n") {
			t.Errorf("%s: got\n%s\nwant the statement to fail with\n%s", name, got, over)
		}
	}
}

func TestAFunctionThatWritesFailsWhereNothingMayBeWritten(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, sneaky)
	own := fmt.Sprintf("targets: [{name: orders, address: %q, protocol: postgres, default: allow, credential: own}]\n"+
		"credentials: [{name: own, user: %s, password: {file: %s}}]\n", server.Addr, server.User, secretFile(t, server.Password, 0o600))
	for login, setup := range map[string]lab.Setup{
		"the client's login": {Policy: bounded, Target: server, Open: true},
		"agentd's own login": {Policy: bounded, Config: own},
	} {
		agentd := lab.StartAgentd(t, setup)
		for name, form := range forms {
			got := spoken(t, agentd, server, dialogue.Session{Turns: append(form("select keep()"), forms["a query"]("select 'on'")...)})
			if want := "25006 cannot execute INSERT in a read-only transaction (agentd, rule reader)\n"; !strings.Contains(got, want) || !strings.HasSuffix(got, "row \"on\"\nSELECT 1\n") {
				t.Errorf("%s, %s: got\n%s\nwant it to have\n%s", login, name, got, want)
			}
		}
	}
	if left := server.SQL(t, "select count(*) from customers"); left != "3" {
		t.Errorf("there are %s customers, want 3", left)
	}
}

func TestNoStatementLiftsTheLimitsOfItsSession(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, sneaky)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: bounded, Target: server, Open: true})
	lifting := []struct{ rule, text string }{
		{"quick", "set statement_timeout = 0"},
		{"quick", "set local statement_timeout to 0"},
		{"quick", `set "statement_timeout" to 0`},
		{"quick", `set session U&"statement\005ftimeout" = 0`},
		{"quick", "set Statement_Timeout to default"},
		{"reader", "select set_config('statement_timeout', '0', false)"},
		{"reader", "select pg_catalog.set_config(name, '0', false) from pg_settings where name ~ 'ment_time'"},
		{"reader", "update pg_settings set setting = 'off' where name = 'default_transaction_read_only'"},
		{"reader", "with x as (select 1) update pg_catalog.pg_settings set setting = '0' where name = 'statement_timeout'"},
		{"reader", "do $$ begin perform set_config('default_transaction_read_only', 'off', false); end $$"},
		{"reader", "select query_to_xml('select set_config(''statement_timeout'', ''0'', false)', false, false, '')"},
		{"reader", "select ts_stat('select set_config(''default_transaction_read_only'', ''off'', false)::tsvector')"},
		{"reader", "set default_transaction_read_only = off"},
		{"reader", "set transaction_read_only = off"},
		{"reader", `set U&"transaction\005fread_only" = off`},
		{"reader", "set session characteristics as transaction read write"},
		{"reader", "begin read write"},
		{"reader", "begin; set transaction isolation level serializable, read /* */ write; commit"},
		{"reader", "start transaction isolation level repeatable read, read write"},
		{"reader", "begin read only; commit; begin read write"},
		{"reader", "select run('set default_transaction_read_only = off'); commit; select keep()"},
		{"reader", "prepare p as select set_config('transaction_read_only', 'off', false)"},
		{"reader", "explain analyze select set_config('default_transaction_read_only', 'off', false)"},
		{"reader", "copy (select set_config('default_transaction_read_only', 'off', false)) to stdout"},
		{"reader", "copy customers to program 'cat'"},
		{"reader", "declare c cursor with hold for select set_config('default_transaction_read_only', 'off', false)"},
		{"reader", "not a statement at all"},
	}
	for name, form := range forms {
		var turns [][]byte
		for _, tt := range lifting {
			turns = append(append(turns, form(tt.text)[0]), encoded(&pgproto3.Query{String: "select 'on'"}), encoded(&pgproto3.Query{String: "deallocate all"}))
		}
		got := spokenTurns(t, agentd, server, dialogue.Session{Turns: turns})
		for i, tt := range lifting {
			if name != "a query" && strings.Contains(tt.text, ";") {
				continue
			}
			if len(got) != len(turns) || !strings.Contains(got[3*i], "42501 ") || !strings.Contains(got[3*i], "(agentd, rule "+tt.rule+")") || got[3*i+1] != "row \"on\"\nSELECT 1\n" {
				t.Fatalf("%s as %s: got\n%s\nwant a refusal by rule %s", tt.text, name, got[min(3*i, len(got)-1):], tt.rule)
			}
		}
	}
	got := spoken(t, agentd, server, dialogue.Session{Turns: [][]byte{
		encoded(&pgproto3.FunctionCall{Function: 2078, ArgFormatCodes: []uint16{0}, Arguments: [][]byte{[]byte("statement_timeout"), []byte("0"), []byte("f")}}),
		encoded(&pgproto3.Query{String: "show statement_timeout"}),
	}})
	if !strings.Contains(got, "(agentd, rule reader)") || !strings.Contains(got, `row "500ms"`) {
		t.Errorf("set_config by its OID: got\n%s", got)
	}
}

func TestWhatASessionBeganWithIsWhatItGoesBackTo(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, sneaky)
	server.SQL(t, fmt.Sprintf("alter role %s set statement_timeout = 0; alter database %s set default_transaction_read_only = off", server.User, server.Database))
	agentd := lab.StartAgentd(t, lab.Setup{Policy: bounded, Target: server, Open: true})
	shown := encoded(&pgproto3.Query{String: "select current_setting('statement_timeout') || current_setting('transaction_read_only')"})
	harmless := []string{
		"select 1", "reset all", "discard all", "reset statement_timeout", "reset default_transaction_read_only", "reset session authorization",
		"begin read only; commit", "begin isolation level serializable read only deferrable; rollback", "set session characteristics as transaction read only",
		"set search_path = public", "begin; rollback and chain; rollback",
	}
	var turns [][]byte
	for _, text := range harmless {
		turns = append(turns, encoded(&pgproto3.Query{String: text}), shown)
	}
	for _, startup := range []map[string]string{
		nil,
		{"options": "-c statement_timeout=0 -c default_transaction_read_only=off"},
		{"statement_timeout": "0", "default_transaction_read_only": "off"},
		{"Statement_Timeout": "0", "DEFAULT_TRANSACTION_READ_ONLY": "off"},
	} {
		got := spokenTurns(t, agentd, server, dialogue.Session{Parameters: startup, Turns: turns})
		for i, text := range harmless {
			if len(got) != len(turns) || got[2*i+1] != "row \"500mson\"\nSELECT 1\n" || strings.Contains(got[2*i], "42501") {
				t.Fatalf("%s after %v: got\n%s\nwant 500ms and on", text, startup, got)
			}
		}
	}
}

// A function from before can change settings, and its text may be the agent's.
func TestASessionOfWhichAFunctionLiftsTheLimitsEnds(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, sneaky)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: bounded, Target: server, Open: true})
	const lift = "select run('set default_transaction_read_only = off')"
	var pipelined, queries []byte
	for _, text := range []string{lift, "select keep()"} {
		pipelined = append(pipelined, encoded(parse("", text), &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{})...)
		queries = append(queries, encoded(&pgproto3.Query{String: text})...)
	}
	for name, turns := range map[string][][]byte{
		"one after the other":  {encoded(&pgproto3.Query{String: lift}), encoded(&pgproto3.Query{String: "select keep()"})},
		"extended, at once":    {pipelined},
		"queries, at once":     {queries},
		"in the same pipeline": {encoded(parse("", lift), &pgproto3.Bind{}, &pgproto3.Execute{}, parse("", "select keep()"), &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{})},
		"in the same query":    {encoded(&pgproto3.Query{String: lift + "; select keep()"})},
	} {
		got := spoken(t, agentd, server, dialogue.Session{Turns: turns})
		if !strings.Contains(got, "Nothing may be written here.") && !strings.Contains(got, "25006") || strings.Contains(got, `"9"`) {
			t.Errorf("%s: got\n%s\nwant the session to end, or the server to refuse", name, got)
		}
	}
	if left := server.SQL(t, "select count(*) from customers"); left != "3" {
		t.Errorf("there are %s customers, want 3", left)
	}
}

const timed = `
rules:
  - {name: quick, on: login, do: limit, time: 500ms}
`

func TestAgentdEndsASessionWhoseTimeTheServerDoesNotKeep(t *testing.T) {
	t.Parallel()
	server := lab.Postgres(t)
	server.SQL(t, sneaky)
	agentd := lab.StartAgentd(t, lab.Setup{Policy: timed, Target: server, Open: true})
	const over = "A statement may take 500ms here. The server did not end this one in time, so that the session ends. (agentd, rule quick)"
	for name, turns := range map[string][][]byte{
		"a function changed the setting": {encoded(&pgproto3.Query{String: "select run('set statement_timeout = 0')"}), encoded(&pgproto3.Query{String: "select pg_sleep(60)"})},
		"a copy that never ends": {
			encoded(&pgproto3.Query{String: "copy customers from stdin"}),
			encoded(&pgproto3.CopyData{Data: []byte("4\tx\ty\n")}, &pgproto3.Sync{}),
		},
		"pipelined": {
			encoded(&pgproto3.Query{String: "select run('set statement_timeout = 0')"}),
			encoded(parse("", "select 1"), &pgproto3.Bind{}, &pgproto3.Execute{}, parse("", "select pg_sleep(60)"), &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}),
		},
	} {
		if got := spoken(t, agentd, server, dialogue.Session{Turns: turns}); !strings.Contains(got, over) {
			t.Errorf("%s: got\n%s\nwant it to end with\n%s", name, got, over)
		}
	}
	// What waits for the client, and not for the server, takes no time.
	got := spoken(t, agentd, server, dialogue.Session{Turns: [][]byte{
		encoded(&pgproto3.Query{String: "begin"}),
		encoded(parse("", "select generate_series(1, 9)"), &pgproto3.Bind{DestinationPortal: "c"}, &pgproto3.Execute{Portal: "c", MaxRows: 1}, &pgproto3.Sync{}),
		encoded(&pgproto3.Query{String: "select pg_sleep(0.4)"}), encoded(&pgproto3.Query{String: "select pg_sleep(0.4)"}),
		encoded(&pgproto3.Query{String: "select pg_sleep(0.4)"}), encoded(&pgproto3.Query{String: "select pg_sleep(0.4)"}),
		encoded(&pgproto3.Query{String: "select pg_sleep(0.4)"}), encoded(&pgproto3.Query{String: "select pg_sleep(0.4)"}),
		encoded(&pgproto3.Query{String: "select pg_sleep(0.4)"}), encoded(&pgproto3.Query{String: "select pg_sleep(0.4)"}),
		encoded(&pgproto3.Execute{Portal: "c", MaxRows: 1}, &pgproto3.Sync{}),
		encoded(&pgproto3.Query{String: "commit"}),
	}})
	if !strings.HasSuffix(got, "row \"2\"\nCOMMIT\n") {
		t.Errorf("a transaction of many short statements: got\n%s", got)
	}
}
