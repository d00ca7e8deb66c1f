package agentd_test

import "github.com/jackc/pgx/v5/pgproto3"

// waysOfSpeaking use the protocol, or the lexer, to hide what is asked.
var waysOfSpeaking = joined(
	under("the protocol", []way{
		{name: "several statements in a Query", over: "s", text: `select 1; select email from customers; select 2`},
		{name: "several statements in a Query, with a failing one", over: "s", text: `select upper(email) from customers; select 1 / 0; select email from customers`},
		{name: "several statements in a Query, in a transaction of their own", over: "s", text: `begin; declare c cursor for select email from customers; fetch all c; commit`},
		{name: "a Query of a view made in the same Query", over: "s", text: `create view v as select upper(email) as e from customers; select e from v; drop view v`},
		{name: "a Query of a table renamed in the same Query", over: "s", text: `begin; alter table customers rename to clients; select upper(email) from clients; rollback`},
		{name: "a statement of 300 KB", text: `select length('` + repeat("x", 300<<10) + `'), upper(email) from customers`},
		{name: "a statement behind a comment of 100 KB", text: `/*` + repeat("x", 100<<10) + `*/ select upper(email) from customers`},
		{name: "a statement in a list of 4000 values", text: `select upper(email) from customers where id in (1` + repeat(", 1", 4000) + `)`},
		{name: "a statement of many parentheses", text: `select ` + repeat("(", 300) + `upper(email)` + repeat(")", 300) + ` from customers`},
		{name: "a portal of one row at a time", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{encoded(parse("", "select email from customers order by id"), bind(p, "", ""), describe('P', ""),
				&pgproto3.Execute{MaxRows: 1}, &pgproto3.Execute{MaxRows: 1}, &pgproto3.Execute{}, &pgproto3.Sync{})}
		}},
		{name: "a portal that is described after its first row", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{encoded(parse("", "select email from customers order by id"), bind(p, "x", ""),
				&pgproto3.Execute{Portal: "x", MaxRows: 1}, describe('P', "x"), &pgproto3.Execute{Portal: "x"}, &pgproto3.Sync{})}
		}},
		{name: "a statement that is never described", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{encoded(parse("", "select email from customers"), bind(p, "", ""), &pgproto3.Execute{}, &pgproto3.Sync{})}
		}},
		{name: "a statement run again without being described", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{
				encoded(parse("s", "select upper(email) from customers"), describe('S', "s"), &pgproto3.Sync{}),
				encoded(bind(p, "", "s"), &pgproto3.Execute{}, &pgproto3.Sync{}),
				encoded(bind(p, "", "s"), &pgproto3.Execute{}, &pgproto3.Sync{}),
			}
		}},
		{name: "a statement described in another format than it is run in", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{encoded(parse("s", "select salary, born, email from customers"), describe('S', "s"),
				&pgproto3.Bind{PreparedStatement: "s", ResultFormatCodes: []int16{1 - p.format, p.format, 1 - p.format}}, &pgproto3.Execute{}, &pgproto3.Sync{})}
		}},
		{name: "a statement prepared by the protocol, run by SQL", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{encoded(parse("s", "select upper(email) from customers"), &pgproto3.Sync{}), p.statement("execute s")}
		}},
		{name: "a statement prepared by SQL, run by the protocol", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{
				p.statement("prepare s as select upper(email) from customers"),
				encoded(bind(p, "", "s"), &pgproto3.Execute{}, &pgproto3.Sync{}),
			}
		}},
		{name: "a name that SQL gives another meaning before it is run", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{
				encoded(parse("s", "select city from shops"), describe('S', "s"), &pgproto3.Sync{}),
				p.statement("deallocate s"),
				p.statement("prepare s as select upper(email) as city from customers"),
				encoded(bind(p, "", "s"), &pgproto3.Execute{}, &pgproto3.Sync{}),
			}
		}},
		{name: "a name given another meaning in a pipeline", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{encoded(parse("s", "select city from shops"), describe('S', "s"), bind(p, "", "s"), &pgproto3.Execute{},
				&pgproto3.Close{ObjectType: 'S', Name: "s"}, parse("s", "select upper(email) as city from customers"), bind(p, "", "s"), &pgproto3.Execute{}, &pgproto3.Sync{})}
		}},
		{name: "a pipeline of several statements", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{encoded(
				parse("", "select 1"), bind(p, "", ""), describe('P', ""), &pgproto3.Execute{},
				parse("", "select upper(email) from customers"), bind(p, "", ""), describe('P', ""), &pgproto3.Execute{},
				parse("", "select city from shops"), bind(p, "", ""), describe('P', ""), &pgproto3.Execute{}, &pgproto3.Sync{})}
		}},
		{name: "two portals, rows by turns", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{encoded(
				parse("a", "select city from shops"), bind(p, "a", "a"), describe('P', "a"), parse("b", "select upper(email) from customers"), bind(p, "b", "b"), describe('P', "b"),
				&pgproto3.Execute{Portal: "a", MaxRows: 1}, &pgproto3.Execute{Portal: "b", MaxRows: 1}, &pgproto3.Execute{Portal: "a"}, &pgproto3.Execute{Portal: "b"}, &pgproto3.Sync{})}
		}},
		{name: "a cursor as a portal of the protocol", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{
				encoded(&pgproto3.Query{String: "begin"}), p.statement("declare c cursor for select upper(email) from customers"),
				encoded(describe('P', "c"), &pgproto3.Execute{Portal: "c"}, &pgproto3.Sync{}),
			}
		}},
		{name: "a portal as a cursor of SQL", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{
				encoded(&pgproto3.Query{String: "begin"}),
				encoded(parse("", "select upper(email) from customers"), bind(p, "c", ""), &pgproto3.Flush{}, &pgproto3.Sync{}), p.statement("fetch all c"),
			}
		}},
		{name: "a view replaced behind a described statement", over: "tb", alone: true, say: func(p protocol) [][]byte {
			return [][]byte{
				p.statement("create view v as select city as x from shops"),
				encoded(parse("s", "select x from v"), describe('S', "s"), bind(p, "", "s"), &pgproto3.Execute{}, &pgproto3.Sync{}),
				p.statement("create or replace view v as select email as x from customers"),
				encoded(bind(p, "", "s"), &pgproto3.Execute{}, &pgproto3.Sync{}),
			}
		}},
		{name: "a search_path changed behind a described statement", over: "tb", alone: true, say: func(p protocol) [][]byte {
			return [][]byte{
				p.statement("create schema s"),
				p.statement("create view s.shops as select id, email as city from customers"),
				encoded(parse("s", "select city from shops"), describe('S', "s"), bind(p, "", "s"), &pgproto3.Execute{}, &pgproto3.Sync{}),
				p.statement("set search_path = s, public"),
				encoded(bind(p, "", "s"), &pgproto3.Execute{}, &pgproto3.Sync{}),
			}
		}},
		{name: "a value as a parameter's type", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{encoded(parse("", "select $1 || email from customers"),
				&pgproto3.Bind{Parameters: [][]byte{[]byte("x")}, ResultFormatCodes: []int16{p.format}}, describe('P', ""), &pgproto3.Execute{}, &pgproto3.Sync{})}
		}},
		{name: "a text that is a parameter, run by a function from before", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{encoded(parse("", "select run($1)"),
				&pgproto3.Bind{Parameters: [][]byte{[]byte("select email from customers")}, ResultFormatCodes: []int16{p.format}}, describe('P', ""), &pgproto3.Execute{}, &pgproto3.Sync{})}
		}},
		{name: "a guess that is a parameter", over: "tb", text: "prepare p (text) as select id from customers where email like $1\nexecute p('{{Q|Z}}%')"},
		{name: "FunctionCall of query_to_xml", over: "tb", say: func(p protocol) [][]byte {
			return [][]byte{call(2924, p.format, "select email from customers", "false", "false", "")}
		}},
		{name: "FunctionCall of a function that reads a file", over: "t", chief: true, say: func(p protocol) [][]byte {
			return [][]byte{call(2624, 0, "PG_VERSION")}
		}, barred: "a file without the value"},
		{name: "a session for replication", text: `select email from customers`, over: "s", startup: map[string]string{"replication": "database"}},
		{name: "a session for replication, an expression", text: `select upper(email) from customers`, over: "s", startup: map[string]string{"replication": "database"}},
		{
			name: "logical replication", text: "CREATE_REPLICATION_SLOT agentd_way TEMPORARY LOGICAL test_decoding\nSTART_REPLICATION SLOT agentd_way LOGICAL 0/0", over: "s",
			startup: map[string]string{"replication": "database"}, untried: "it does not end",
		},
		{
			name: "a base backup", text: `BASE_BACKUP ( LABEL 'way', PROGRESS false, CHECKPOINT 'fast' )`, over: "s",
			startup: map[string]string{"replication": "true"}, untried: "it is the whole server",
		},
		{name: "logical decoding in SQL", text: "select pg_create_logical_replication_slot('way_' || pg_backend_pid(), 'test_decoding', true)\nupdate customers set name = 'x' where id = 1\nselect data from pg_logical_slot_get_changes('way_' || pg_backend_pid(), null, null)", alone: true},
		{name: "logical decoding in SQL, peeking", text: "select pg_create_logical_replication_slot('way_' || pg_backend_pid(), 'test_decoding', true)\nupdate customers set name = 'x' where id = 1\nselect d.data from pg_logical_slot_peek_binary_changes('way_' || pg_backend_pid(), null, null) d", alone: true},
	}),
	under("encodings and quotes", []way{
		{name: "SJIS, a character that ends in a backslash", text: "set client_encoding = 'SJIS'\nselect E'\x95\x5c', upper(email) from customers --'"},
		{name: "SJIS, a quoted name", text: "set client_encoding = 'SJIS'\nselect 1 as \"\x95\x5c\", upper(email) from customers"},
		{name: "BIG5 at the login", text: "select E'\xa5\x5c', upper(email) from customers --'", startup: map[string]string{"client_encoding": "BIG5"}},
		{name: "GBK, set by a function", text: "select set_config('client_encoding', 'GBK', false)\nselect E'\xd5\x5c', upper(email) from customers --'"},
		{name: "LATIN1", text: "set client_encoding = 'LATIN1'\nselect '\xe9', upper(email) from customers"},
		{name: "SQL_ASCII", text: "set client_encoding = 'SQL_ASCII'\nselect upper(email) from customers"},
		{name: "EUC_JP", text: "set names 'EUC_JP'\nselect '\xc9\xbd', upper(email) from customers"},
		{name: "a backslash at the end of a literal", text: `select '\', upper(email) from customers --'`},
		{name: "standard_conforming_strings off", text: "set standard_conforming_strings = off\nselect '\\'', upper(email) from customers"},
		{name: "standard_conforming_strings off and on again", text: "set standard_conforming_strings = off\nreset standard_conforming_strings\nselect '\\', upper(email) from customers --'"},
		{name: "standard_conforming_strings off and rolled back", text: "begin\nset standard_conforming_strings = off\nrollback\nselect '\\', upper(email) from customers --'"},
		{name: "standard_conforming_strings off at the login", text: `select '\', upper(email) from customers --' || upper(email) from customers`, startup: map[string]string{"options": "-c standard_conforming_strings=off"}},
		{name: "standard_conforming_strings off for one transaction", text: "begin\nset local standard_conforming_strings = off\ncommit\nselect '\\', upper(email) from customers --'"},
		{name: "standard_conforming_strings changed in the same Query", over: "s", text: `set standard_conforming_strings = off; select '\', upper(email) from customers --'`},
		{name: "a carriage return behind a comment", text: "select 1 --\r, upper(email) from customers"},
		{name: "comments in comments", text: `select /* /* */ 1, */ upper(email) /* */ from customers`},
		{name: "a comment in an operator", text: "select 1 +/**/ 1, upper(email) from customers --*/"},
		{name: "dollar quotes", text: `select $a$ $b$ $a$, upper(email) from customers --$b$`},
		{name: "dollar quotes with other letters", text: `select $ä$ $a$ $ä$, upper(email) from customers --$a$`},
		{name: "a dollar in a name", text: `select a$b$.email, upper(a$b$.email) from customers a$b$`},
		{name: "literals that continue on the next line", say: func(p protocol) [][]byte {
			return [][]byte{p.statement("select 'a'\n'b', upper(email) from customers")}
		}},
		{name: "E'' with a quote escaped", text: `select E'\'', upper(email) from customers --'`},
		{name: "U&'' with an escape of its own", text: `select U&'!0041' uescape '!', upper(email) from customers`},
		{name: "bit strings and national characters", text: `select B'1', X'f', N'x', upper(email) from customers`},
		{name: "a name longer than names are", text: `select upper(` + repeat("c", 63) + `_and_more.email) from customers as ` + repeat("c", 63) + `_and_other`},
		{name: "a quoted name with quotes in it", text: `select upper("a""b".email) from customers as "a""b"`},
		{name: "form feeds and tabs", text: "select\tupper(email)\ffrom\tcustomers"},
		{name: "white space of other alphabets", text: "select upper(email)\u00a0 from customers"},
		{name: "numbers that touch names", text: `select 1.5,upper(email)from customers`},
		{name: "the name of a keyword", text: `select "select".email, upper("select".email) from customers "select"`},
	}),
	under("files and pages", []way{
		{name: "the table's file", text: "checkpoint\nselect encode(pg_read_binary_file(pg_relation_filepath('customers')), 'escape')", chief: true},
		{name: "the table's file, as it is", text: "checkpoint\nselect pg_read_binary_file(pg_relation_filepath('visits_one'))", chief: true},
		{name: "where long values are kept", text: `select chunk_data from OVERFLOW`, chief: true},
		{name: "where long values are kept, as text", text: `select encode(chunk_data, 'escape') from OVERFLOW`, chief: true},
		{name: "where long values are kept, by COPY", text: `copy (select chunk_data from OVERFLOW) to stdout (format binary)`, chief: true},
		{name: "a page", text: `select get_raw_page('customers', 0)`, chief: true},
		{name: "a page's rows", text: `select t_data from heap_page_items(get_raw_page('customers', 0))`, chief: true},
		{name: "a page's attributes", text: `select t_attrs from heap_page_item_attrs(get_raw_page('customers', 0), 'customers')`, chief: true},
		{name: "an index's page", text: `select data from bt_page_items('mailed', 1)`, chief: true},
		{name: "a file imported as a large object", text: "checkpoint\nselect lo_import(current_setting('data_directory') || '/' || pg_relation_filepath('customers'), 880088)\nselect lo_get(880088)", chief: true, undone: true},
		{name: "a large object's rows", text: "select lo_from_bytea(770078, email::bytea) from customers where id = 1\nselect data from pg_largeobject", chief: true, undone: true},
		{name: "COPY to a file, and from it", text: "create temporary table got (t text)\ncopy customers (email) to 'FOLDER/copied'\ncopy got from 'FOLDER/copied'\nselect t from got", chief: true, over: "s", undone: true},
		{name: "COPY to a program, and from one", text: "create temporary table got (t text)\ncopy customers (email) to program 'cat > FOLDER/piped'\ncopy got from program 'cat FOLDER/piped'\nselect t from got", chief: true, over: "s", undone: true},
		{name: "COPY from a program", text: "create temporary table got (t text)\ncopy got from program 'strings base/*/' delimiter '|'\nselect t from got", chief: true, over: "s", undone: true, barred: "a folder is no file"},
		{name: "the server's log", text: "do $$ begin raise log '%', (select email from customers limit 1); end $$\nselect pg_read_file(pg_current_logfile())", chief: true, barred: "there is no log collector"},
		{name: "the write-ahead log", text: "select pg_switch_wal()\nselect encode(pg_read_binary_file('pg_wal/' || pg_walfile_name(pg_current_wal_lsn() - 100)), 'escape') is not null", chief: true, barred: "only whether it can be read"},
		{name: "ALTER SYSTEM", text: "alter system set log_statement = 'none'\nselect upper(email) from customers", chief: true},
		{name: "another role", text: "set session authorization agent\nselect upper(email) from customers\nreset session authorization\nset role agent\nselect email from customers", chief: true},
	}),
)

func parse(name, text string) *pgproto3.Parse { return &pgproto3.Parse{Name: name, Query: text} }

func bind(p protocol, portal, statement string) *pgproto3.Bind {
	return &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: statement, ResultFormatCodes: []int16{p.format}}
}

func describe(kind byte, name string) *pgproto3.Describe {
	return &pgproto3.Describe{ObjectType: kind, Name: name}
}

// call is a FunctionCall with arguments in text.
func call(oid uint32, format int16, arguments ...string) []byte {
	m := &pgproto3.FunctionCall{Function: oid, ResultFormatCode: uint16(format)}
	for _, a := range arguments {
		m.Arguments = append(m.Arguments, []byte(a))
	}
	return encoded(m)
}
