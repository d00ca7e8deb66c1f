\echo == only in psql
SELECT orders.id, name, total FROM orders JOIN people ON customer = people.id \gdesc
\set FETCH_COUNT 7
SELECT * FROM orders ORDER BY id;
\unset FETCH_COUNT
\copy (SELECT id, b, t, by FROM every_type ORDER BY id) TO STDOUT
\copy (SELECT id, b, t, by FROM every_type ORDER BY id) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)
COPY people TO STDOUT (FORMAT binary);
CREATE TEMPORARY TABLE loaded (a int, b text);
COPY loaded FROM STDIN;
1	one
2	\N
3	tab\tbed
\.
COPY loaded FROM STDIN (FORMAT csv, HEADER);
a,b
4,"four, quoted"
5,
\.
COPY loaded FROM STDIN;
not a number	here
\.
COPY loaded TO STDOUT; COPY loaded TO STDOUT CSV;
COPY no_such_table TO STDOUT;
SELECT 1 AS before\; COPY loaded TO STDOUT\; SELECT 2 AS after;
SELECT * FROM loaded ORDER BY a \crosstabview
\d people
\df greet
\x on
SELECT * FROM people ORDER BY id;
\x off
DISCARD ALL;
\echo == a running query is cancelled
SELECT pg_advisory_lock(4711);
-- The other psql gets the lock when the query runs, and interrupts this one.
\! psql -Xq -c 'SELECT pg_advisory_lock(4711)' -c '\! kill -INT '$PPID >/dev/null 2>&1 </dev/null &
SELECT pg_advisory_unlock(4711), pg_sleep(60);
