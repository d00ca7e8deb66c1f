package postgres

import (
	"strings"

	"agentd.dev/decoders"
)

// catalogueQuery asks for all that known keeps. Every name and operator is
// qualified, so that no search_path changes what it asks.
func catalogueQuery(columns []decoders.ColumnName) string {
	var any []string
	for _, c := range columns {
		var all []string
		for _, part := range [][2]string{{"n.nspname", c.Schema}, {"c.relname", c.Table}, {"a.attname", c.Column}} {
			if part[1] != "*" {
				all = append(all, part[0]+" OPERATOR(pg_catalog.=) "+literal(part[1]))
			}
		}
		if len(all) == 0 {
			all = []string{"true"}
		}
		any = append(any, strings.Join(all, " AND "))
	}
	return strings.Replace(catalogueText, "$columns", strings.Join(any, " OR "), 1)
}

// literal quotes s so that it reads alike whatever standard_conforming_strings
// says.
func literal(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", "''")
	return "E'" + s + "'"
}

// catalogueText walks from the columns that rules name to the same columns of
// child tables and of parents, which show what their children hold, though not
// on to a parent's other children (pg_inherits: rooted). From their tables it
// goes on, table by table, to views that depend on them (shown: pg_depend through
// pg_rewrite, which keeps nothing of a whole row if a column is named beside it),
// of which every column counts, and to where the server keeps the long values of
// all of them (pg_toast). The planner's statistics show values of any column, and
// so may views of them, which pg_depend does not keep (scanned looks for them in
// what is stored of the view). Objects from 16384 up are not the server's own, and
// those that belong to an extension ('e') came with it.
//
// OIDs of system catalogues and of their schema are fixed: pg_catalog 11, pg_type
// 1247, pg_proc 1255, pg_class 1259, pg_cast 2605, pg_constraint 2606, pg_operator
// 2617, pg_rewrite 2618, pg_extension 3079; the language C is 13.
const catalogueText = `/* agentd: where the protected columns are, and what is not the server's own */
WITH RECURSIVE rooted (relid, attnum, root, rootnum, derived, parent) AS (
  SELECT a.attrelid, a.attnum, a.attrelid, a.attnum, false, false
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
    AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','p','v','m','f']::pg_catalog."char"[])
    AND n.nspname OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog','information_schema','pg_toast']::pg_catalog.name[])
    AND ($columns)
  UNION
  SELECT va.attrelid, va.attnum, s.part, 1::pg_catalog.int2, true, false
  FROM scanned s
  JOIN statistics t ON t.relid OPERATOR(pg_catalog.=) s.part
  JOIN pg_catalog.pg_attribute va ON va.attrelid OPERATOR(pg_catalog.=) s.class
  WHERE s.kind OPERATOR(pg_catalog.=) 'relid' AND va.attnum OPERATOR(pg_catalog.>) 0 AND NOT va.attisdropped
  UNION
  SELECT s.relid, s.attnum, p.root, p.rootnum, p.derived, s.parent
  FROM rooted p, LATERAL (
    SELECT i.inhrelid AS relid, ca.attnum AS attnum, false AS parent
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_attribute pa ON pa.attrelid OPERATOR(pg_catalog.=) p.relid AND pa.attnum OPERATOR(pg_catalog.=) p.attnum
    JOIN pg_catalog.pg_attribute ca ON ca.attrelid OPERATOR(pg_catalog.=) i.inhrelid AND ca.attname OPERATOR(pg_catalog.=) pa.attname
    JOIN pg_catalog.pg_class cc ON cc.oid OPERATOR(pg_catalog.=) i.inhrelid
    WHERE i.inhparent OPERATOR(pg_catalog.=) p.relid AND NOT ca.attisdropped AND NOT p.parent
      AND cc.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','p','f']::pg_catalog."char"[])
    UNION ALL
    SELECT i.inhparent, pa.attnum, true
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_attribute ca ON ca.attrelid OPERATOR(pg_catalog.=) p.relid AND ca.attnum OPERATOR(pg_catalog.=) p.attnum
    JOIN pg_catalog.pg_attribute pa ON pa.attrelid OPERATOR(pg_catalog.=) i.inhparent AND pa.attname OPERATOR(pg_catalog.=) ca.attname
    JOIN pg_catalog.pg_class pc ON pc.oid OPERATOR(pg_catalog.=) i.inhparent
    WHERE i.inhrelid OPERATOR(pg_catalog.=) p.relid AND pa.attnum OPERATOR(pg_catalog.>) 0 AND NOT pa.attisdropped
      AND pc.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','p','f']::pg_catalog."char"[])
  ) s
), shown (relid, base) AS (
  SELECT b.relid, b.relid FROM rooted b
  UNION
  SELECT s.relid, r.base FROM shown r, LATERAL (
    SELECT w.ev_class AS relid
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) d.objid
    WHERE d.classid OPERATOR(pg_catalog.=) 2618 AND d.refclassid OPERATOR(pg_catalog.=) 1259
      AND d.refobjid OPERATOR(pg_catalog.=) r.relid
      AND w.ev_type OPERATOR(pg_catalog.=) '1' AND w.ev_class OPERATOR(pg_catalog.<>) r.relid
    UNION ALL
    SELECT c.reltoastrelid FROM pg_catalog.pg_class c
    WHERE c.oid OPERATOR(pg_catalog.=) r.relid AND c.reltoastrelid OPERATOR(pg_catalog.>) 0
  ) s
), protected (relid, attnum, root, rootnum, derived, parent) AS (
  SELECT b.relid, b.attnum, b.root, b.rootnum, b.derived, b.parent FROM rooted b
  UNION
  SELECT a.attrelid, a.attnum, b.root, b.rootnum, true, false
  FROM shown s
  JOIN rooted b ON b.relid OPERATOR(pg_catalog.=) s.base
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) s.relid
  JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) s.relid
  WHERE s.relid OPERATOR(pg_catalog.<>) s.base AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
    AND (c.relkind OPERATOR(pg_catalog.<>) 't' OR a.attname OPERATOR(pg_catalog.=) 'chunk_data')
), statistics (relid) AS (
  SELECT c.oid FROM pg_catalog.pg_class c
  WHERE c.relnamespace OPERATOR(pg_catalog.=) 11 AND c.relname OPERATOR(pg_catalog.=) ANY (ARRAY[
    'pg_statistic', 'pg_statistic_ext_data', 'pg_stats', 'pg_stats_ext', 'pg_stats_ext_exprs', 'pg_stat_activity']::pg_catalog.name[])
    OR c.relname OPERATOR(pg_catalog.=) 'pg_stat_statements'
), own (id, schema, name, volatility, language, extension) AS (
  SELECT p.oid, n.nspname, p.proname, p.provolatile, p.prolang, EXISTS (
    SELECT 1 FROM pg_catalog.pg_depend d
    WHERE d.classid OPERATOR(pg_catalog.=) 1255 AND d.objid OPERATOR(pg_catalog.=) p.oid
      AND d.refclassid OPERATOR(pg_catalog.=) 3079 AND d.deptype OPERATOR(pg_catalog.=) 'e')
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
  WHERE p.oid OPERATOR(pg_catalog.>=) 16384
), unsafe (id) AS (
  SELECT o.id FROM own o WHERE NOT (o.extension AND o.volatility OPERATOR(pg_catalog.=) 'i')
), named (schema, name, safe) AS (
  SELECT o.schema, o.name, pg_catalog.bool_and(o.extension AND o.volatility OPERATOR(pg_catalog.=) 'i')
  FROM own o GROUP BY o.schema, o.name
), guarded (id, base, func) AS (
  SELECT t.oid, t.typbasetype, p.oid FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_constraint k ON k.contypid OPERATOR(pg_catalog.=) t.oid
  CROSS JOIN LATERAL pg_catalog.regexp_matches(k.conbin::pg_catalog.text, ':(?:op)?funcid ([0-9]+)', 'g') AS m (found)
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) (m.found)[1]::pg_catalog.oid
  WHERE k.contypid OPERATOR(pg_catalog.>) 0
    AND (p.provolatile OPERATOR(pg_catalog.=) 'v' OR EXISTS (SELECT 1 FROM unsafe u WHERE u.id OPERATOR(pg_catalog.=) p.oid))
)` + hookParts + guessParts + `
SELECT 'c', p.relid, p.attnum, n.nspname, c.relname, a.attname::pg_catalog.text, rn.nspname, rc.relname, ra.attname, p.derived, a.atttypid, ra.atttypid
FROM (SELECT DISTINCT relid, attnum, root, rootnum, derived FROM protected) p
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.relid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) p.relid AND a.attnum OPERATOR(pg_catalog.=) p.attnum
JOIN pg_catalog.pg_class rc ON rc.oid OPERATOR(pg_catalog.=) p.root
JOIN pg_catalog.pg_namespace rn ON rn.oid OPERATOR(pg_catalog.=) rc.relnamespace
JOIN pg_catalog.pg_attribute ra ON ra.attrelid OPERATOR(pg_catalog.=) p.root AND ra.attnum OPERATOR(pg_catalog.=) p.rootnum
UNION ALL
SELECT 's', a.attrelid, a.attnum, n.nspname, c.relname, a.attname, '', '', '', true, a.atttypid, 0
FROM statistics s
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) s.relid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) s.relid
WHERE a.attname OPERATOR(pg_catalog.=) ANY (ARRAY[
  'stavalues1', 'stavalues2', 'stavalues3', 'stavalues4', 'stavalues5', 'stanumbers1', 'stanumbers2', 'stanumbers3', 'stanumbers4', 'stanumbers5',
  'stanullfrac', 'stawidth', 'stadistinct', 'stxdmcv', 'stxdexpr', 'stxdndistinct', 'stxddependencies', 'null_frac', 'avg_width', 'n_distinct',
  'dependencies', 'correlation', 'most_common_vals', 'most_common_freqs', 'most_common_val_nulls', 'most_common_base_freqs', 'histogram_bounds',
  'most_common_elems', 'most_common_elem_freqs', 'elem_count_histogram', 'range_length_histogram', 'range_empty_frac', 'range_bounds_histogram',
  'query']::pg_catalog.name[])
UNION ALL
SELECT 'r', c.oid, 0, n.nspname, c.relname, (
    SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attnum,
      CASE WHEN a.attgenerated OPERATOR(pg_catalog.<>) '' THEN 0 WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typbasetype ELSE a.atttypid END,
      pg_catalog.octet_length(a.attname::pg_catalog.text), a.attname), '' ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
    WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND NOT a.attisdropped
  ), '', '', '', false, 0, 0
FROM (SELECT relid FROM protected UNION SELECT relid FROM statistics) p
CROSS JOIN LATERAL (SELECT oid, relname, relnamespace FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) p.relid LIMIT 1) c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
UNION ALL
SELECT 'v', c.oid, 0, n.nspname, c.relname, CASE WHEN pg_catalog.octet_length(d.text) OPERATOR(pg_catalog.<) 65536 THEN d.text ELSE '' END, '', '', '', false, 0, 0
FROM (SELECT DISTINCT relid FROM protected WHERE derived) p
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.relid AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['v','m']::pg_catalog."char"[])
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
CROSS JOIN LATERAL pg_catalog.pg_get_viewdef(c.oid) AS d (text)
UNION ALL
SELECT 'f', 0, 0, f.schema, '', f.name, '', '', '', f.safe, 0, 0
FROM named f
WHERE f.safe
  OR EXISTS (SELECT 1 FROM named g WHERE g.safe AND g.name OPERATOR(pg_catalog.=) f.name)
  OR EXISTS (SELECT 1 FROM pg_catalog.pg_proc p WHERE p.proname OPERATOR(pg_catalog.=) f.name AND p.oid OPERATOR(pg_catalog.<) 16384)
UNION ALL
SELECT DISTINCT 'w', 0, 0, '', '', own.name, '', '', '', false, 0, 0
FROM own
JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) own.id
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.proargtypes[0]
WHERE p.pronargs OPERATOR(pg_catalog.-) p.pronargdefaults OPERATOR(pg_catalog.<=) 1
  AND (t.typtype OPERATOR(pg_catalog.=) 'c' OR t.typname OPERATOR(pg_catalog.=) ANY (ARRAY[
    'record', 'any', 'anyelement', 'anynonarray', 'anycompatible', 'anycompatiblenonarray']::pg_catalog.name[]))
UNION ALL
SELECT 'o', 0, 0, n.nspname, '', o.oprname, '', '', '', pg_catalog.bool_and(p.provolatile OPERATOR(pg_catalog.<>) 'v'
  AND (p.oid OPERATOR(pg_catalog.<) 16384 OR own.extension AND (own.volatility OPERATOR(pg_catalog.=) 'i' OR own.language OPERATOR(pg_catalog.=) 13))), 0, 0
FROM pg_catalog.pg_operator o
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace
JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) o.oprcode
LEFT JOIN own ON own.id OPERATOR(pg_catalog.=) p.oid
WHERE o.oid OPERATOR(pg_catalog.>=) 16384
GROUP BY n.nspname, o.oprname
UNION ALL
SELECT 't', 0, 0, n.nspname, '', t.typname, '', '', '', false, 0, 0
FROM (
  SELECT g.id FROM guarded g
  UNION
  SELECT t.oid FROM pg_catalog.pg_type t JOIN guarded g ON g.id OPERATOR(pg_catalog.=) t.typbasetype
  UNION
  SELECT d.objid FROM unsafe u JOIN pg_catalog.pg_depend d
    ON d.refclassid OPERATOR(pg_catalog.=) 1255 AND d.refobjid OPERATOR(pg_catalog.=) u.id AND d.classid OPERATOR(pg_catalog.=) 1247
  JOIN own ON own.id OPERATOR(pg_catalog.=) u.id WHERE NOT own.extension
  UNION
  SELECT k.casttarget FROM unsafe u JOIN pg_catalog.pg_cast k ON k.castfunc OPERATOR(pg_catalog.=) u.id
) AS s
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) s.id
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace` + hookRows + guessRows
