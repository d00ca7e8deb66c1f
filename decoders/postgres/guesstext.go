package postgres

// guessParts are those of the catalogue query that find what tells, by failing,
// whether a value is in a protected column: what is kept apart from it by a
// unique key or an exclusion constraint (all of them have an index), and what a
// foreign key ties to it.
//
// Events are those of hookParts, 2 INSERT, 4 UPDATE, 8 DELETE. Of an index that
// keeps a protected column, the others are written by UPDATE so that the
// protected values of two rows meet; if it is partial or of an expression, by
// INSERT, too. A foreign key to a protected column tells at both of its ends
// whether there is a row at the other, and so does one of a protected column, at
// what it refers to. Column 0 is any, or none: rows go.
//
// Of a foreign table, and of a view that a rule names, is not known what keys
// stand behind it.
//
// The LIMIT is for the planner, which takes these for millions: with more rows the
// answer is too long, and the session ends (maxCatalogue).
//
// Guards lead on to what shows their tables: parents, views, rules, and what
// changes them by a foreign key that cascades.
const guessParts = `, candidate (relid, attnum, root, rootnum) AS (
  SELECT b.relid, b.attnum, b.root, b.rootnum FROM rooted b WHERE NOT b.derived AND NOT b.parent LIMIT 65537
), kept (id, relid, attnum, wide) AS (
  SELECT i.indexrelid, i.indrelid, k.attnum, i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
  FROM (SELECT DISTINCT c.relid FROM candidate c) c
  JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) c.relid AND (i.indisunique OR i.indisexclusion)
  CROSS JOIN LATERAL (
    SELECT u.attnum FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS u (attnum, place)
    WHERE u.place OPERATOR(pg_catalog.<=) i.indnkeyatts::pg_catalog.int8
    UNION
    SELECT d.refobjsubid::pg_catalog.int2 FROM pg_catalog.pg_depend d
    WHERE d.classid OPERATOR(pg_catalog.=) 1259 AND d.objid OPERATOR(pg_catalog.=) i.indexrelid
      AND d.refclassid OPERATOR(pg_catalog.=) 1259 AND d.refobjid OPERATOR(pg_catalog.=) i.indrelid
      AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
    UNION
    SELECT a.attnum FROM pg_catalog.pg_attribute a
    WHERE a.attrelid OPERATOR(pg_catalog.=) i.indrelid AND NOT a.attisdropped
      AND pg_catalog.concat(i.indexprs::pg_catalog.text, i.indpred::pg_catalog.text) OPERATOR(pg_catalog.~~) '%:varattno 0 %'
  ) k
  WHERE k.attnum OPERATOR(pg_catalog.>) 0
), tied (relid, attnum, events, root, rootnum) AS (
  SELECT k.conrelid, u.attnum, CASE WHEN u.other OPERATOR(pg_catalog.=) c.attnum THEN 6 ELSE 4 END, c.root, c.rootnum
  FROM candidate c
  JOIN pg_catalog.pg_constraint k ON k.contype OPERATOR(pg_catalog.=) 'f' AND k.confrelid OPERATOR(pg_catalog.=) c.relid
    AND c.attnum OPERATOR(pg_catalog.=) ANY (k.confkey)
  CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) AS u (attnum, other)
  UNION ALL
  SELECT k.confrelid, 0, 8, c.root, c.rootnum FROM candidate c
  JOIN pg_catalog.pg_constraint k ON k.contype OPERATOR(pg_catalog.=) 'f' AND k.confrelid OPERATOR(pg_catalog.=) c.relid
    AND c.attnum OPERATOR(pg_catalog.=) ANY (k.confkey)
  UNION ALL
  SELECT k.confrelid, u.attnum, u.events, c.root, c.rootnum FROM candidate c
  JOIN pg_catalog.pg_constraint k ON k.contype OPERATOR(pg_catalog.=) 'f' AND k.conrelid OPERATOR(pg_catalog.=) c.relid
    AND c.attnum OPERATOR(pg_catalog.=) ANY (k.conkey)
  CROSS JOIN LATERAL (SELECT t.attnum, 4 FROM pg_catalog.unnest(k.confkey) AS t (attnum) UNION ALL SELECT 0, 8) AS u (attnum, events)
), telling (relid, attnum, events, root, rootnum, tied) AS (
  SELECT o.relid, o.attnum::pg_catalog.int4, CASE WHEN o.wide OR o.attnum OPERATOR(pg_catalog.=) c.attnum THEN 6 ELSE 4 END, c.root, c.rootnum, false
  FROM candidate c
  JOIN kept k ON k.relid OPERATOR(pg_catalog.=) c.relid AND k.attnum OPERATOR(pg_catalog.=) c.attnum
  JOIN kept o ON o.id OPERATOR(pg_catalog.=) k.id
  UNION
  SELECT c.relid, c.attnum::pg_catalog.int4, 6, c.root, c.rootnum, false FROM candidate c
  JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) c.relid
  WHERE r.relkind OPERATOR(pg_catalog.=) 'f' OR r.relkind OPERATOR(pg_catalog.=) 'v' AND EXISTS (
    SELECT 1 FROM pg_catalog.pg_rewrite w
    JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 2618 AND d.objid OPERATOR(pg_catalog.=) w.oid AND d.refclassid OPERATOR(pg_catalog.=) 1259
    JOIN pg_catalog.pg_class b ON b.oid OPERATOR(pg_catalog.=) d.refobjid AND b.oid OPERATOR(pg_catalog.<>) c.relid
    WHERE w.ev_class OPERATOR(pg_catalog.=) c.relid AND (b.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['v','f']::pg_catalog."char"[])
      OR EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) b.oid AND (i.indisunique OR i.indisexclusion))
      OR EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conrelid OPERATOR(pg_catalog.=) b.oid AND k.contype OPERATOR(pg_catalog.=) 'f')))
  UNION
  SELECT t.relid, t.attnum::pg_catalog.int4, t.events, t.root, t.rootnum, true FROM tied t
  UNION
  SELECT s.relid, s.attnum, s.events, g.root, g.rootnum, g.tied FROM telling g, LATERAL (
    SELECT i.inhparent AS relid, 0 AS attnum, g.events AS events FROM pg_catalog.pg_inherits i
    WHERE i.inhrelid OPERATOR(pg_catalog.=) g.relid AND g.attnum OPERATOR(pg_catalog.=) 0
    UNION ALL
    SELECT i.inhparent, pa.attnum::pg_catalog.int4, g.events FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_attribute ca ON ca.attrelid OPERATOR(pg_catalog.=) g.relid AND ca.attnum OPERATOR(pg_catalog.=) g.attnum
    JOIN pg_catalog.pg_attribute pa ON pa.attrelid OPERATOR(pg_catalog.=) i.inhparent AND pa.attname OPERATOR(pg_catalog.=) ca.attname
    WHERE i.inhrelid OPERATOR(pg_catalog.=) g.relid AND g.attnum OPERATOR(pg_catalog.>) 0
    UNION ALL
    SELECT r.ev_class, va.attnum::pg_catalog.int4, g.events FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_rewrite r ON r.oid OPERATOR(pg_catalog.=) d.objid AND r.ev_type OPERATOR(pg_catalog.=) '1'
    JOIN pg_catalog.pg_class v ON v.oid OPERATOR(pg_catalog.=) r.ev_class AND v.relkind OPERATOR(pg_catalog.=) 'v'
    JOIN pg_catalog.pg_attribute va ON va.attrelid OPERATOR(pg_catalog.=) v.oid AND va.attnum OPERATOR(pg_catalog.>) 0
    WHERE d.classid OPERATOR(pg_catalog.=) 2618 AND d.refclassid OPERATOR(pg_catalog.=) 1259 AND d.refobjid OPERATOR(pg_catalog.=) g.relid
      AND d.refobjsubid OPERATOR(pg_catalog.=) g.attnum AND g.attnum OPERATOR(pg_catalog.>) 0 AND r.ev_class OPERATOR(pg_catalog.<>) g.relid
    UNION ALL
    SELECT r.ev_class, 0, CASE r.ev_type WHEN '1' THEN g.events WHEN '2' THEN 4 WHEN '3' THEN 2 ELSE 8 END FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_rewrite r ON r.oid OPERATOR(pg_catalog.=) d.objid
    JOIN pg_catalog.pg_class v ON v.oid OPERATOR(pg_catalog.=) r.ev_class AND v.relkind OPERATOR(pg_catalog.<>) 'm'
    WHERE d.classid OPERATOR(pg_catalog.=) 2618 AND d.refclassid OPERATOR(pg_catalog.=) 1259 AND d.refobjid OPERATOR(pg_catalog.=) g.relid
      AND (r.ev_type OPERATOR(pg_catalog.<>) '1' OR g.attnum OPERATOR(pg_catalog.=) 0) AND r.ev_class OPERATOR(pg_catalog.<>) g.relid
    UNION ALL
    SELECT k.confrelid, u.other::pg_catalog.int4, 4 FROM pg_catalog.pg_constraint k
    CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) AS u (attnum, other)
    WHERE k.conrelid OPERATOR(pg_catalog.=) g.relid AND k.contype OPERATOR(pg_catalog.=) 'f' AND k.confupdtype OPERATOR(pg_catalog.=) 'c'
      AND g.events OPERATOR(pg_catalog.&) 4 OPERATOR(pg_catalog.>) 0 AND u.attnum::pg_catalog.int4 OPERATOR(pg_catalog.=) g.attnum
    UNION ALL
    SELECT k.confrelid, 0, 8 FROM pg_catalog.pg_constraint k
    WHERE k.conrelid OPERATOR(pg_catalog.=) g.relid AND k.contype OPERATOR(pg_catalog.=) 'f' AND k.confdeltype OPERATOR(pg_catalog.=) 'c'
      AND g.events OPERATOR(pg_catalog.&) 8 OPERATOR(pg_catalog.>) 0
  ) s
)`

// guessRows are its rows about that.
const guessRows = `
UNION ALL
SELECT 'g', 0, g.events, n.nspname, c.relname, COALESCE(a.attname::pg_catalog.text, ''), rn.nspname, rc.relname, ra.attname, g.tied, 0, 0
FROM telling g
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) g.relid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) g.relid AND a.attnum OPERATOR(pg_catalog.=) g.attnum AND g.attnum OPERATOR(pg_catalog.>) 0
JOIN pg_catalog.pg_class rc ON rc.oid OPERATOR(pg_catalog.=) g.root
JOIN pg_catalog.pg_namespace rn ON rn.oid OPERATOR(pg_catalog.=) rc.relnamespace
JOIN pg_catalog.pg_attribute ra ON ra.attrelid OPERATOR(pg_catalog.=) g.root AND ra.attnum OPERATOR(pg_catalog.=) g.rootnum`
