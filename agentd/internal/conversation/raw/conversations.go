package main

import "strings"

// A conversation is one session: what is asked before it starts, the
// parameters of its start, and what is said in it.
type conversation struct {
	name       string
	before     [][]byte
	parameters []string
	steps      []step
}

// A step is bytes to send, and the types of the messages to wait for, in
// order, before the next step.
type step struct {
	bytes  []byte
	until  string
	piece  int  // bytes per write; 0 for all in one
	half   bool // close the writing side afterwards
	cancel bool // give back the lock 4711, then be cancelled
}

// sslRequest is the code of the request for TLS.
const sslRequest = 80877103

var conversations = []conversation{
	{
		name:   "TLS asked for and not had",
		before: [][]byte{startup(sslRequest, nil)},
		steps:  []step{{bytes: query("select 1"), until: "Z"}, {bytes: terminate, until: "?"}},
	},
	{
		name:       "start-up parameters",
		parameters: []string{"application_name", "raw", "DateStyle", "German", "options", "-c geqo=off -c search_path=pg_catalog", "client_encoding", "LATIN1"},
		steps: []step{
			{bytes: query("show search_path; show geqo; select current_date is null, '\xe4'"), until: "Z"},
			{bytes: terminate, until: "?"},
		},
	},
	{
		name: "messages in pieces",
		steps: []step{
			{bytes: join(query("select 'one byte at a time'"), query("select 2")), until: "ZZ", piece: 1},
			{bytes: join(parse("", "select $1::text"), bind("", "", []any{"in threes"}), execute("", 0), sync), until: "Z", piece: 3},
			{bytes: query("select 'seven', '" + strings.Repeat("x", 5000) + "'"), until: "Z", piece: 777},
		},
	},
	{
		name: "many queries at once",
		steps: []step{
			{bytes: join(query("select 1"), query(""), query("select 1/0"), query("begin"), query("select 1/0"), query("select 2"), query("commit"), query("select 3")), until: "ZZZZZZZZ"},
		},
	},
	{
		name: "a pipeline that fails in the middle, and one after it",
		steps: []step{
			{bytes: join(
				parse("a", "select $1::int + 1"), describe('S', "a"), bind("", "a", []any{"41"}), describe('P', ""), execute("", 0),
				bind("", "a", []any{"no number"}), execute("", 0), parse("b", "select 'skipped'"), closing('S', "a"), sync,
				bind("", "a", []any{nil}, 1), execute("", 0), bind("", "b", nil), execute("", 0), sync,
				query("select 'simple in between'"),
				bind("", "a", []any{"1"}, 1), execute("", 0), sync,
			), until: "ZZZZ"},
		},
	},
	{
		name: "portals fetched in parts, inside a transaction",
		steps: []step{
			{bytes: join(query("begin"), parse("s", "select g from generate_series(1, 10) g"), bind("p", "s", nil, 1)), until: "Z"},
			{bytes: join(execute("p", 3), flush), until: "s"},
			{bytes: join(parse("t", "select 'other'"), bind("", "t", nil), execute("", 0), execute("p", 4), flush), until: "s"},
			{bytes: join(execute("p", 0), closing('P', "p"), closing('S', "never made"), sync), until: "Z"},
			{bytes: join(execute("p", 1), sync, query("rollback")), until: "ZZ"},
		},
	},
	{
		name: "Sync alone, Flush alone, empty statements",
		steps: []step{
			{bytes: join(sync, flush, sync, sync), until: "ZZZ"},
			{bytes: join(parse("", ""), describe('S', ""), bind("", "", nil), execute("", 0), sync), until: "Z"},
			{bytes: join(query(" ; ;; -- nothing"), query("/* /* nested */ */")), until: "ZZ"},
		},
	},
	{
		name: "functions by OID",
		steps: []step{
			{bytes: call(1317, "count me"), until: "Z"},   // length(text), an int4 in text
			{bytes: call(870, "lower me"), until: "Z"},    // lower(text)
			{bytes: call(4294967295, "none"), until: "Z"}, // no such function
		},
	},
	{
		name: "COPY in both directions",
		steps: []step{
			{bytes: query("create temporary table t (a int, b text)"), until: "Z"},
			{bytes: query("copy t from stdin; select 'after'"), until: "G"},
			{bytes: join(copyData("1\tone\n2\tt"), copyData("wo\n"), flush, sync, copyData("3\t\\N\n"), copyDone), until: "Z"},
			{bytes: join(query("copy t from stdin (format csv)"), copyData("4,\"fo"), copyData("ur\"\n"), copyDone), until: "Z"},
			{bytes: join(query("copy t from stdin"), copyData("no number\tx\n"), copyDone, query("select 'in step'")), until: "ZZ"},
			{bytes: join(query("copy t from stdin"), copyData("5\tx\n"), message('f', []byte("the client gives up\x00")), query("select 'in step'")), until: "ZZ"},
			{bytes: join(parse("", "copy t from stdin"), bind("", "", nil), execute("", 0), copyData("6\tsix\n"), copyDone, sync), until: "Z"},
			{bytes: join(parse("", "copy t to stdout (format binary)"), bind("", "", nil), describe('P', ""), execute("", 0), sync), until: "Z"},
			{bytes: query("select 1; copy t to stdout; select 2; copy t to stdout (format csv, header)"), until: "Z"},
		},
	},
	{
		name: "notices and notifications between messages",
		steps: []step{
			{bytes: query("listen raw; do $$ begin raise notice 'one'; perform pg_notify('raw', 'x'); raise warning 'two'; end $$; select 1"), until: "Z"},
			{bytes: join(parse("", "select pg_notify('raw', 'y')"), bind("", "", nil), execute("", 0), sync), until: "Z"},
			{bytes: query("set application_name to 'renamed'; set timezone to 'Asia/Tokyo'; reset all"), until: "Z"},
		},
	},
	{
		name: "a cancel request, and the session goes on",
		steps: []step{
			{bytes: query("select pg_advisory_lock(4711)"), until: "Z"},
			{bytes: query("select pg_advisory_unlock(4711), pg_sleep(60)"), until: "Z", cancel: true},
			{bytes: query("select pg_advisory_lock(4711)"), until: "Z"},
			{bytes: join(parse("", "select pg_advisory_unlock(4711), pg_sleep(60)"), bind("", "", nil), execute("", 0), sync), until: "Z", cancel: true},
			{bytes: query("select 'still here'"), until: "Z"},
		},
	},
	{
		name: "large messages both ways",
		steps: []step{
			{bytes: query("select '" + strings.Repeat("0123456789abcdef", 1<<16) + "'"), until: "Z"},
			{bytes: query("select g, repeat('x', 100) from generate_series(1, 10000) g"), until: "Z"},
			{bytes: join(parse("", "select length($1), $1"), bind("", "", []any{strings.Repeat("y", 3<<20)}), execute("", 0), sync), until: "Z"},
		},
	},
	{
		name:  "the writing side is closed before the answer comes",
		steps: []step{{bytes: join(query("select g from generate_series(1, 1000) g"), terminate), until: "?", half: true}},
	},
	{
		name:  "no Terminate, only the end",
		steps: []step{{bytes: query("select 'the last'"), until: "Z?", half: true}},
	},
	{
		name:  "a message in the wrong place",
		steps: []step{{bytes: join(copyData("lost"), copyDone, query("select 'in step'")), until: "Z"}, {bytes: bind("p", "no such statement", nil), until: ""}, {bytes: sync, until: "Z"}},
	},
	{
		name:  "the server ends the session",
		steps: []step{{bytes: query("select pg_terminate_backend(pg_backend_pid())"), until: "?"}},
	},
}
