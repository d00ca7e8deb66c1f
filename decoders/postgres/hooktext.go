package postgres

// hookParts are those of the catalogue query that find code from before: what
// runs, though no statement names it, when a relation is used, because a trigger,
// a rule, a default, a check, a policy, an index, a view, or the type of a column
// calls a function of which nothing is known (suspect: by operators and operator
// classes, too). They start at the functions and go up pg_depend, of which
// pg_class (1259), pg_type (1247), pg_attrdef (2604), pg_constraint (2606),
// pg_opclass (2616), pg_operator (2617), pg_rewrite (2618), pg_trigger (2620),
// pg_policy (3256) and pg_statistic_ext (3381) are of interest; the server's own
// functions that run statements (nosy) are not in it, and looked for in what is
// stored of an expression. Trigger functions in C that came with an extension
// are taken for harmless, but for one that sends values.
//
// Rules on writing that use relations with protected columns are of no function (0).
//
// An implicit cast is held against the type of the two that is not the server's
// own, without which there is none.
//
// Events are 1 for reading, 2 INSERT, 4 UPDATE, 8 DELETE, 16 TRUNCATE, 32 all that
// tends or defines. Code of a relation is code of the views and rules on it, of its
// parents, and of what a foreign key with an action of its own refers to.
const hookParts = `, wild (id) AS (
  SELECT u.id FROM unsafe u
  JOIN own o ON o.id OPERATOR(pg_catalog.=) u.id
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) u.id
  WHERE NOT (o.extension AND o.language OPERATOR(pg_catalog.=) 13 AND o.name OPERATOR(pg_catalog.<>) 'triggered_change_notification'
    AND p.prorettype OPERATOR(pg_catalog.=) ANY (ARRAY[2279, 3838]::pg_catalog.oid[]))
), native (id) AS (
  SELECT o.id FROM own o WHERE o.extension AND o.language OPERATOR(pg_catalog.=) 13
), families (id, func) AS (
  SELECT a.amprocfamily, a.amproc::pg_catalog.oid FROM pg_catalog.pg_amproc a
  JOIN wild w ON w.id OPERATOR(pg_catalog.=) a.amproc::pg_catalog.oid
  WHERE NOT EXISTS (SELECT 1 FROM native n WHERE n.id OPERATOR(pg_catalog.=) w.id)
  UNION
  SELECT a.amopfamily, w.id FROM pg_catalog.pg_amop a
  JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) a.amopopr
  JOIN wild w ON w.id OPERATOR(pg_catalog.=) o.oprcode::pg_catalog.oid
  WHERE NOT EXISTS (SELECT 1 FROM native n WHERE n.id OPERATOR(pg_catalog.=) w.id)
), odd (id, func, what, events) AS (
  SELECT g.id, g.func, 'a check', 6 FROM guarded g WHERE g.func OPERATOR(pg_catalog.>=) 16384
  UNION
  SELECT CASE WHEN k.castsource OPERATOR(pg_catalog.>=) 16384 OR k.casttarget OPERATOR(pg_catalog.<) 16384 THEN k.castsource ELSE k.casttarget END,
    w.id, 'a cast', 63 FROM wild w JOIN pg_catalog.pg_cast k ON k.castfunc OPERATOR(pg_catalog.=) w.id
  WHERE k.castcontext OPERATOR(pg_catalog.<>) 'e' AND NOT EXISTS (SELECT 1 FROM native n WHERE n.id OPERATOR(pg_catalog.=) w.id)
  UNION
  SELECT c.opcintype, f.func, 'the order', 63 FROM families f
  JOIN pg_catalog.pg_opclass c ON c.opcfamily OPERATOR(pg_catalog.=) f.id WHERE c.opcdefault
), suspect (classid, id, func) AS (
  SELECT 1255::pg_catalog.oid, w.id, w.id FROM wild w
  UNION ALL
  SELECT 2617, o.oid, w.id FROM pg_catalog.pg_operator o
  JOIN wild w ON w.id OPERATOR(pg_catalog.=) o.oprcode::pg_catalog.oid
  WHERE NOT EXISTS (SELECT 1 FROM native n WHERE n.id OPERATOR(pg_catalog.=) w.id)
  UNION ALL
  SELECT 2616, c.oid, f.func FROM pg_catalog.pg_opclass c JOIN families f ON f.id OPERATOR(pg_catalog.=) c.opcfamily
  UNION ALL
  SELECT 1247, o.id, o.func FROM odd o
), dependent (classid, id, func) AS (
  SELECT DISTINCT d.classid, d.objid, s.func FROM suspect s
  JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) s.classid AND d.refobjid OPERATOR(pg_catalog.=) s.id
  WHERE d.classid OPERATOR(pg_catalog.=) ANY (ARRAY[1247, 1259, 2604, 2606, 2618, 2620, 3256, 3381]::pg_catalog.oid[])
    AND (s.classid OPERATOR(pg_catalog.<>) 1247 OR d.classid OPERATOR(pg_catalog.<>) ALL (ARRAY[1247, 1259]::pg_catalog.oid[]))
), nosy (id) AS (
  SELECT p.oid FROM pg_catalog.pg_proc p
  WHERE p.oid OPERATOR(pg_catalog.<) 16384 AND p.proname OPERATOR(pg_catalog.=) ANY (ARRAY['ts_stat', 'ts_rewrite',
    'table_to_xml', 'table_to_xmlschema', 'table_to_xml_and_xmlschema', 'query_to_xml', 'query_to_xmlschema', 'query_to_xml_and_xmlschema',
    'cursor_to_xml', 'cursor_to_xmlschema', 'schema_to_xml', 'schema_to_xmlschema', 'schema_to_xml_and_xmlschema',
    'database_to_xml', 'database_to_xmlschema', 'database_to_xml_and_xmlschema', 'pg_read_file', 'pg_read_binary_file',
    'pg_logical_slot_get_changes', 'pg_logical_slot_get_binary_changes', 'pg_logical_slot_peek_changes', 'pg_logical_slot_peek_binary_changes']::pg_catalog.name[])
), marked (by) AS (
  SELECT pg_catalog.concat(':(funcid|relid) (', pg_catalog.string_agg(n.id::pg_catalog.text, '|'), ') ')
  FROM (SELECT id FROM nosy UNION ALL SELECT relid FROM statistics) n
), scanned (id, class, kind, part) AS (
  SELECT r.oid, r.ev_class, (m.found)[1], (m.found)[2]::pg_catalog.oid FROM pg_catalog.pg_rewrite r
  CROSS JOIN LATERAL pg_catalog.regexp_matches(pg_catalog.concat(r.ev_qual::pg_catalog.text, r.ev_action::pg_catalog.text), (SELECT by FROM marked), 'g') AS m (found)
  WHERE r.oid OPERATOR(pg_catalog.>=) 16384
), written (classid, id, text) AS (
  SELECT 2604::pg_catalog.oid, a.oid, a.adbin::pg_catalog.text FROM pg_catalog.pg_attrdef a
  UNION ALL
  SELECT 2606, k.oid, k.conbin::pg_catalog.text FROM pg_catalog.pg_constraint k WHERE k.contype OPERATOR(pg_catalog.=) 'c'
  UNION ALL
  SELECT 3256, p.oid, pg_catalog.concat(p.polqual::pg_catalog.text, p.polwithcheck::pg_catalog.text) FROM pg_catalog.pg_policy p
  UNION ALL
  SELECT 2620, t.oid, t.tgqual::pg_catalog.text FROM pg_catalog.pg_trigger t WHERE t.tgqual IS NOT NULL
  UNION ALL
  SELECT 1247, t.oid, t.typdefaultbin::pg_catalog.text FROM pg_catalog.pg_type t WHERE t.typdefaultbin IS NOT NULL
), runs (classid, id, func) AS (
  SELECT d.classid, d.id, d.func FROM dependent d
  UNION ALL
  SELECT x.classid, x.id, (m.found)[2]::pg_catalog.oid FROM written x
  CROSS JOIN LATERAL pg_catalog.regexp_matches(x.text, (SELECT by FROM marked), 'g') AS m (found)
  WHERE (m.found)[1] OPERATOR(pg_catalog.=) 'funcid'
  UNION ALL
  SELECT 2618, s.id, s.part FROM scanned s JOIN nosy n ON n.id OPERATOR(pg_catalog.=) s.part WHERE s.kind OPERATOR(pg_catalog.=) 'funcid'
), odder (id, func, what, events, root) AS (
  SELECT o.id, o.func, o.what, o.events, o.id FROM odd o
  UNION
  SELECT t.oid, r.func, CASE t.typtype WHEN 'd' THEN 'the default' ELSE 'the order' END, CASE t.typtype WHEN 'd' THEN 2 ELSE 63 END, t.oid
  FROM runs r JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) r.id
  WHERE r.classid OPERATOR(pg_catalog.=) 1247 AND t.typtype OPERATOR(pg_catalog.=) ANY (ARRAY['d','r']::pg_catalog."char"[])
  UNION
  SELECT s.id, o.func, o.what, o.events, o.root FROM odder o, LATERAL (
    SELECT t.oid AS id FROM pg_catalog.pg_type t
    WHERE t.oid OPERATOR(pg_catalog.>=) 16384
      AND (t.typbasetype OPERATOR(pg_catalog.=) o.id OR t.typelem OPERATOR(pg_catalog.=) o.id AND t.typlen OPERATOR(pg_catalog.=) -1)
    UNION ALL
    SELECT g.rngtypid FROM pg_catalog.pg_range g WHERE g.rngsubtype OPERATOR(pg_catalog.=) o.id
    UNION ALL
    SELECT t.oid FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.typrelid OPERATOR(pg_catalog.=) a.attrelid
    WHERE a.attrelid OPERATOR(pg_catalog.>=) 16384 AND a.atttypid OPERATOR(pg_catalog.=) o.id AND NOT a.attisdropped
  ) s
), seed (relid, events, latent, func, what) AS (
  SELECT t.tgrelid, ((t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 36) OPERATOR(pg_catalog.>>) 1) OPERATOR(pg_catalog.|) (t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 8)
      OPERATOR(pg_catalog.|) ((t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 16) OPERATOR(pg_catalog.>>) 2),
    t.tgenabled OPERATOR(pg_catalog.=) 'D', r.func, pg_catalog.concat('the trigger ', t.tgname)
  FROM runs r JOIN pg_catalog.pg_trigger t ON t.oid OPERATOR(pg_catalog.=) r.id WHERE r.classid OPERATOR(pg_catalog.=) 2620
  UNION ALL
  SELECT d.adrelid, CASE a.attgenerated WHEN '' THEN 6 ELSE 7 END, false, r.func, pg_catalog.concat('the default of ', a.attname)
  FROM runs r JOIN pg_catalog.pg_attrdef d ON d.oid OPERATOR(pg_catalog.=) r.id
  JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) d.adrelid AND a.attnum OPERATOR(pg_catalog.=) d.adnum
  WHERE r.classid OPERATOR(pg_catalog.=) 2604
  UNION ALL
  SELECT k.conrelid, 6, false, r.func, pg_catalog.concat('the constraint ', k.conname)
  FROM runs r JOIN pg_catalog.pg_constraint k ON k.oid OPERATOR(pg_catalog.=) r.id
  WHERE r.classid OPERATOR(pg_catalog.=) 2606 AND k.conrelid OPERATOR(pg_catalog.>) 0
  UNION ALL
  SELECT w.ev_class, CASE w.ev_type WHEN '2' THEN 4 WHEN '3' THEN 2 WHEN '4' THEN 8 ELSE 63 END,
    w.ev_enabled OPERATOR(pg_catalog.=) 'D', r.func, CASE w.ev_type WHEN '1' THEN 'the definition' ELSE pg_catalog.concat('the rule ', w.rulename) END
  FROM runs r JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) r.id WHERE r.classid OPERATOR(pg_catalog.=) 2618
  UNION ALL
  SELECT p.polrelid, CASE p.polcmd WHEN 'a' THEN 6 WHEN 'd' THEN 8 ELSE 31 END, NOT c.relrowsecurity, r.func, pg_catalog.concat('the policy ', p.polname)
  FROM runs r JOIN pg_catalog.pg_policy p ON p.oid OPERATOR(pg_catalog.=) r.id
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.polrelid WHERE r.classid OPERATOR(pg_catalog.=) 3256
  UNION ALL
  SELECT s.stxrelid, 32, false, r.func, pg_catalog.concat('the statistics ', s.stxname)
  FROM runs r JOIN pg_catalog.pg_statistic_ext s ON s.oid OPERATOR(pg_catalog.=) r.id WHERE r.classid OPERATOR(pg_catalog.=) 3381
  UNION ALL
  SELECT COALESCE(i.indrelid, c.oid), CASE WHEN i.indrelid IS NULL THEN 7 ELSE 38 END, false, r.func,
    CASE WHEN i.indrelid IS NULL THEN 'the definition' ELSE pg_catalog.concat('the index ', c.relname) END
  FROM runs r JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.id
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid OPERATOR(pg_catalog.=) c.oid WHERE r.classid OPERATOR(pg_catalog.=) 1259
  UNION ALL
  SELECT t.typrelid, o.events, false, o.func, pg_catalog.concat(o.what, ' of the type ', y.typname)
  FROM odder o JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) o.id
  JOIN pg_catalog.pg_type y ON y.oid OPERATOR(pg_catalog.=) o.root WHERE t.typrelid OPERATOR(pg_catalog.>) 0
  UNION ALL
  SELECT w.ev_class, CASE w.ev_type WHEN '2' THEN 4 WHEN '3' THEN 2 ELSE 8 END, w.ev_enabled OPERATOR(pg_catalog.=) 'D', 0, pg_catalog.concat('the rule ', w.rulename)
  FROM (SELECT DISTINCT relid FROM protected) p
  JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) 1259 AND d.refobjid OPERATOR(pg_catalog.=) p.relid AND d.classid OPERATOR(pg_catalog.=) 2618
  JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) d.objid AND w.ev_type OPERATOR(pg_catalog.<>) '1'
), code (relid, events, latent, func, what, root) AS (
  SELECT s.relid, s.events, s.latent, s.func, s.what, s.relid FROM seed s
  UNION
  SELECT s.relid, s.events, c.latent, c.func, c.what, c.root FROM code c, LATERAL (
    SELECT r.ev_class AS relid, CASE r.ev_type WHEN '1' THEN c.events WHEN '2' THEN 4 WHEN '3' THEN 2 ELSE 8 END AS events
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_rewrite r ON r.oid OPERATOR(pg_catalog.=) d.objid
    WHERE d.classid OPERATOR(pg_catalog.=) 2618 AND d.refclassid OPERATOR(pg_catalog.=) 1259 AND d.refobjid OPERATOR(pg_catalog.=) c.relid
      AND r.ev_class OPERATOR(pg_catalog.<>) c.relid
    UNION ALL
    SELECT i.inhparent, c.events FROM pg_catalog.pg_inherits i WHERE i.inhrelid OPERATOR(pg_catalog.=) c.relid
    UNION ALL
    SELECT k.confrelid, CASE WHEN c.events OPERATOR(pg_catalog.&) 16 OPERATOR(pg_catalog.>) 0 THEN 16 ELSE 0 END
      OPERATOR(pg_catalog.|) CASE WHEN k.confupdtype OPERATOR(pg_catalog.=) ANY (ARRAY['c','n','d']::pg_catalog."char"[])
        AND c.events OPERATOR(pg_catalog.&) 4 OPERATOR(pg_catalog.>) 0 THEN 4 ELSE 0 END
      OPERATOR(pg_catalog.|) CASE WHEN k.confdeltype OPERATOR(pg_catalog.=) 'c' AND c.events OPERATOR(pg_catalog.&) 8 OPERATOR(pg_catalog.>) 0
        OR k.confdeltype OPERATOR(pg_catalog.=) ANY (ARRAY['n','d']::pg_catalog."char"[]) AND c.events OPERATOR(pg_catalog.&) 4 OPERATOR(pg_catalog.>) 0 THEN 8 ELSE 0 END
    FROM pg_catalog.pg_constraint k WHERE k.conrelid OPERATOR(pg_catalog.=) c.relid AND k.contype OPERATOR(pg_catalog.=) 'f'
  ) s WHERE s.events OPERATOR(pg_catalog.>) 0
)`

// hookRows are its rows about that: relations ('x'), event triggers ('e') and
// types ('t').
const hookRows = `
UNION ALL
SELECT 'x', 0, c.events, n.nspname, r.relname, COALESCE(f.proname, ''), COALESCE(fn.nspname, ''), pg_catalog.concat(c.what, ' of ', tn.nspname, '.', t.relname,
  CASE WHEN c.root OPERATOR(pg_catalog.<>) c.relid THEN pg_catalog.concat(', which ', n.nspname, '.', r.relname, ' leads to,') END), '', c.latent, 0, 0
FROM code c
JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) c.relid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
JOIN pg_catalog.pg_class t ON t.oid OPERATOR(pg_catalog.=) c.root
JOIN pg_catalog.pg_namespace tn ON tn.oid OPERATOR(pg_catalog.=) t.relnamespace
LEFT JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) c.func
LEFT JOIN pg_catalog.pg_namespace fn ON fn.oid OPERATOR(pg_catalog.=) f.pronamespace
WHERE r.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','p','v','m','f']::pg_catalog."char"[])
UNION ALL
SELECT 'e', 0, 0, '', COALESCE(pg_catalog.array_to_string(e.evttags, ','), ''), f.proname, fn.nspname, pg_catalog.concat('the event trigger ', e.evtname), '', e.evtenabled OPERATOR(pg_catalog.=) 'D', 0, 0
FROM pg_catalog.pg_event_trigger e
JOIN wild w ON w.id OPERATOR(pg_catalog.=) e.evtfoid
JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) e.evtfoid
JOIN pg_catalog.pg_namespace fn ON fn.oid OPERATOR(pg_catalog.=) f.pronamespace
UNION ALL
SELECT DISTINCT 't', 0, 0, n.nspname, '', t.typname, '', '', '', false, 0, 0
FROM odder o
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) o.id
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
WHERE o.events OPERATOR(pg_catalog.<>) 2`
