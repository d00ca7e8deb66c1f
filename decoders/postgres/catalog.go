package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

const (
	maxCatalogueRow = 16 << 10
	maxProtected    = 64 << 10 // columns
	maxTries        = 3        // of a catalogue query that a late cancel hits
)

// A catalogue says which columns of a database are protected, views and
// children of tables included.
type catalogue struct {
	columns map[uint64][]decoders.Column // by relation and number, 0 for the whole row
	watch   []decoders.ColumnName
	wanted  []decoders.Column // what a computed value may be made from

	stale bool // tables may have changed: it must be asked again
	half  bool // the first byte of the ReadyForQuery was dropped: the query goes out with the rest
	seq   uint64
	rows  int64
	tries int
	again bool // the query was cancelled
}

// at returns what is protected at a column.
func (c *catalogue) at(relation uint32, number uint16) []decoders.Column {
	return c.columns[uint64(relation)<<16|uint64(number)]
}

// loggedIn handles the first ReadyForQuery. If columns are protected, it waits
// until it is known which those are in this database.
func (d *decoder) loggedIn(m message, status byte) (turn, error) {
	if !d.masking() && !d.scoping.wanted {
		d.phase = running
		return walk, nil
	}
	if status != 'I' {
		return walk, fmt.Errorf("transaction status %q after login", status)
	}
	if !m.first {
		return flush, nil
	}
	d.phase = learning
	if !d.masking() {
		d.phase = scopingNames
	}
	d.server.step = d.askOwn(m.size)
	return alone, nil
}

// half drops the first byte of a ReadyForQuery of which the end is still to be
// replaced by the catalogue query: two events need two steps.
func (d *decoder) half(t turn) turn {
	d.catalogue.half = true
	d.server.step = decoders.Step{Op: decoders.Drop, N: 1}
	if t == tell {
		d.server.step.Event = &d.server.event
	}
	return alone
}

// askCatalogue drops n bytes and asks the server where the protected columns
// are.
func (d *decoder) askCatalogue(n int) decoders.Step {
	text := catalogueQuery(d.want.Columns)
	d.server.out = append(append(begin(d.server.out[:0], query), text...), 0)
	d.server.out = finish(d.server.out, 0)
	d.seq++
	d.catalogue = catalogue{
		columns: map[uint64][]decoders.Column{}, seq: d.seq, tries: d.catalogue.tries + 1,
		watch: append([]decoders.ColumnName(nil), d.want.Columns...),
	}
	for _, c := range d.want.Columns {
		d.catalogue.wanted = append(d.catalogue.wanted, decoders.Column{Schema: c.Schema, Table: c.Table, Name: c.Column, Derived: true})
	}
	d.server.event = decoders.Event{Kind: decoders.Own, Seq: d.seq, Text: []byte(text), Record: []byte(text)}
	return decoders.Step{Op: decoders.Drop, N: n, Back: d.server.out, Event: &d.server.event}
}

// learn handles the answer to the catalogue query.
func (d *decoder) learn(m message) (turn, error) {
	switch m.typ {
	case 'T', 'C':
	case 'D':
		if m.size > maxCatalogueRow {
			return walk, fmt.Errorf("catalogue row of %d bytes", m.size)
		}
		if !m.whole() {
			return d.need(m.size), nil
		}
		if !m.first {
			return flush, nil
		}
		if err := d.catalogue.add(m.body()); err != nil {
			return walk, fmt.Errorf("catalogue: %w", err)
		}
	case 'E':
		if len(m.buf) < min(m.size, maxError) {
			return d.need(min(m.size, maxError)), nil
		}
		f := parseFailure(m.body())
		if string(f.code) != "57014" || d.catalogue.tries >= maxTries {
			return walk, fmt.Errorf("the server did not say where the protected columns are: %s (%s)", f.message, f.code)
		}
		d.catalogue.again = true
	case 'Z':
		return d.learnt(m)
	default:
		return walk, fmt.Errorf("%w: message %q for the catalogue", errStep, m.typ)
	}
	if !m.first {
		return flush, nil
	}
	d.server.step = decoders.Step{Op: decoders.Drop, N: m.size}
	return alone, nil
}

// learnt lets the client go on: the ReadyForQuery of the catalogue query
// stands for the one that was withheld.
func (d *decoder) learnt(m message) (turn, error) {
	if m.size != headerLen+1 {
		return walk, fmt.Errorf("ReadyForQuery of %d bytes", m.size)
	}
	if !m.whole() {
		return d.need(m.size), nil
	}
	if !m.first {
		return flush, nil
	}
	if d.catalogue.again {
		if m.buf[headerLen] != 'I' {
			return walk, errors.New("the question where the protected columns are was cancelled within a transaction")
		}
		d.server.step = d.askCatalogue(m.size)
		return alone, nil
	}
	d.phase = running
	d.catalogue.tries = 0
	d.epoch++
	d.watch = d.catalogue.watch
	d.analyzer = sql.NewAnalyzer(d.watch)
	d.readings[0].facts, d.readings[1].facts = nil, nil
	d.server.event = decoders.Event{Kind: decoders.Outcome, Seq: d.catalogue.seq, Result: decoders.Result{
		Rows: d.catalogue.rows, Tag: "SELECT " + strconv.FormatInt(d.catalogue.rows, 10),
	}}
	if d.scoping.stale {
		d.phase = scopingNames
		return d.half(tell), nil
	}
	return tell, nil
}

// add keeps one row of the catalogue query's answer.
func (c *catalogue) add(body []byte) error {
	var v [10]string
	if len(body) < 2 || int(binary.BigEndian.Uint16(body)) != len(v) {
		return errors.New("row has the wrong number of columns")
	}
	body = body[2:]
	for i := range v {
		if len(body) < 4 {
			return errors.New("row is short")
		}
		n := int(int32(binary.BigEndian.Uint32(body)))
		if n < 0 || n > len(body)-4 {
			return errors.New("row has a value that is missing")
		}
		v[i] = string(body[4 : 4+n])
		body = body[4+n:]
	}
	relation, err := strconv.ParseUint(v[0], 10, 32)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(v[1], 10, 15)
	if err != nil {
		return err
	}
	if c.rows++; c.rows > maxProtected {
		return fmt.Errorf("more than %d columns are protected", maxProtected)
	}
	derived := v[8] == "t"
	if v[9] == "0" { // a statistic, of whichever column
		c.columns[relation<<16|number] = c.wanted
		c.watch = append(c.watch, decoders.ColumnName{Schema: v[2], Table: v[3], Column: v[4]})
		return nil
	}
	column := decoders.Column{Schema: v[5], Table: v[6], Name: v[7], Derived: derived}
	at := relation<<16 | number
	c.columns[at] = append(c.columns[at], column)
	column.Derived = true
	c.columns[relation<<16] = append(c.columns[relation<<16], column)
	kind, err := strconv.ParseUint(v[9], 10, 32)
	if err != nil {
		return err
	}
	// Statements are to be watched for child tables and views, too. A view's
	// columns have everyday names, and what is computed from text is told by
	// its type where the view is mentioned: those names need no watching.
	if v[2] != v[5] || v[3] != v[6] || v[4] != v[7] {
		name := v[4]
		if derived && textual[uint32(kind)] {
			name = v[7]
		}
		c.watch = append(c.watch, decoders.ColumnName{Schema: v[2], Table: v[3], Column: name})
	}
	return nil
}

// catalogueQuery asks for every protected column: relation, number, its names,
// the names of the column that protects it, whether it may be computed from
// that, and that column's type. Every name and operator is qualified, so that no search_path
// changes what it asks.
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
// on to a parent's other children (pg_inherits), and to every column of a view
// that depends on one (pg_depend through pg_rewrite, whose OIDs 1259 and 2618 are fixed). The
// planner's statistics, in the schema with OID 11, show values of any column.
const catalogueText = `/* agentd: where the protected columns are */
WITH RECURSIVE protected (relid, attnum, root, rootnum, derived, parent) AS (
  SELECT a.attrelid, a.attnum, a.attrelid, a.attnum, false, false
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
    AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','p','v','m','f']::pg_catalog."char"[])
    AND n.nspname OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog','information_schema','pg_toast']::pg_catalog.name[])
    AND ($columns)
  UNION
  SELECT s.relid, s.attnum, p.root, p.rootnum, p.derived OR s.derived, s.parent
  FROM protected p, LATERAL (
    SELECT i.inhrelid AS relid, ca.attnum AS attnum, false AS derived, false AS parent
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_attribute pa ON pa.attrelid OPERATOR(pg_catalog.=) p.relid AND pa.attnum OPERATOR(pg_catalog.=) p.attnum
    JOIN pg_catalog.pg_attribute ca ON ca.attrelid OPERATOR(pg_catalog.=) i.inhrelid AND ca.attname OPERATOR(pg_catalog.=) pa.attname
    JOIN pg_catalog.pg_class cc ON cc.oid OPERATOR(pg_catalog.=) i.inhrelid
    WHERE i.inhparent OPERATOR(pg_catalog.=) p.relid AND NOT ca.attisdropped AND NOT p.parent
      AND cc.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','p','f']::pg_catalog."char"[])
    UNION ALL
    SELECT i.inhparent, pa.attnum, false, true
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_attribute ca ON ca.attrelid OPERATOR(pg_catalog.=) p.relid AND ca.attnum OPERATOR(pg_catalog.=) p.attnum
    JOIN pg_catalog.pg_attribute pa ON pa.attrelid OPERATOR(pg_catalog.=) i.inhparent AND pa.attname OPERATOR(pg_catalog.=) ca.attname
    JOIN pg_catalog.pg_class pc ON pc.oid OPERATOR(pg_catalog.=) i.inhparent
    WHERE i.inhrelid OPERATOR(pg_catalog.=) p.relid AND pa.attnum OPERATOR(pg_catalog.>) 0 AND NOT pa.attisdropped
      AND pc.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','p','f']::pg_catalog."char"[])
    UNION ALL
    SELECT va.attrelid, va.attnum, true, false
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_rewrite r ON r.oid OPERATOR(pg_catalog.=) d.objid
    JOIN pg_catalog.pg_attribute va ON va.attrelid OPERATOR(pg_catalog.=) r.ev_class
    WHERE d.classid OPERATOR(pg_catalog.=) 2618 AND d.refclassid OPERATOR(pg_catalog.=) 1259
      AND d.refobjid OPERATOR(pg_catalog.=) p.relid
      AND (d.refobjsubid OPERATOR(pg_catalog.=) p.attnum OR d.refobjsubid OPERATOR(pg_catalog.=) 0)
      AND r.ev_type OPERATOR(pg_catalog.=) '1' AND r.ev_class OPERATOR(pg_catalog.<>) p.relid
      AND va.attnum OPERATOR(pg_catalog.>) 0 AND NOT va.attisdropped
  ) s
)
SELECT p.relid, p.attnum, n.nspname, c.relname, a.attname, rn.nspname, rc.relname, ra.attname, p.derived, ra.atttypid
FROM (SELECT DISTINCT relid, attnum, root, rootnum, derived FROM protected) p
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.relid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) p.relid AND a.attnum OPERATOR(pg_catalog.=) p.attnum
JOIN pg_catalog.pg_class rc ON rc.oid OPERATOR(pg_catalog.=) p.root
JOIN pg_catalog.pg_namespace rn ON rn.oid OPERATOR(pg_catalog.=) rc.relnamespace
JOIN pg_catalog.pg_attribute ra ON ra.attrelid OPERATOR(pg_catalog.=) p.root AND ra.attnum OPERATOR(pg_catalog.=) p.rootnum
UNION ALL
SELECT a.attrelid, a.attnum, 'pg_catalog', c.relname, a.attname, 'pg_catalog', c.relname, a.attname, true, 0
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) a.attrelid
WHERE c.relnamespace OPERATOR(pg_catalog.=) 11 AND a.attname OPERATOR(pg_catalog.=) ANY (ARRAY[
  'stavalues1', 'stavalues2', 'stavalues3', 'stavalues4', 'stavalues5', 'stxdmcv', 'stxdexpr', 'most_common_vals',
  'histogram_bounds', 'most_common_elems', 'range_bounds_histogram', 'most_common_base_freqs']::pg_catalog.name[])`
