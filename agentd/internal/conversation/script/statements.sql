SELECT 1 AS one, 'two' AS two, NULL AS nothing
\g
SELECT * FROM every_type ORDER BY id
\g
SELECT id, name AS who, email FROM people ORDER BY id
\g
SELECT c.name, count(*), sum(o.total) FROM people c JOIN orders o ON o.customer = c.id GROUP BY c.name ORDER BY 1
\g
SELECT email || '!' AS derived, upper(name) FROM people WHERE email LIKE 'a%'
\g
SELECT * FROM people WHERE false
\g
SELECT
\g
SELECT 1\; SELECT 'second' AS two\; SELECT 3 WHERE false
\g
SELECT 1 AS before\; SELECT 1/0\; SELECT 2 AS never
\g
/* nothing to do */ ;
\g
SELEC 1
\g
SELECT 1/0
\g
SELECT no_such_column FROM people
\g
SELECT 'x' FROM "no such table"
\g
SELECT 'ünïcode: 你好, 🐘' AS "größe", E'tab\tline\nbreak' AS escapes, $$it's 'quoted'$$ AS dollars
\g
SELECT '@megabyte@' AS megabyte
\g
SELECT g AS n, md5(g::text) AS hash, g * 1.5 AS product FROM generate_series(1, 10000) g
\g
CREATE TEMPORARY TABLE scratch (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text UNIQUE, amount numeric(12,4))
\g
INSERT INTO scratch (note, amount) VALUES ('a', 1.5), ('b', -2.25), ('c', NULL) RETURNING *
\g
INSERT INTO scratch (note) VALUES ('a')
\g
UPDATE scratch SET amount = amount * 2 WHERE note <> 'a' RETURNING id, amount
\g
BEGIN
\g
INSERT INTO scratch (note) VALUES ('in a transaction')
\g
SAVEPOINT one
\g
DELETE FROM scratch
\g
SELECT count(*) FROM scratch
\g
ROLLBACK TO SAVEPOINT one
\g
SELECT count(*) FROM scratch
\g
SAVEPOINT two
\g
SELECT 1/0
\g
SELECT 'refused: the transaction is aborted'
\g
ROLLBACK TO two
\g
RELEASE SAVEPOINT one
\g
COMMIT
\g
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY
\g
INSERT INTO people VALUES (99, 'nobody', NULL, 'x')
\g
COMMIT
\g
COMMIT
\g
BEGIN
\g
DECLARE walk SCROLL CURSOR FOR SELECT id, name FROM people ORDER BY id
\g
FETCH 2 FROM walk
\g
FETCH BACKWARD 1 FROM walk
\g
MOVE LAST FROM walk
\g
FETCH NEXT FROM walk
\g
CLOSE walk
\g
FETCH NEXT FROM walk
\g
ROLLBACK
\g
PREPARE find (int) AS SELECT name, email FROM people WHERE id = $1
\g
EXECUTE find(2)
\g
EXECUTE find(404)
\g
EXECUTE find('not a number')
\g
DEALLOCATE find
\g
EXECUTE find(1)
\g
DO $$ BEGIN RAISE NOTICE 'a notice with a % in it', 42; RAISE WARNING 'a warning' USING HINT = 'do not worry', DETAIL = 'none'; END $$
\g
DO $$ BEGIN RAISE EXCEPTION 'own error' USING ERRCODE = 'AB123', HINT = 'a hint', DETAIL = 'a detail', TABLE = 't', COLUMN = 'c', CONSTRAINT = 'n'; END $$
\g
SET search_path TO pg_catalog
\g
SHOW search_path
\g
RESET search_path
\g
SET application_name TO 'conversation'
\g
SET standard_conforming_strings TO off
\g
SET standard_conforming_strings TO on
\g
EXPLAIN (COSTS OFF) SELECT * FROM people WHERE id = 1
\g
VALUES (1, 'x'::text), (2, NULL)
\g
TABLE scratch ORDER BY id
\g
WITH gone AS (DELETE FROM scratch WHERE note = 'a' RETURNING *) SELECT * FROM gone
\g
SELECT greet('world')
\g
CALL count_up(41)
\g
SELECT array_agg(id ORDER BY id), row(1, 'x', NULL), to_jsonb(c) FROM people c WHERE id = 1 GROUP BY c.*
\g
TRUNCATE scratch
\g
LISTEN news
\g
NOTIFY news, 'with a payload'
\g
BEGIN\; NOTIFY news\; COMMIT
\g
UNLISTEN *
\g
DROP TABLE scratch
\g
