select 1

select 'it''s', E'it\'s\n', U&'d\0061t\+000061', U&'d!0061t!+000061' UESCAPE '!', $$it's$$, $q$it's $$ too$q$, N'x', B'101', X'1F', 1.5e-10, .5, 5., 1e3

select 'one'
  'two' -- and
  'three'

select E'a' /* a comment */ as "b c", 1 -- another
  as d

select U&"d\0061t\+000061" from (values (1)) v(U&"d\0061t\+000061")

select interval '1' year, interval '1-2' year to month, interval(3) '1.5', interval '3' second(2), '1 day'::interval(0), interval '1 02:03' day to minute

select date '2020-01-01', timestamp(3) with time zone '2020-01-01', time without time zone '10:00', int4 '1', double precision '1.5', pg_catalog.text 'x', numeric(10, 2) '1.5', bit(3) '101', float8 '1'

select cast(1 as numeric(10, 2)), 1::varchar(10), 'x'::character varying(3), 1::float(24), 1::double precision, 'a'::bit varying(3)::text, '{1,2}'::int[], '{{1},{2}}'::int[3][3], 'a'::"char"

select -1, +1, - -1, 1 - -1, 2*-1, 2*+1, a- -1 from (values (1)) v(a)

select * from t limit 5 offset 10

select * from t limit all

select * from t fetch first 5 rows only

select * from t order by a offset 5 rows fetch next row with ties

select * from t order by 1, 2 desc nulls last

select a, count(*) from t group by 1 having count(*) > 1 order by 2

select a, b, sum(c) from t group by grouping sets ((a, b), (a), ()), rollup (a, b), cube (a)

select distinct on (a, 1) a, b from t order by a, 1

select * from t where a in (1, 2, 3) and b not in ('x', 'y') and (a, c) in ((1, 2), (3, 4))

select * from t where (a, b) = (1, 'x') or row(a, c) > row(1, 2) or (a, c) between (1, 2) and (3, 4)

select * from t where (timestamp '2020-01-01', interval '1 day') overlaps (timestamp '2020-01-02', timestamp '2020-01-03')

select ('2020-01-01', '2020-02-01') overlaps (date '2020-01-01', interval '1 day')

select ('2020-01-01'::date, '2020-02-01'::date) overlaps ('2020-01-01'::date, '2020-02-01'::date)

select * from t where b like 'a%' escape '!' or b ilike '%x' or b similar to 'a' escape 'b' or b ~ '^a' or b !~* 'x' or b like all (array['a', 'b'])

select * from t where a between 1 and 2 or a between symmetric 2 and 1 or a is null or a is not distinct from 3 or b is normalized or a = any ('{1,2}')

select nullif(1, 2), nullif(a, 0), coalesce(null, 1, 2), greatest(1, 2, 3), least('a', 'b') from t

select case a when 1 then 'one' when 2 then 'two' else 'many' end, case when a > 1 then 1 end from t

select extract(year from d), extract('epoch' from d), date_part('year', d), d at time zone 'UTC' from (values (timestamp '2020-01-01')) v(d)

select substring('abc' from 1 for 2), substring('abc', 1, 2), substring('abc' similar 'a' escape '#'), overlay('abc' placing 'x' from 1 for 1), overlay('abc', 'x', 1, 1), position('a' in 'b'), trim(both 'x' from 'y'), trim('x'), trim(leading from 'y'), trim('a', 'b'), normalize('x', NFC), collation for ('x')

select array[1, 2, 3], array[[1, 2], [3, 4]], (array[1,2,3])[1], (array[1,2,3])[1:2], (array[1,2,3])[:2], (array[1,2,3])[1:], array(select 1)

select x[1], x[1:2][3], (y).a, (y).*, (f(1)).b from (select array[1] as x, row(1, 2) as y) s

select f(a => 1, b => 'x'), f(variadic array[1, 2]), f(distinct a order by b), f(*), f() within group (order by a) from t

select count(*) filter (where a > 1), sum(a) over (partition by b order by c rows between 1 preceding and 2 following exclude ties), lag(a, 1) over w, ntile(4) over (w) from t window w as (order by a range between unbounded preceding and current row)

select percentile_cont(0.5) within group (order by a), string_agg(b, ',' order by b), array_agg(distinct a) from t

select * from generate_series(1, 10) as g(i), lateral (select i + 1) s, rows from (f(1), g(2)) with ordinality as r(a, b, c)

select * from t tablesample bernoulli (10) repeatable (1)

select * from t a join t b on a.a = b.a left join t c using (a) natural full join u cross join v

select * from only t, u *, (values (1, 'a'), (2, 'b')) v(a, b), (table t) x

values (1, 'a'), (2, 'b'), (3, null)

values ('a'), (1), (null), (B'1')

table only t

select 1 union all select 2 except select 3 intersect (select 4 order by 1 limit 1) order by 1 limit 3

with a as (select 1 as x), b(y) as materialized (select x from a), c as not materialized (select 1) select * from a, b, c

with recursive r(n) as (values (1) union all select n + 1 from r where n < 100) search depth first by n set o cycle n set cyc to 'Y' default 'N' using p select * from r

with moved as (delete from t where a < 10 returning *) insert into u select * from moved

select * from t for update of t nowait

select * from t for no key update skip locked

select * into temp x from t

select xmlelement(name foo, xmlattributes('a' as b), 'c'), xmlforest(1 as a, 'b' as c), xmlparse(document '<a/>' preserve whitespace), xmlpi(name php, 'x'), xmlroot('<a/>', version '1.0', standalone yes), xmlserialize(content '<a/>' as text), xmlexists('//a' passing by ref '<a/>'), xmlconcat('<a/>', '<b/>'), '<a/>' is document

select * from xmltable(xmlnamespaces('http://x' as x, default 'http://y'), '/rows/row' passing '<rows/>' columns id int path '@id' not null, o for ordinality, n text default 'none')

select '{"a":1}'::jsonb -> 'a' ->> 'b', j #> '{a,b}', j @> '{"a":1}', j ? 'a', j ?| array['a'], j @? '$.a', j #- '{a}' from (values ('{}'::jsonb)) v(j)

select a operator(pg_catalog.+) 1, - a, a!=1, a<>1, a<=-1, @ -5, |/ 25, a ^ 2 % 3 from t

select current_date, current_timestamp(2), localtime(1), current_user, session_user, current_catalog, user

select true, false, null, 1 is true, unknown from (select true) s(unknown)

select $1, $2::int, a + $3 from t where b = $1 and a in ($2, $3)

select 1::text::int4, 'x'::text collate "C", a::text[] from t

select grouping(a), a from t group by a

select "select", "a""b", "A", a.b."c" from (select 1 as "select", 2 as "a""b", 3 as "A") "from"

select 1 as e, 2 as b, 3 as x, 4 as n, 5 as u

insert into t values (1, 'a', 2)

insert into t values (1, 'a', 2), (3, 'b', 4), (-5, 'c', 6)

insert into t (a, b) values (default, 'x'), ($1, E'y')

insert into t as x (a, b) select 1, 'x' from u where a > 5 on conflict (a) where b > 'x' do update set b = excluded.b || '!' where x.a > 1 returning *, a + 1 as z

insert into t default values

insert into t overriding system value values (1)

insert into t values (1) on conflict on constraint k do nothing

insert into t (a) values (1) on conflict do nothing returning a

update t set a = 1, b = 'x', c = default where a = 5 returning old.a

update only t as x set (a, b, c) = (1, 'b', 3), x[1] = 5 from u where x.a = u.a

update t set (a, b) = (select 1, 'x'), c = c + 1 where current of cur

delete from t using u where t.a = u.a and u.b = 'x' returning *

delete from t

merge into t using (values (1, 'a')) s(a, b) on t.a = s.a when matched and t.b <> 'x' then update set b = s.b when matched then delete when not matched then insert (a, b) values (s.a, 'new')

copy t from stdin

copy t (a, b) to stdout with (format csv, delimiter ',', null '', header true, quote '"', escape '\', force_quote (a, b), encoding 'utf8')

copy t from '/tmp/x' delimiter ',' csv null as '' quote as '"'

copy (select * from t where a > 5) to program 'cat' with (format binary)

copy t from stdin with delimiter ';' null 'x' where a > 10

explain select 1

explain (analyze, buffers off, format json, timing 'on') select * from t where a = 1

explain analyze verbose update t set a = 1

prepare p as select * from t where a = $1

prepare p (int, numeric(10, 2)) as insert into t values ($1, 'x', 2)

execute p (1, 'x', null)

execute p

deallocate p

deallocate prepare all

declare c binary insensitive no scroll cursor with hold for select * from t where a > 5

fetch 5 from c

fetch forward 10 in c

fetch -5 c

fetch absolute -1 from c

fetch backward all from c

move relative 3 in c

close all

begin isolation level serializable, read only, deferrable

start transaction read write

commit and chain

rollback to savepoint s

savepoint s

release s

abort

prepare transaction 'x'

commit prepared 'y'

rollback prepared 'z'

set search_path = "$user", public, 'x'

set search_path to 'a', 'b'

set local x.y = 5

set session a = on

set a to default

set a = -1.5

set time zone 'UTC'

set time zone -8

set time zone interval '-08:00' hour to minute

set time zone local

set time zone 1.5

set names 'utf8'

set role 'x'

set role none

set session authorization 'y'

set session authorization default

set xml option document

set session characteristics as transaction isolation level repeatable read

set transaction snapshot '00000003-1'

set constraints all deferred

reset all

reset x.y

show all

show time zone

discard all

discard temp

listen x

notify x, 'payload'

unlisten *

load 'plpgsql'

checkpoint

lock table only t, u in access exclusive mode nowait

vacuum (full, analyze true, parallel 2) t (a, b)

vacuum full freeze verbose analyze t

analyze t (a)

reindex (verbose) table concurrently t

cluster t using i

do $$ begin raise notice 'x'; end $$ language plpgsql

do language 'plpgsql' 'begin end'

call p(1, 'x', a => 2)

create table x (a int primary key, b varchar(20) not null default 'x', c numeric(10, 2) check (c > 0 and c in (1, 2)), d timestamp(3) default now() - interval '1' day, e int generated always as identity (start with 10 increment by -1 minvalue -100), f int generated always as (a * 2) stored, g bit(3) default B'101', h text collate "C" references t (a) match full on delete set null deferrable, unique (a, b) with (fillfactor = 70), exclude using gist (c with =) where (a > 5), foreign key (a) references t, like t including all)

create unlogged table if not exists x (a int) partition by range (a, (b + 1) collate "C" int4_ops) with (autovacuum_enabled = false, fillfactor = 70) on commit delete rows tablespace z

create table x partition of y for values from (1, 'a') to (minvalue, maxvalue)

create table x partition of y (a default 5) for values in (1, 'a', null)

create table x partition of y for values with (modulus 4, remainder 3)

create temp table x as select 1 as a, 'b' as b with no data

create table x (a, b) as execute p (1, 'x')

create table x as values (1, 'a')

create foreign table x (a int options (column_name 'y')) server s options (table_name 'z', updatable 'false')

alter table t add column x int default 5, drop column if exists y cascade, alter column a type bigint using a::bigint + 1, alter b set default 'x', alter 1 set statistics 100, alter a set statistics -1, alter b set storage external, add constraint k check (a > 1) not valid

alter table t add column x int default 5, drop column if exists y cascade, alter column a type bigint using a::bigint + 1, alter b set default 'x', alter a set statistics -1, add constraint k check (a > 1) not valid, set (fillfactor = 70), reset (x), owner to r, set tablespace z

alter table t attach partition p for values from (1) to (10)

alter table t detach partition p concurrently

alter table t alter a add generated by default as identity (cache 20), alter a set start with 5 restart with 100

alter table t enable trigger all, force row level security, replica identity using index i, cluster on i

create unique index concurrently if not exists i on only t using btree (a desc nulls first, lower(b) text_pattern_ops, (c + 1)) include (d) nulls not distinct with (fillfactor = 70) where a > 5

create view v (a, b) with (security_barrier = true) as select 1, 'x' with local check option

create or replace recursive view v (n) as values (1) union all select n + 1 from v

create materialized view m tablespace x as select * from t where a = 5 with no data

refresh materialized view concurrently m

create or replace function f(a int default 5, inout b text = 'x', variadic c int[] default '{1,2}') returns setof text language plpgsql immutable strict cost 100 rows 1000 parallel safe set search_path = 'x', public support s as $f$ begin return 'secret'; end $f$

create function f(int) returns table (a int, b numeric(10, 2)) as 'lib', 'symbol' language c

create function f() returns int language sql begin atomic select 1; insert into t values (1, 'x', 2); select case a when 1 then 'x' end from t; end

create function f(a int) returns int return a + 5

create procedure p(out a int) language sql as 'select 1'

alter function f(int, text) cost 5

alter function f(int, text) rename to g

drop function if exists f(int), g cascade

create aggregate a(int) (sfunc = f, stype = int, initcond = '0', sspace = 100)

create aggregate a(order by int) (sfunc = f, stype = int, initcond = '0')

create operator === (leftarg = int, rightarg = int, function = f, commutator = operator(pg_catalog.=))

create operator class c default for type int using btree family fam as operator 1 <, operator 2 <= (int, int) for search, function 1 f(int, int), storage int

alter operator family fam using btree add operator 1 < (int, int)

drop operator class c using btree

alter operator + (int, int) owner to x

drop operator - (none, int)

create type x as (a int, b numeric(10, 2))

create type x as enum ('a', 'b', 'c')

create type x as enum ('a')

create type x as enum ()

create type x as range (subtype = int)

create type x (input = f, output = g, internallength = 16, alignment = 'int4', default = 'x')

create type x

alter type x add value if not exists 'b' before 'c'

alter type x rename value 'a' to 'b'

alter type x add attribute c int

create domain d as text default 'x' check (value ~ '^a') not null

create sequence s as bigint increment by -1 minvalue -10 maxvalue 100 start 5 cache 1 cycle owned by t.a

alter sequence s restart with 10

alter sequence s restart

create trigger g before insert or update of a, b or delete on t referencing old table as o for each row when (old.a is distinct from 5) execute function f('a', 1, x)

create constraint trigger g after insert on t from u deferrable initially deferred for each row execute procedure f()

create event trigger g on ddl_command_start when tag in ('create table', 'drop table') and x in ('y') execute function f()

create event trigger g on ddl_command_start when tag in ('create table') execute function f()

create rule r as on insert to t where new.a > 5 do instead (insert into u values (new.a, 'x'); notify x, 'y'; )

create rule r as on update to t do also nothing

drop rule r on t

create policy p on t as restrictive for update to public, r using (a = 5) with check (b = 'x')

alter policy p on t using (true)

create schema if not exists s authorization current_user

create schema s create table x (a int default 5) create view v as select 'x' grant select on x to r

create extension if not exists x with schema s version '1.0' cascade

alter extension x update to '2'

alter extension x add function f(int)

create role r with login password 'secret' connection limit 5 valid until '2030-01-01' in role a, b sysid 100

create user u encrypted password 'md5x'

alter role r set search_path = 'x', y

alter user u password null

alter role all in database d reset all

create group g with user a

create database d with owner = r encoding 'utf8' lc_collate = 'C' connection limit = -1 template = template0 is_template false

alter database d set x = 5

alter database d with connection limit 10

drop database if exists d with (force)

create tablespace x owner r location '/x' with (random_page_cost = 1.5)

alter tablespace x set (seq_page_cost = 2)

create server s type 'x' version '1' foreign data wrapper w options (host 'h', port '5432')

alter server s version '2' options (set host 'x', drop port, add y 'z')

create user mapping if not exists for current_user server s options (password 'secret')

create foreign data wrapper w handler f no validator options (a 'b')

import foreign schema s limit to (a, b) from server x into y options (a 'b')

create publication p for table t (a, b) where (a > 5), tables in schema s with (publish = 'insert, update')

create subscription s connection 'host=x password=secret' publication p, q with (slot_name = none, enabled = false)

alter subscription s set (slot_name = 'x')

alter subscription s skip (lsn = '0/1')

alter subscription s connection 'x'

create collation c (locale = 'de', deterministic = false)

create collation c from "C"

create conversion x for 'utf8' to 'latin1' from f

create text search configuration c (copy = english)

alter text search configuration c alter mapping for a, b with d

create text search dictionary d (template = simple, stopwords = 'x')

create transform for int language sql (from sql with function f(internal))

create access method m type index handler f

create language l handler f

create cast (int as text) with function f(int) as implicit

create statistics s (ndistinct, mcv) on a, (b || 'x') from t

grant select (a, b), update on t, u to r with grant option granted by current_user

revoke grant option for all privileges on all tables in schema s from public cascade

grant a, b to c with admin option

grant execute on function f(int, text) to r

grant usage on foreign server s to r

grant set on parameter x to r

alter default privileges for role r in schema s grant select on tables to public

comment on column t.a is 'x'

comment on function f(int) is null

comment on large object 1234 is 'y'

comment on operator + (int, int) is E'z'

comment on constraint k on t is 'k'

comment on cast (int as text) is ''

security label for 'p' on table t is 'x'

security label on large object 5 is null

alter system set x = 'y'

alter system reset all

reassign owned by a, b to c

drop owned by a cascade

truncate table only t, u restart identity cascade

alter large object 5 owner to r

drop table if exists t, s.u cascade

drop index concurrently i

drop view v

drop type x

drop domain d

drop aggregate a(*), b(int)

drop cast if exists (int as text)

drop trigger g on t

drop schema s cascade

drop role r

drop user mapping for r server s

drop transform for int language sql

drop access method m

alter table t alter column b set compression lz4

alter index i alter column 1 set statistics 5

alter view v alter a set default 5

alter materialized view m set (fillfactor = 70)

alter domain d add check (value > 5)

alter domain d set default 'x'

alter collation c refresh version

;; select 1;; select 'x' ; -- the end

select /* 'a' /* nested */ "b" */ 1, --'
  'c'

select e'\'' || 'a' "e", x'f' "x"

select 0x1f, 0o17, 0b11, 1_000

select a.*::text, (a).*::text from t a

select (select 1), exists (select 1 from t where a = 5), a = all (select 1), not exists (table t) from t

select (1), ((1, 2)), ('a', 1, B'1'), row(), row(1) from t

begin; insert into t values (1, 'x'); commit

select 1; select 'x' where 1 in (1, 2);
