-- What the statements of a conversation find. They leave it as it is.
SET ROLE agent;

CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, email text, secret text NOT NULL);
INSERT INTO people VALUES
	(1, 'Ada', 'ada@example.org', 'first'),
	(2, 'Björn', 'bjorn@example.org', 'second'),
	(3, 'Chi', NULL, 'third');

CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES people, total numeric(10,2));
INSERT INTO orders SELECT g, 1 + g % 3, g * 10.01 FROM generate_series(1, 30) g;

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (x int, y text);
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE every_type (
	id int, b bool, i2 smallint, i8 bigint, f4 real, f8 double precision, n numeric, m money,
	t text, v varchar(20), c char(5), nm name, by bytea, d date, tm time, tmz timetz, ts timestamp,
	tsz timestamptz, iv interval, u uuid, j json, jb jsonb, ia int[], ta text[][], ip inet, ci cidr,
	ma macaddr, bi bit(4), vb varbit, p point, bo box, ir int4range, mr int4multirange, x xml,
	tv tsvector, tq tsquery, mo mood, pa pair, pc percent, o oid, ch "char", re regclass
);
INSERT INTO every_type VALUES (
	1, true, -2, 9007199254740993, 1.5, 2.718281828459045, 123456789.000000001, 12.34,
	'text', 'varchar', 'char', 'name', '\x00ff10', '2024-02-29', '12:34:56.789', '12:34:56+02', '2024-02-29 12:34:56.789',
	'2024-02-29 12:34:56.789+02', '1 year 2 mons 3 days 04:05:06', '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
	'{"a": [1, 2]}', '{"b": null}', '{1,NULL,3}', '{{a,"b c"},{NULL,"\"q\""}}', '192.0.2.1/24', '2001:db8::/32',
	'08:00:2b:01:02:03', B'1010', B'101', '(1,2)', '((0,0),(1,1))', '[1,10)', '{[1,3),[5,8)}', '<a>b</a>',
	'a fat cat', 'fat & cat', 'happy', '(1,"two words")', 50, 26, 'z', 'pg_class');
INSERT INTO every_type (id, t, f8, ts, by) VALUES (2, '', 'NaN', 'infinity', ''), (3, NULL, '-Infinity', '-infinity', NULL);

CREATE FUNCTION greet(who text) RETURNS text LANGUAGE sql AS $$ SELECT 'hello ' || who $$;
CREATE PROCEDURE count_up(INOUT n int) LANGUAGE plpgsql AS $$ BEGIN n := n + 1; END $$;

-- pgbench's own tables; its account numbers go to 100,000 and few are there.
CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
INSERT INTO pgbench_branches VALUES (1, 0, NULL);
INSERT INTO pgbench_tellers SELECT g, 1, 0, NULL FROM generate_series(1, 10) g;
INSERT INTO pgbench_accounts SELECT g, 1, 0, NULL FROM generate_series(1, 1000) g;
