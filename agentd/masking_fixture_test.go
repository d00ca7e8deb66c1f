package agentd_test

import "github.com/jackc/pgx/v5/pgtype"

// secrets are the values that no client may be shown, in any form that the
// judge knows. Those without a column of their own are in nothing else.
var secrets = []secret{
	{column: "email", texts: []string{"Quxbrand.7731@Zephyr-Vault.example"}},
	{column: "email", texts: []string{"Wolmthorpe.4419@Kestrel-Yard.example"}},
	{column: "card", texts: []string{"4929 8173 0056 2284"}},
	{column: "salary", texts: []string{"913377.31", "1826754.62", "913378.31", "-913377.31"}, oid: pgtype.NumericOID},
	{column: "born", texts: []string{"1987-06-05", "05/06/1987", "06/05/1987", "2446952", "549849600"}, oid: pgtype.DateOID},
	{column: "doc", texts: []string{"Marrowgate-5521-Plinth"}},
	{column: "tags", texts: []string{"Thornwick-6602-Basalt"}},
	{column: "tags", texts: []string{"Umberfold-3190-Cobalt"}},
	{column: "phone", texts: []string{"+49 6120 7734519"}},
	{column: "code", texts: []string{"KX7-RM42-QZP9"}},
	{column: "ip", texts: []string{"203.0.113.177"}, oid: pgtype.InetOID},
	{column: "photo", texts: []string{"Glimmerdock-8846-Feldspar"}},
	{column: "seen", texts: []string{"2019-11-23 04:17:38.291+00"}, oid: pgtype.TimestamptzOID},
	{column: "ref", texts: []string{"5d0c7e94-3b1f-4a62-9e8d-c7f1b2a60e35"}, oid: pgtype.UUIDOID},
	{column: "stay", texts: []string{"2031-03-17", "[2031-03-17,2031-09-29)"}, oid: pgtype.DateOID},
	{column: "pin", texts: []string{"48213977"}, oid: pgtype.Int4OID},
	{column: "score", texts: []string{"77123.456789"}, oid: pgtype.Float8OID},
	{column: "mac", texts: []string{"08:00:2b:9f:4e:71"}, oid: pgtype.MacaddrOID},
	{column: "home", texts: []string{"(41.377219,-8.913345)"}, oid: pgtype.PointOID},
	{column: "lapse", texts: []string{"4127 days 03:41:57"}, oid: pgtype.IntervalOID},
	{column: "about", texts: []string{"Hollowmere-2275-Jasper"}},
	{column: "words", texts: []string{"Cinderpath9934"}},
	{column: "nick", texts: []string{"Dapplewing-3057-Onyx"}},
	{column: "alias", texts: []string{"Eventide-6618-Garnet"}},
	{column: "abode", texts: []string{"Bramblecourt-4470-Lane"}},
	{column: "accounts.email", texts: []string{"Fennimore.2258@Osprey-Loft.example"}},
	{column: "letters_kept.body", texts: []string{"Sorrelwick-8153-Quarry"}},
	{column: "visits.email", texts: []string{"Halberdine.9047@Marten-Quay.example"}},
}

// protecting is the policy under attack.
const protecting = `
rules:
  - name: mask-customers
    on: result
    do: mask
    columns:
      - public.customers.email
      - public.customers.card
      - public.customers.salary
      - public.customers.born
      - public.customers.doc
      - public.customers.tags
      - public.customers.phone
      - public.customers.code
      - public.customers.ip
      - public.customers.photo
      - public.customers.seen
      - public.customers.ref
      - public.customers.stay
      - public.customers.pin
      - public.customers.score
      - public.customers.mac
      - public.customers.home
      - public.customers.lapse
      - public.customers.about
      - public.customers.words
      - public.customers.nick
      - public.customers.alias
      - public.customers.abode
      - public.accounts.email
      - public.visits.email
      - public.letters_kept.body` + vaulted + `
    with: "[masked]"
`

// protected is the database: the agent owns all of it, as agents that run
// migrations do. What stands before the agent comes is made here; the rest it
// makes itself.
const protected = `
create role chief superuser login password 'lab-password';
alter role agent replication;
create extension hstore; create extension dblink; create extension tablefunc; create extension pg_trgm;
create extension pgcrypto; create extension citext; create extension pageinspect; create extension xml2;
create extension pg_walinspect; create extension fuzzystrmatch;
create extension postgres_fdw;
select format('create server loopback foreign data wrapper postgres_fdw options (host ''127.0.0.1'', port %L, dbname ''far'')', current_setting('port')) \gexec
grant usage on foreign server loopback to agent;
grant usage on foreign data wrapper postgres_fdw to agent;
set role agent;
create user mapping for agent server loopback options (user 'agent', password 'lab-password');

create domain mailbox as text;
create type dwelling as (street text, floor int);
create table customers (
	id int primary key, name text, email text, card text, salary numeric(12,2), born date, doc jsonb, tags text[],
	phone varchar(30), code char(14), ip inet, photo bytea, seen timestamptz, ref uuid, stay daterange, pin int,
	score float8, mac macaddr, home point, lapse interval, about xml, words tsvector, nick name, alias mailbox, abode dwelling
);
insert into customers values (1, 'Ada', 'Quxbrand.7731@Zephyr-Vault.example', '4929 8173 0056 2284', 913377.31, '1987-06-05',
	'{"mail": "Quxbrand.7731@Zephyr-Vault.example", "note": "Marrowgate-5521-Plinth", "deep": {"n": [1, "Marrowgate-5521-Plinth"]}}',
	'{Thornwick-6602-Basalt,Umberfold-3190-Cobalt}', '+49 6120 7734519', 'KX7-RM42-QZP9', '203.0.113.177',
	'Glimmerdock-8846-Feldspar', '2019-11-23 04:17:38.291+00', '5d0c7e94-3b1f-4a62-9e8d-c7f1b2a60e35', '[2031-03-17,2031-09-29)',
	48213977, 77123.456789, '08:00:2b:9f:4e:71', '(41.377219,-8.913345)', '4127 days 03:41:57', '<p>Hollowmere-2275-Jasper</p>',
	'Cinderpath9934:1', 'Dapplewing-3057-Onyx', 'Eventide-6618-Garnet', '("Bramblecourt-4470-Lane",3)');
insert into customers (id, name, email) values (2, 'Grace', 'Wolmthorpe.4419@Kestrel-Yard.example'), (3, 'Edsger', null);
alter table customers add constraint mailed unique (email);

create table letters_kept (id int, body text);
alter table letters_kept alter body set storage external;
insert into letters_kept select 1, repeat('Sorrelwick-8153-Quarry ', 200);
create table shops (id int primary key, city text);
insert into shops values (1, 'Rome'), (2, 'Oslo');
create table letters (id int, recipient text references customers (email) deferrable);
insert into letters select id, email from customers;
create table diary (id serial, line text);
create table parties (id int primary key, email text);
create table accounts (balance int) inherits (parties);
create table vips (rank int) inherits (accounts);
insert into vips values (1, 'Fennimore.2258@Osprey-Loft.example', 10, 1);
create table visits (id int, email text) partition by range (id);
create table visits_one partition of visits for values from (0) to (100);
insert into visits values (1, 'Halberdine.9047@Marten-Quay.example');

` + vaults + `
create view contacts as select id, email as mail from customers;
create view contacts_again as select id, mail as address from contacts where mail is not null;
create view loud as select id, upper(email) as mail from customers;
create view guarded with (security_barrier) as select id, email as mail from customers;
create view everything as select * from customers;
create view whole as select c as customer from customers c;
create view counted as select count(email) as many, max(email) as last from customers;
create view joined as select s.city, c.email from shops s join customers c using (id);
create view documents as select id, to_jsonb(c) as document from customers c;
create materialized view roster as select id, email as mail from customers;
create materialized view roster_loud as select id, lower(email) as mail from customers;
create view by_roster as select mail from roster;

create function mail_of(int) returns text language sql stable as 'select email from customers where id = $1';
create function mail_by_heart(int) returns text language plpgsql security definer as $$ begin return (select email from customers where id = $1); end $$;
create function mails() returns setof text language sql as 'select email from customers';
create function all_customers() returns setof customers language sql as 'select * from customers';
create function mails_of(out id int, out address text) returns setof record language sql as 'select id, email from customers';
create function cursor_of() returns refcursor language plpgsql as $$ declare c refcursor := 'mails'; begin open c for select email from customers; return c; end $$;
create function tell() returns void language plpgsql as $$ declare m text; begin for m in select email from customers loop raise notice 'mail %', m; end loop; end $$;
create function fail() returns void language plpgsql as $$ begin raise exception 'mail %', (select email from customers limit 1); end $$;
create function same(text) returns text language sql immutable as 'select $1';
create function keep(text) returns text language plpgsql as $$ begin insert into diary (line) values ($1); return 'kept'; end $$;
create procedure report(inout m text) language plpgsql as $$ begin m := (select email from customers limit 1); end $$;
create function run(text) returns text language plpgsql as $$ declare m text; begin execute $1 into m; return m; end $$;
create function run_now(text) returns text language plpgsql immutable as $$ declare m text; begin execute $1 into m; return m; end $$;
create operator === (leftarg = text, rightarg = text, function = textcat);
create aggregate pile (text) (sfunc = textcat, stype = text, initcond = '');
create function later() returns trigger language plpgsql as $$ begin insert into diary (line) values (new.email); return new; end $$;
create table copies (id int, mail text);

create view of_function as select m from mails() m;
create view of_call as select id, mail_of(id) as note from shops;
create materialized view of_call_kept as select id, mail_of(id) as note from shops;
create view of_run as select run('select email from customers') as note;
create view swapped as with x(a, b) as (select email, city from shops join customers using (id)) select b as a, a as b from x;
create view united as select city as note from shops union all select lower(email) from customers;
create view rowed as select s.id, (select c from customers c where c.id = s.id) as note from shops s;
create view sorted_out as select s.id, s.city from shops s join customers c on c.id = s.id and c.email like 'Q%';
create domain lettered as text default mail_of(1);
create table defaulted (id int, note text default mail_of(1), other lettered);
create table bells (kind text, note text);
create function ring() returns trigger language plpgsql as $$
declare m text := (select email from customers where id = 1); c refcursor := 'rung';
begin
	case new.kind
	when 'notice' then raise notice '%', m;
	when 'raise' then raise exception '%', m;
	when 'notify' then perform pg_notify('bells', m);
	when 'keep' then insert into diary (line) values (m);
	when 'open' then open c for select upper(email) from customers;
	when 'set' then perform set_config('bells.mail', m, false);
	else new.note := m;
	end case;
	return new;
end $$;
create trigger ring before insert on bells for each row execute function ring();
create table knockers (id int);
create rule knock as on insert to knockers do instead select upper(email) as note from customers;
create view facade as select id, city from shops;
create function enter() returns trigger language plpgsql as $$ begin new.city := (select email from customers where id = 1); return new; end $$;
create trigger enter instead of update on facade for each row execute function enter();
create table checked (id int, check (mail_of(id) is null or fail() is null));
create table gated (id int);
insert into gated values (1);
create function gate() returns boolean language plpgsql as $$ begin raise notice '%', (select email from customers where id = 1); return true; end $$;
create policy gate on gated using (gate());
alter table gated enable row level security;
alter table gated force row level security;
create function json_scalar(int) returns text language sql as 'select email from customers where id = $1';
create function attribute_of(shops) returns text language sql as 'select email from customers where id = $1.id';
create type pair as (a int, b int);
create function first_of(pair) returns text language sql as 'select email from customers where id = $1.a';
create table pairs (p pair);
insert into pairs values ((1, 2));
create function document_of(pair) returns jsonb language sql as 'select to_jsonb(email) from customers where id = $1.a';
create cast (pair as jsonb) with function document_of(pair) as implicit;
create view sayings as select system_user as note from (select email as system_user from customers) s;
create rule also as on delete to knockers do also insert into diary (line) select email from customers;
create function one() returns int language plpgsql as $$ begin raise notice '%', (select email from customers where id = 1); return 1; end $$;
create table log_of (line text);
create function log_it() returns trigger language plpgsql as $$ begin insert into log_of values (old.mail); return new; end $$;
create view contacts_logged as select id, email as mail from customers;
create trigger log_it instead of update on contacts_logged for each row execute function log_it();
create sequence counter;
create view of_text as select query_to_xml('select email from customers', true, true, '')::text as note;
create table defaulted_by_text (id int, note text default query_to_xml('select email from customers', true, true, '')::text);
create view gated_again as select * from gated;
create view piped as select * from of_call;
create function shout() returns trigger language plpgsql as $$ begin raise notice '%', (select email from customers where id = 1); return coalesce(new, old); end $$;
create table areas (id int primary key);
insert into areas values (1);
create table branches (id int references areas on delete cascade);
insert into branches values (1);
create trigger shout after delete on branches for each row execute function shout();
create table rings (kind text) partition by list (kind);
create table rings_a partition of rings for values in ('a');
create trigger shout after insert on rings_a for each row execute function shout();
create table silent (id int);
create trigger shout before insert on silent for each row execute function shout();
alter table silent disable trigger shout;
create table loose (id int);
insert into loose values (1);
create policy gate on loose using (gate());
alter table loose force row level security;
create table emptied (id int);
create trigger shout before truncate on emptied execute function shout();
create schema side;
create table side.rung (id int);
create trigger shout before insert on side.rung for each row execute function shout();
create table late (id int);
create constraint trigger shout after insert on late deferrable initially deferred for each row execute function shout();
create function by_heart(int) returns int language plpgsql immutable as $$ begin raise notice '%', (select email from customers where id = 1); return $1; end $$;
create table indexed (id int);
create index on indexed (by_heart(id));
create table generated (id int, twice int generated always as (by_heart(id)) stored);
create table surveyed (id int, n int);
insert into surveyed select g, g from generate_series(1, 100) g;
set client_min_messages = error;
create statistics surveyed_by_heart on (by_heart(id)), n from surveyed;
create domain watched as int check (by_heart(value) > 0);
create type boxed as (w watched);
create table boxes (b boxed);
create view talk as select pid, query as said from pg_stat_activity;
create view talk_again as select said from talk;
create view spread as select attname, histogram_bounds::text as h, most_common_vals::text as m from pg_stats where tablename = 'customers';
create view watching as select id::watched::text as w from shops;
reset client_min_messages;
reset role;
create function told() returns event_trigger language plpgsql as $$ begin raise notice '%', (select email from customers where id = 1); end $$;
create event trigger told on ddl_command_start when tag in ('CREATE COLLATION') execute function told();
create type odd as (n int);
create function below(odd, odd) returns boolean language sql immutable as 'select $1.n < $2.n';
create function alike(odd, odd) returns boolean language sql immutable as 'select $1.n = $2.n';
create operator <~~ (leftarg = odd, rightarg = odd, function = below);
create operator =~~ (leftarg = odd, rightarg = odd, function = alike);
create function compared(odd, odd) returns int language plpgsql immutable as $$ begin raise notice '%', (select email from customers where id = 1); return $1.n - $2.n; end $$;
create operator class odd_ones default for type odd using btree as operator 1 <~~, operator 3 =~~, function 1 compared(odd, odd);
create table odds (o odd);
insert into odds values (row(1)), (row(2)), (row(3));
grant all on odds to agent;
create table odd_lists (l odd[]);
insert into odd_lists values (array[row(1)::odd]), (array[row(2)::odd]);
grant all on odd_lists to agent;
create event trigger told_late on sql_drop when tag in ('DROP SEQUENCE') execute function told();
analyze;
`
