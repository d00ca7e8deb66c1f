package postgres

import (
	"crypto/sha256"
	"fmt"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

const (
	maxScopeRow  = 1 << 10  // four names and a letter
	maxScopeRows = 64 << 10 // relations, and what is below them
)

// askScope drops n bytes and asks the server what names mean.
func (d *decoder) askScope(n int) decoders.Step {
	s := &d.scoping
	d.catalogue.half = false
	s.next = &sql.Scope{Relations: map[string]string{}, Shadows: map[string]bool{}}
	s.hash = sha256.New()
	return d.pose(&s.question, "what names mean", scopeText, n)
}

// learnScope handles the answer, and lets the client go on.
func (d *decoder) learnScope(m message) (turn, error) {
	s := &d.scoping
	t, done, err := d.hear(&s.question, m, maxScopeRow, s.add)
	if !done || err != nil {
		return t, err
	}
	d.phase = running
	s.stale = false
	s.unsettled = s.unsettled && m.buf[headerLen] != 'I'
	if sum := [sha256.Size]byte(s.hash.Sum(nil)); s.now == nil || sum != s.sum {
		s.now, s.sum, s.resolved = s.next, sum, nil
	}
	s.next, s.hash = nil, nil
	d.tellAnswer(&s.question)
	if d.recall.since != 0 {
		d.phase = recalling
		return d.half(tell), nil
	}
	return d.settled(m), nil
}

// add keeps one row of the answer: what it is about, and up to four names.
func (s *scoping) add(body []byte) error {
	s.hash.Write(body)
	var v [5]string
	if err := values(v[:], body); err != nil {
		return err
	}
	if s.rows > maxScopeRows {
		s.next.Unclear = fmt.Sprintf("the database has more than %d relations to tell apart", maxScopeRows)
		return nil
	}
	next := s.next
	switch v[0] {
	case "path":
		next.Path = append(next.Path, v[1])
	case "current":
		next.Current = v[1]
	case "relation":
		next.Relations[v[2]] = v[1]
	case "child", "rule":
		next.Reach(sql.Qualified{Schema: v[1], Name: v[2]}, sql.Qualified{Schema: v[3], Name: v[4]}, v[0] == "child")
	case "function":
		next.Shadows[v[1]] = true
	default:
		return fmt.Errorf("a row about %q", v[0])
	}
	return nil
}

// scopeText asks for the search path as it is in force, where the names of
// relations are found in it first, the children of relations, what views and
// rules are made of, and which names of built-in functions other schemas have. Every name and operator
// is qualified, so that no search_path changes what it asks. Relations with an
// OID below 16384 are the server's own; classes 1259 and 2618 are pg_class and
// pg_rewrite.
const scopeText = `/* agentd: what names mean */
WITH path (n, oid, name) AS (
  SELECT p.n, s.oid, CASE WHEN s.oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() THEN 'pg_temp' ELSE s.nspname END
  FROM pg_catalog.unnest(pg_catalog.current_schemas(true)) WITH ORDINALITY AS p (name, n)
  JOIN pg_catalog.pg_namespace s ON s.nspname OPERATOR(pg_catalog.=) p.name
), relation (name, schema) AS (
  SELECT DISTINCT ON (c.relname) c.relname, p.name
  FROM path p JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) p.oid
  WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','v']::pg_catalog."char"[])
    OR c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND c.relkind OPERATOR(pg_catalog.<>) ALL (ARRAY['i','I','t']::pg_catalog."char"[])
  ORDER BY c.relname, p.n
), edge (what, up, low) AS (
  SELECT 'child', i.inhparent, i.inhrelid FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.inhparent
  WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','p','f']::pg_catalog."char"[])
  UNION SELECT 'rule', r.ev_class, d.refobjid
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_rewrite r ON r.oid OPERATOR(pg_catalog.=) d.objid
  WHERE d.classid OPERATOR(pg_catalog.=) 2618::pg_catalog.oid AND d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
    AND r.ev_class OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND d.refobjid OPERATOR(pg_catalog.<>) r.ev_class
), answer (what, a, b, c, d, n) AS (
  SELECT 'path', name::pg_catalog.text, '', '', '', n FROM path
  UNION ALL SELECT 'current', pg_catalog.current_schema()::pg_catalog.text, '', '', '', 0 WHERE pg_catalog.current_schema() IS NOT NULL
  UNION ALL SELECT 'relation', schema::pg_catalog.text, name::pg_catalog.text, '', '', 0 FROM relation
  UNION ALL SELECT e.what, CASE WHEN u.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() THEN 'pg_temp' ELSE un.nspname::pg_catalog.text END, u.relname::pg_catalog.text,
      CASE WHEN l.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() THEN 'pg_temp' ELSE ln.nspname::pg_catalog.text END, l.relname::pg_catalog.text, 0
    FROM edge e
    JOIN pg_catalog.pg_class u ON u.oid OPERATOR(pg_catalog.=) e.up
    JOIN pg_catalog.pg_namespace un ON un.oid OPERATOR(pg_catalog.=) u.relnamespace
    JOIN pg_catalog.pg_class l ON l.oid OPERATOR(pg_catalog.=) e.low
    JOIN pg_catalog.pg_namespace ln ON ln.oid OPERATOR(pg_catalog.=) l.relnamespace
  UNION ALL SELECT 'function', p.proname::pg_catalog.text, '', '', '', 0 FROM pg_catalog.pg_proc p
    WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND p.pronamespace OPERATOR(pg_catalog.<>) 11::pg_catalog.oid
    AND EXISTS (SELECT FROM pg_catalog.pg_proc b WHERE b.pronamespace OPERATOR(pg_catalog.=) 11::pg_catalog.oid AND b.proname OPERATOR(pg_catalog.=) p.proname)
)
SELECT what, a, b, c, d FROM answer ORDER BY what, n, a, b, c, d`
