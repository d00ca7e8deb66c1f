package agentd_test

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"agentd.dev/agentd/control"
)

// awaitHeld returns the id of the request that waits with that statement's
// beginning.
func (s *leakScene) awaitHeld(statement string) string {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	client := control.NewClient(s.agentd.Socket)
	defer client.Close()
	var f control.ApprovalFilter
	for {
		list, err := client.Approvals(ctx, f)
		if err != nil {
			s.t.Errorf("%v", err)
			return ""
		}
		for _, r := range list.Approvals {
			if strings.HasPrefix(r.Statement, statement[:16]) {
				return r.ID
			}
		}
		f.Since = list.Version
	}
}

// bound runs a text with one parameter.
func bound(text string, format int16) func(string) [][]byte {
	return func(secret string) [][]byte {
		return [][]byte{encoded(
			&pgproto3.Parse{Query: text},
			&pgproto3.Bind{ParameterFormatCodes: []int16{format}, Parameters: [][]byte{[]byte(secret)}},
			&pgproto3.Describe{ObjectType: 'P'},
			&pgproto3.Execute{},
			&pgproto3.Sync{},
		)}
	}
}

var leaksOfTheProtocol = []leak{
	{group: "protocol", name: "a parameter, as text", turns: bound("update accounts set login = $1 where id = 1", 0), why: aValue},
	{group: "protocol", name: "a parameter, in binary", turns: bound("update accounts set login = $1 where id = 1", 1), why: aValue},
	{group: "protocol", name: "a parameter of a type that it is not of", turns: bound("select $1::int", 0), why: aValue},
	{group: "protocol", name: "a parameter that is cast in the end", turns: bound("select ($1::text)::int", 0), why: aValue},
	{group: "protocol", name: "a parameter that is a date", turns: bound("select $1::timestamptz", 0), why: aValue},
	{group: "protocol", name: "a parameter of JSON", turns: bound("select $1::jsonb", 0), why: aValue},
	{group: "protocol", name: "a prepared statement's name", why: "it is not recorded", turns: func(secret string) [][]byte {
		return [][]byte{encoded(&pgproto3.Parse{Name: secret, Query: "select 1"}, &pgproto3.Bind{PreparedStatement: secret, DestinationPortal: secret},
			&pgproto3.Execute{Portal: secret}, &pgproto3.Sync{})}
	}},
	{group: "protocol", name: "a prepared statement's text", kept: inRecord, why: ownText, turns: func(secret string) [][]byte {
		return [][]byte{encoded(&pgproto3.Parse{Name: "x", Query: "select '" + secret + "'"}, &pgproto3.Sync{})}
	}},
	{group: "protocol", name: "EXECUTE of what the protocol prepared", why: aPassword, turns: func(secret string) [][]byte {
		return [][]byte{
			encoded(&pgproto3.Parse{Name: "x", Query: "update accounts set password = $1 where id = 1"}, &pgproto3.Sync{}),
			encoded(&pgproto3.Query{String: "execute x('" + secret + "')"}),
		}
	}},
	{group: "protocol", name: "the argument of a function call", why: aValue, turns: func(secret string) [][]byte {
		return [][]byte{encoded(&pgproto3.FunctionCall{Function: 1257, ArgFormatCodes: []uint16{0}, Arguments: [][]byte{[]byte(secret)}})}
	}},
	{group: "protocol", name: "a message of no known kind", why: "it is refused", turns: func(secret string) [][]byte {
		return [][]byte{[]byte(message("!", secret))}
	}},
	{group: "protocol", name: "a text that is not UTF-8", kept: inRecord, why: ownText, turns: func(secret string) [][]byte {
		return [][]byte{encoded(&pgproto3.Query{String: "select '\xff\xfe" + secret + "'"})}
	}},
	{group: "protocol", name: "a password in a text that is not UTF-8", why: aPassword, turns: func(secret string) [][]byte {
		return [][]byte{encoded(&pgproto3.Query{String: "alter role leak_a password '\xff\xfe" + secret + "'"})}
	}},
	{group: "protocol", name: "a quote that does not end", why: unreadable, turns: func(secret string) [][]byte {
		return [][]byte{encoded(&pgproto3.Query{String: "select '" + secret})}
	}},
	{group: "protocol", name: "a backslash that can be read in two ways", why: unreadable, turns: func(secret string) [][]byte {
		return [][]byte{encoded(&pgproto3.Query{String: `select '\', ` + secret + `; --'`})}
	}},
	{group: "protocol", name: "a long statement with a password", why: aPassword, turns: func(secret string) [][]byte {
		return [][]byte{encoded(&pgproto3.Query{String: "alter role leak_a password '" + secret + "'; select '" + strings.Repeat("x", 200<<10) + "'"})}
	}},
	{group: "protocol", name: "a statement that is longer than agentd looks at", why: "of it the length is kept", turns: func(secret string) [][]byte {
		return [][]byte{encoded(&pgproto3.Query{String: "select '" + secret + strings.Repeat("x", 17<<20) + "'"})}
	}},
}

var leaksOfErrors = []leak{
	says("error", "the server repeats a literal", "select '{}'::int", ownText, "record"),
	says("error", "the server repeats a password", "alter role leak_a valid until '{}' password 'x'", "errors beside secrets are left out"),
	{group: "error", name: "DETAIL of a unique key", turns: bound("insert into notes (id, body) select 7, $1::text union all select 7, $1::text", 0), why: "of errors the code and the message are kept"},
	{group: "error", name: "NOTICE", turns: bound("select shout($1)", 0), kept: inRecord, why: "the message is what a function of the database's own says"},
}

// inAll holds a statement, tells people of it, and looks.
func inAll(statement string) func(*leakScene, string) []string {
	return func(s *leakScene, secret string) []string {
		s.holds(strings.ReplaceAll(statement, "{}", secret))
		return nil
	}
}

// told writes to a table of which people are told, and waits until they are. Its
// workload is its own: people are told once of what one workload does again.
func told(table, statement string) func(*leakScene, string) []string {
	return func(s *leakScene, secret string) []string {
		s.by(table)(psql(s.server, strings.ReplaceAll(statement, "{}", secret)+";")).Run()
		s.press.heard(func(body string) bool { return strings.Contains(body, `"statement":"insert into `+table) })
		return nil
	}
}

var toPeople = []string{"approvals", "record", "webhooks"}

var leaksOfVerdicts = []leak{
	says("verdict", "a statement that is refused", "insert into refused values (1, '{}')", ownText, "record"),
	says("verdict", "a secret in a statement that is refused", "insert into refused (id, note) select 1, '{}' as password", aPassword),
	{group: "verdict", name: "a statement that people are told of", do: told("alerted", "insert into alerted values (1, '{}')"), kept: []string{"record", "webhooks"}, why: "they are told of exactly that"},
	{group: "verdict", name: "a secret in a statement that people are told of", do: told("discreet", "insert into discreet (id, note) select 1, '{}' as password"), why: aPassword},
	{group: "verdict", name: "a statement that waits for people", do: inAll("insert into held values (2, '{}')"), kept: toPeople, why: "people are asked about exactly that"},
	{group: "verdict", name: "a secret in a statement that waits for people", do: inAll("delete from held where note = (select '{}' as password)"), why: aPassword},
	{group: "verdict", name: "a masked column's value in a statement", as: "masked", say: "update people set ssn = '{}'", why: "values of masked columns are in no record"},
	{group: "verdict", name: "what a mask finds, in a statement", as: "finding", say: "insert into notes values (1, '{}@example.com')", why: "values that a mask finds are in no record"},
	{group: "verdict", name: "what was not understood", say: "frobnicate '{}'", kept: inRecord, why: ownText},
}

// stored has a secret in a table before somebody reads it.
func stored(as, put, get string) func(*leakScene, string) []string {
	return func(s *leakScene, secret string) []string {
		s.server.SQL(s.t, strings.ReplaceAll(put, "{}", secret))
		s.by(as)(psql(s.server, strings.ReplaceAll(get, "{}", secret[:5])+";")).Run()
		return nil
	}
}

var leaksOfResults = []leak{
	{group: "result", name: "a masked column", do: stored("masked", "insert into people values (1, '{}')", "select ssn from people"), why: "the record has what the client was shown"},
	{group: "result", name: "what a mask finds", do: stored("finding", "insert into emails values (2, '{}@example.com')", "select email from emails where id = 2"), why: "the record has what the client was shown"},
	{group: "result", name: "a masked column, copied out", do: stored("masked", "insert into people values (3, '{}')", "copy people to stdout"), why: "the record has what the client was shown"},
	{group: "result", name: "pg_authid", why: "verifiers of passwords are withheld", do: func(s *leakScene, secret string) []string {
		s.server.SQL(s.t, "create role leak_shown login password '"+secret+"'")
		for _, q := range []string{"select * from pg_authid", "select rolpassword as x from pg_authid", "select passwd from pg_shadow", "copy pg_authid to stdout", "select a from pg_authid a"} {
			s.by("")(psql(s.server, q+";")).Run()
		}
		return []string{s.server.SQL(s.t, "select rolpassword from pg_authid where rolname = 'leak_shown'")}
	}},
	{group: "result", name: "options of servers and users elsewhere", why: "what one can log in with is withheld", do: stored("",
		"create server if not exists leak_s2 foreign data wrapper postgres_fdw; create user mapping for postgres server leak_s2 options (user 'u', password '{}')",
		"select umoptions from pg_user_mappings; select * from pg_user_mapping; select umoptions::text as x from pg_user_mapping")},
	{group: "result", name: "a column that tells", do: stored("", "insert into accounts values (11, 'u', '{}')", "select password from accounts where id = 11"), why: "values of columns with such names are withheld"},
	{group: "result", name: "any column", do: stored("", "insert into notes values (12, '{}')", "select body from notes where id = 12"), kept: inRecord, why: rowsShown},
	{group: "result", name: "a setting of a name that tells", say: "set app.api_key = '{}';\nselect current_setting('app.api_key');\nshow app.api_key", why: aPassword},
}
