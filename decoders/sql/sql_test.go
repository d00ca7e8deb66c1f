package sql_test

import (
	"slices"
	"strings"
	"testing"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

func analyze(text string) *sql.Facts { return sql.NewAnalyzer(nil).Analyze([]byte(text)) }

// nestedVerbs are texts, and what they do.
var nestedVerbs = []struct {
	text, verbs string
	statements  int
}{
	{"", "", 0},
	{" ; ;\n;", "", 0},
	{"-- nothing", "", 0},
	{"/* drop table t */", "", 0},
	{"select 1", "select", 1},
	{"SELECT 1; ; Select 2;", "select", 2},
	{"(((select 1)))", "select", 1},
	{"(select 1) union (values (2))", "select values", 1},
	{"values (1)", "values", 1},
	{"table t", "table select", 1},
	{"select 1 union all table t", "select table", 1},
	{"insert into t values (1)", "insert", 1},
	{"insert into t table u", "insert table select", 1},
	{"insert into t (a) select b from u", "insert select", 1},
	{"insert into t values (1) on conflict do nothing", "insert", 1},
	{"insert into t values (1) on conflict (a) do update set a = 2", "insert update", 1},
	{"update t set a = (select 1)", "update select", 1},
	{`update "T" set a = 1`, "update", 1},
	{"delete from t", "delete", 1},
	{"merge into t using u on t.a = u.a when matched then delete when not matched then insert values (1)", "merge delete insert", 1},
	{"merge into t using u on true when matched then update set a = 1", "merge update", 1},
	{"with x as (select 1) select * from x", "select", 1},
	{"with x as (delete from t returning *) select * from x", "delete select", 1},
	{"with x as (select 1) delete from t", "select delete", 1},
	{"with x as not materialized (update only t set a = 1 returning a), y as (insert into u select * from x returning 1) merge into v using y on true when matched then do nothing", "update insert select merge", 1},
	{"with delete as (select 1) insert into t select * from delete", "select insert", 1},
	{"with recursive x(a) as (select 1) search depth first by a set b update t set a = 1", "select update", 1},
	{"with recursive x(a) as (select 1) search depth first by a set key update t set a = 1", "select update", 1},
	{"with recursive x(a) as (select 1) cycle a set b using before update t set a = 1", "select update", 1},
	{"with a as (with b as (delete from t returning 1) select * from b) table a", "delete select table", 1},
	{"select * from t for update", "select", 1},
	{"select * from t for no key update of t skip locked", "select", 1},
	{"select t.select, t.update from t", "select", 1},
	{`select "delete from" from t`, "select", 1},
	{"select 'delete from t'", "select", 1},
	{"explain delete from t", "explain delete", 1},
	{"explain analyze verbose delete from t", "explain delete", 1},
	{"explain (analyze, format json) update t set a = 1", "explain update", 1},
	{"explain (select 1)", "explain select", 1},
	{"explain ((select 1))", "explain select", 1},
	{"explain analyze (select 1)", "explain select", 1},
	{"explain analyze execute p", "explain execute", 1},
	{"explain declare c cursor for select 1", "explain declare select", 1},
	{"explain create table t as select 1", "explain create select", 1},
	{"prepare p as delete from t", "prepare delete", 1},
	{"prepare p (int, text) as with x as (select 1) update t set a = 1", "prepare select update", 1},
	{"prepare transaction 'x'", "prepare", 1},
	{"execute p(1)", "execute", 1},
	{"deallocate all", "deallocate", 1},
	{"declare c binary insensitive scroll cursor with hold for select * from t for update", "declare select", 1},
	{"copy t from stdin", "copy", 1},
	{"copy (select 1) to stdout", "copy select", 1},
	{"copy (delete from t returning a) to stdout", "copy delete", 1},
	{"copy (with x as (delete from t returning a) select * from x) to stdout", "copy delete select", 1},
	{"create table t (a int)", "create", 1},
	{"create table t (a int references u on update cascade on delete set null)", "create", 1},
	{"create table t as select 1", "create select", 1},
	{"create table t as (select 1)", "create select", 1},
	{"create table t as table u", "create table select", 1},
	{"create table t as execute p(1)", "create execute", 1},
	{"create temp table if not exists t (a) on commit drop as with x as (delete from u returning 1) select * from x", "create delete select", 1},
	{"create or replace view v as select 1", "create select", 1},
	{"create view v as values (1)", "create values", 1},
	{"create materialized view v as select 1 with no data", "create select", 1},
	{"create rule r as on update to t do instead nothing", "create", 1},
	{"create rule r as on select to t do instead select 1", "create select", 1},
	{"create rule r as on insert to t do also delete from u", "create delete", 1},
	{"create rule r as on insert to t do (insert into u values (1); notify x; update v set a = 1)", "create insert notify update", 1},
	{"create rule r as on insert to t do also (notify x)", "create notify", 1},
	{"create function f() returns int begin atomic delete from t; select 1; end", "create delete select", 1},
	{"create function f() returns int begin atomic select case when a then 1 end from t; end; drop table t", "create select drop", 2},
	{"create procedure f() begin atomic end; select 1", "create select", 2},
	{"create function f() returns int return (select 1)", "create select", 1},
	{"create function f() returns int language sql as 'delete from t'", "create", 1},
	{"create trigger x before insert or update of a or delete on t for each row execute function f()", "create", 1},
	{"create policy p on t for select using (true)", "create", 1},
	{"create policy p on t as permissive for update using (a in (select 1))", "create select", 1},
	{"create schema s create table t (a int) create view v as select 1 grant select, update on t to u", "create select grant", 1},
	{"create domain d as int check (value > 0)", "create", 1},
	{"create cast (a as b) with inout", "create", 1},
	{"grant select, update on t to u", "grant", 1},
	{"alter default privileges grant select on tables to u", "alter", 1},
	{"alter table t add foreign key (a) references u on delete cascade", "alter", 1},
	{"do $$ begin delete from t; end $$", "do", 1},
	{"call p((select 1))", "call select", 1},
	{"begin; savepoint a; release a; rollback to a; commit; end; abort; start transaction", "begin savepoint release rollback commit end abort start", 8},
	{"set a = 1; reset a; show a; discard all", "set reset show discard", 4},
	{"listen a; notify a; unlisten *; lock t; checkpoint", "listen notify unlisten lock checkpoint", 5},
	{"analyze t; analyse t; vacuum t; reindex table t; cluster t; refresh materialized view v", "analyze analyse vacuum reindex cluster refresh", 6},
	{"truncate t; drop table t; alter table t drop a; comment on table t is 'a'; revoke all on t from u", "truncate drop alter comment revoke", 5},
	{"security label on table t is 'a'; import foreign schema a from server b into c; load 'x'; reassign owned by a to b", "security import load reassign", 4},
	{"fetch 1 from c; move c; close c", "fetch move close", 3},
}

func TestVerbsOfNestedStatementsAreFound(t *testing.T) {
	for _, tt := range nestedVerbs {
		f := analyze(tt.text)
		if f.Unclassified != "" {
			t.Errorf("%q is unclassified: %s", tt.text, f.Unclassified)
		}
		if got := strings.Join(f.Verbs, " "); got != tt.verbs {
			t.Errorf("%q has verbs %q, want %q", tt.text, got, tt.verbs)
		}
		if f.Statements != tt.statements {
			t.Errorf("%q has %d statements, want %d", tt.text, f.Statements, tt.statements)
		}
	}
}

func TestTextsAreCutWhereTheServerCutsThem(t *testing.T) {
	for _, tt := range []struct {
		text, want string
	}{
		{"select 'a;''b'; drop x", "select ?; drop x"},
		{`select E'a\';b' ; drop x`, "select ?; drop x"},
		{`select e'\\'; drop x`, "select ?; drop x"},
		{`select U&'\0061;', B'1;', x'f;', N'a;'; drop x`, "select ?, ?, ?, ?; drop x"},
		{"select B'1''0'", "select ? ?"},
		{"select 'a'\n  'b;' ; drop x", "select ?; drop x"},
		{"select 'a' -- it's\n 'b;'", "select ?"},
		{"select E'a'\n'\\';'; drop x", "select ?; drop x"},
		{"select 'a'  'b'", "select ? ?"},
		{"select $$a;'$$, $q$ $$ ; $Q$ $q$; drop x", "select ?, ?; drop x"},
		{"select $1, $23 from t", "select $1, $23 from t"},
		{"select a$b$c, d$$ from t; drop x", "select a$b$c, d$$ from t; drop x"},
		{"select $_1é$;$_1é$; drop x", "select ?; drop x"},
		{"select /* a /* ; */ ' */ 1; drop x", "select ?; drop x"},
		{"select 1 --; '\n+ 2; drop x", "select ? + ?; drop x"},
		{"select 1 --; '\r+ 2; drop x", "select ? + ?; drop x"},
		{`select "a;""b" ; drop x`, `select "a;""b"; drop x`},
		{`select U&"a;" ; drop x`, `select u&"a;"; drop x`},
		{"select 1+--;\n2", "select ? + ?"},
		{"select 1*/*;*/2", "select ? * ?"},
		{"select 1 @-- x\n", "select ? @"},
		{"select a<-1, b @- 1, c=-1, d*-1", "select a < - ?, b @- ?, c = - ?, d * - ?"},
		{"select 1e5, 1.5e-3, .5, 1., 0xFF, 0o17, 0b11, 1_000.5, 1E+2", "select ?, ?, ?, ?, ?, ?, ?, ?, ?"},
		{"for 1..10", "for ?..?"},
		{"select a::int, b [1:2], :c, d := 1", "select a::int, b[? : ?], : c, d := ?"},
		{"select COUNT(*),Max (a) from S.\"T\" where a IN (1,2,  3)", `select count(*), max (a) from s."T" where a in (?+)`},
		{"insert into t values (1,'a'),(2,'b'), (3, 'c')", "insert into t values (?+)"},
		{"insert into t values(1),(2)", "insert into t values(?)"},
		{"insert into t values (1), (null), (2), (3)", "insert into t values (?), (null), (?), (?)"},
		{"select f(1), (1)", "select f(?), (?)"},
		{"select '1'::date, date '1'", "select ?::date, date ?"},
		{"select ÄÖ, Straße", "select ÄÖ, straße"},
	} {
		if got := analyze(tt.text).Normalized; got != tt.want {
			t.Errorf("%q normalises to\n %q, want\n %q", tt.text, got, tt.want)
		}
	}
}

func TestWhatCannotBeReadIsUnclassified(t *testing.T) {
	deep := strings.Repeat("(", 2000)
	for _, tt := range []struct{ text, why string }{
		{"select 'a", "string"},
		{`select E'a\'`, "string"},
		{"select $a$ $b$", "string"},
		{`select "a`, "identifier"},
		{"select /* /* */", "comment"},
		{"select 1\x00", "NUL"},
		{"select 'a\x00b'", "NUL"},
		{"select $a$\x00$a$", "NUL"},
		{"select \"a\x00b\"", "NUL"},
		{`select \d`, "no use for"},
		{"select {a}", "no use for"},
		{"select a\x01", "no use for"},
		{"select $a", "no use for"},
		{"select a\xff from t", "not UTF-8"},
		{"select \"\xff\"", "not UTF-8"},
		{"select 123abc", "runs into a word"},
		{"select 0x1e'a'", ""}, // a number and a string
		{"select 1_e'a'", "runs into a word"},
		{"select 0xFF$a$", "runs into a word"},
		{"select $1a", "runs into a word"},
		{"select (1", "parentheses"},
		{"select 1)", "parentheses"},
		{"select " + deep, "deeper"},
		{"select 1" + strings.Repeat("+a", 1<<19), "tokens"},
		{"selec 1", "no known verb"},
		{"select 1; frobnicate", "no known verb"},
		{"'select'", "no known verb"},
		{"()", "no known verb"},
		{`"select" 1`, "no known verb"},
		{"explain", "no known verb"},
		{"explain analyze foo", "no known verb"},
		{"prepare p as foo", "no known verb"},
		{"prepare p", "no known verb"},
		{"declare c cursor", "no known verb"},
		{"START_REPLICATION SLOT x", "no known verb"},
		{"create function f() begin atomic select 1; frob; end", "no known verb"},
		{"create function f() begin atomic select 1;", "does not end"},
		{"create function f() begin atomic end stable", "does not end"},
		{`prepare U&"p" as select 1`, "U&"},
		{`close U&"p"`, "U&"},
	} {
		f := analyze(tt.text)
		if !strings.Contains(f.Unclassified, tt.why) || (f.Unclassified == "") != (tt.why == "") {
			t.Errorf("%.60q is unclassified for %q, want %q", tt.text, f.Unclassified, tt.why)
		}
	}
}

// With standard_conforming_strings off a backslash escapes in every literal,
// and in some client encodings a backslash is half a character.
func TestReadingsOfATextMustAgree(t *testing.T) {
	for _, tt := range []struct {
		text      string
		ambiguous bool
		verbs     string
	}{
		{`select 'a\b\\c'`, false, "select"},
		{`select 'C:\'`, false, "select"},        // unterminated with escapes: the server would reject it
		{`select 'it\'s'`, false, "select"},      // unterminated without
		{`select 'C:\', 'D:\'`, false, "select"}, // a backslash outside with escapes
		{`select '\'||' from t -- '`, true, ""},  // a table or none
		{`select '\'; drop table t; --'`, true, ""},
		{`select '\'' ; drop table t; --'`, true, ""},
		{"select E'\x83\\'; drop table t; --'", true, ""},
		{"select E'\xb1\\'; drop table t; --'", true, ""}, // half-width katakana in SJIS, half a character in GBK
		{"select E'\x83\\\\'; drop table t --'", true, ""},
		{"select E'\x83\\x'; drop table t", false, "select drop"},
		{"select E'\xc3\xa9\\n'", false, "select"},
		{"select '\x83\\'", false, "select"},
	} {
		f := analyze(tt.text)
		if got := strings.Contains(f.Unclassified, "depends"); got != tt.ambiguous {
			t.Errorf("%q is unclassified for %q, want ambiguous %v", tt.text, f.Unclassified, tt.ambiguous)
		}
		if got := strings.Join(f.Verbs, " "); got != tt.verbs {
			t.Errorf("%q has verbs %q, want %q", tt.text, got, tt.verbs)
		}
	}
}

func TestCommandsNameStatementsMoreClosely(t *testing.T) {
	for _, tt := range []struct{ text, commands string }{
		{"select 1", ""},
		{"drop table if exists t", "drop table"},
		{"create or replace function f() returns int return 1", "create function"},
		{"create unique index concurrently i on t (a)", "create index"},
		{"create materialized view v as select 1", "create materialized view"},
		{"alter user bob set a = 1", "alter user"},
		{"create user mapping for bob server s", "create user mapping"},
		{"alter default privileges revoke all on tables from public", "alter default privileges"},
		{"drop owned by bob", "drop owned"},
		{"alter system set a = 1", "alter system"},
		{"select a into b from c", "select into"},
		{"select a into temp table b from c", "select into"},
		{"insert into b select a from c", ""},
		{"explain analyze select 1", "explain analyze"},
		{"explain (costs off, analyze) select 1", "explain analyze"},
		{"explain select analyze from t", ""},
		{"copy t (a) from stdin", "copy from"},
		{"copy (select a from t) to stdout", "copy to"},
		{"copy t to program 'x'", "copy to, copy program"},
		{"copy program from stdin", "copy from"},
		{"prepare transaction 'a'", "prepare transaction"},
		{"drop view v; drop view w; drop table t", "drop view, drop table"},
	} {
		if got := strings.Join(analyze(tt.text).Commands, ", "); got != tt.commands {
			t.Errorf("%q has commands %q, want %q", tt.text, got, tt.commands)
		}
	}
}

func TestOpaqueMeansThatEffectsAreNotInTheText(t *testing.T) {
	for text, want := range map[string]bool{
		"select 1":                    true,
		"do 'begin end'":              false,
		"call p()":                    false,
		"execute p":                   false,
		"explain execute p":           false,
		"create table a as execute p": false,
		"copy t from program 'x'":     false,
		"copy t from 'x'":             true,
		"load 'x'":                    false,
		"create extension x":          false,
		"create function f() returns int as 'select 1'":    false,
		"create function f() returns int return 1":         true,
		"create function f() returns int begin atomic end": true,
		"create table t (a int)":                           true,
		"select 'unterminated":                             false,
	} {
		if got := !analyze(text).Opaque; got != want {
			t.Errorf("%q is visible: %v, want %v", text, got, want)
		}
	}
}

func TestNamesOfStatementsAndCursorsFoldAsInTheServer(t *testing.T) {
	long := strings.Repeat("n", 80)
	for _, tt := range []struct {
		text string
		want []sql.Name
	}{
		{"prepare Foo as select 1; execute foo; deallocate prepare FOO", []sql.Name{{"prepare", "foo"}, {"execute", "foo"}, {"deallocate", "foo"}}},
		{`prepare "F""o" (int) as select 1`, []sql.Name{{"prepare", `F"o`}}},
		{"prepare " + long + " as select 1", []sql.Name{{"prepare", long[:63]}}},
		{"prepare transaction 'x'", nil},
		{"deallocate all; deallocate \"all\"", []sql.Name{{"deallocate", ""}, {"deallocate", "all"}}},
		{"declare C no scroll cursor for select a from b", []sql.Name{{"declare", "c"}}},
		{"fetch backward 5 from c; fetch c; move forward all in d; close all; close c", []sql.Name{{"fetch", "c"}, {"fetch", "c"}, {"move", "d"}, {"close", ""}, {"close", "c"}}},
		{"create table t as execute p(1)", []sql.Name{{"execute", "p"}}},
		{"explain analyze execute p", []sql.Name{{"execute", "p"}}},
		{"discard all", []sql.Name{{"discard", ""}}},
		{"discard plans", nil},
	} {
		if got := analyze(tt.text).Names; !slices.Equal(got, tt.want) {
			t.Errorf("%q has names %v, want %v", tt.text, got, tt.want)
		}
	}
}

func TestStatementsThatMayCarrySecretsAreKnown(t *testing.T) {
	for text, want := range map[string]bool{
		"select 1 from t where a = 'b'":                                     false,
		"select * from orders where note = 'pass the salt, wise one'":       false,
		"alter role bob with encrypted password 'x'":                        true,
		"create user bob PASSWORD 'x'":                                      true,
		"create user bob identified by 'x'":                                 true,
		"create subscription s connection 'host=a' publication p":           true,
		"alter subscription s connection 'host=a'":                          true,
		"create user mapping for bob server s options (user 'a', pass 'b')": true,
		"alter server s options (set a 'b')":                                true,
		"set my.api_key = 'x'":                                              true,
		"select set_config('my.Password', 'x', false)":                      true,
		"select dblink_connect('host=a')":                                   true,
		"select f('host=a password=b')":                                     true,
		"select f('postgres://bob:pw@host/db')":                             true,
		"select f('https://host:80/a@b')":                                   false,
		"do $$ begin execute 'alter role a PassWord ''x'''; end $$":         true,
		"update users set password_hash = 'x' where id = 1":                 true,
		`update users set "Password" = 'x'`:                                 true,
		"select crypt('x', gen_salt('bf'))":                                 true,
		"select pgp_sym_encrypt(a, 'key') from t":                           true,
		"insert into t values ('-----BEGIN PRIVATE KEY-----')":              true,
		"select 1 -- password: x":                                           true,
		"select 'unterminated":                                              true,
	} {
		if got := analyze(text).Secret; got != want {
			t.Errorf("%q may carry a secret: %v, want %v", text, got, want)
		}
	}
}

func TestMentionsFindsWatchedNames(t *testing.T) {
	long := strings.Repeat("x", 70)
	watch := []decoders.ColumnName{
		{Schema: "public", Table: "users", Column: "ssn"},
		{Schema: "public", Table: "Mixed", Column: "*"},
		{Schema: "*", Table: long, Column: "größe"},
	}
	a := sql.NewAnalyzer(watch)
	for _, tt := range []struct {
		text          string
		table, column bool
	}{
		{"select * from orders", false, true}, // "*" is a watched column of Mixed
		{"", false, false},
		{"select 1", false, true},
		{"select ssn from users", true, true},
		{"SELECT SSN FROM Public.USERS u", true, true},
		{`select "SSN" from "Users"`, false, true},
		{`select 1 from "Mixed"`, true, true},
		{"select 1 from mixed", false, true},
		{`select 1 from U&"\0075sers"`, true, true},
		{"select 1 from größer", true, true}, // how it folds is the server's affair
		{"select 1 from " + long, true, true},
		{"select 1 from " + long[:63] + "y", true, true},
		{"select 'users'", false, true},
		{"select 'users", true, true},
	} {
		table, column := a.Analyze([]byte(tt.text)).Mentions()
		if table != tt.table || column != tt.column {
			t.Errorf("%q mentions table %v, column %v, want %v, %v", tt.text, table, column, tt.table, tt.column)
		}
	}
	if table, column := analyze("select ssn from users").Mentions(); table || column {
		t.Errorf("without a watch it mentions %v, %v, want nothing", table, column)
	}
}

func TestFieldsHaveTheirTypes(t *testing.T) {
	f := sql.Resolve(analyze("copy t from program 'x'"), &sql.Meaning{}, &sql.Scope{})
	for _, field := range sql.Fields {
		var ok bool
		switch v := f.Field(field.Name); field.Type {
		case decoders.Strings:
			_, ok = v.([]string)
		case decoders.String:
			_, ok = v.(string)
		case decoders.Int:
			_, ok = v.(int64)
		case decoders.Bool:
			_, ok = v.(bool)
		}
		if !ok {
			t.Errorf("Field(%q) is %T, want the type that Fields gives", field.Name, f.Field(field.Name))
		}
	}
	if got := f.Field("sql.nothing"); got != nil {
		t.Errorf("Field of an unknown name is %v, want nil", got)
	}
	if got := f.Field("sql.opaque"); got != true {
		t.Errorf("sql.opaque is %v, want true", got)
	}
}

func TestTextsOfOneFormShareTheirFacts(t *testing.T) {
	a := sql.NewAnalyzer(nil)
	f := a.Analyze([]byte("select a from t where b = 1"))
	if g := a.Analyze([]byte("SELECT a FROM t -- again\nWHERE b = 22;")); g != f {
		t.Errorf("got facts %p for the same form, want %p", g, f)
	}
	if g := a.Analyze([]byte("select a from t where b = 'two'")); g == f || g.Normalized != f.Normalized {
		t.Errorf("a string has the facts of a number, or another form: %v", g == f)
	}
	if g := a.Analyze([]byte("select a from t where b = ?")); g == f || g.Normalized != f.Normalized {
		t.Errorf("an operator ? shares the facts of a literal: %v", g == f)
	}
	if g := a.Analyze([]byte("select a from t where b = 'password: x'")); g == f || !g.Secret {
		t.Errorf("a secret literal has the facts of one that is none")
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	a := sql.NewAnalyzer(nil)
	often := []byte("select often from t")
	f := a.Analyze(often)
	for i := range 5000 {
		a.Analyze([]byte("select " + strings.Repeat("x", 1+i%50) + strings.Repeat("y", i/50) + " from t"))
		if i%100 == 0 && a.Analyze(often) != f {
			t.Fatalf("after %d others a statement that comes often was forgotten", i)
		}
	}
	rare := []byte("select x from t")
	first := a.Analyze(rare)
	for i := range 1000 {
		a.Analyze([]byte("select z" + strings.Repeat("z", i) + " from t"))
	}
	if a.Analyze(rare) == first {
		t.Error("a statement that is rare is remembered for ever")
	}
}

func TestAStatementSeenBeforeAllocatesNothing(t *testing.T) {
	a := sql.NewAnalyzer(nil)
	text := []byte("select a from t where b = 'it''s' and c in (1, 2, 3)")
	broken := []byte("select 'a")
	a.Analyze(text)
	a.Analyze(broken)
	if got := testing.AllocsPerRun(100, func() { a.Analyze(text); a.Analyze(broken) }); got != 0 {
		t.Errorf("it allocates %v times, want none", got)
	}
}
