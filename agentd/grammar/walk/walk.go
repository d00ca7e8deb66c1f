// Package walk reads SQL with PostgreSQL's own grammar and says what it means,
// as a decoders/sql.Meaning: which relations and columns a text uses, what for,
// and what each column of its result is made of.
//
// It errs on the side of more. Names are not resolved against a catalogue: an
// unqualified name may belong to any relation in scope, and counts for all of
// them. A kind of node that is not known here makes the whole text unclear.
//
// It does not see literals (they were taken out of what it reads), so that
// whatever a literal decides counts as decided in every way. The C library that
// it calls is not to be trusted with hostile texts in the daemon's own process.
package walk

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"

	"agentd.dev/decoders/sql"
)

// What a text may at most need; beyond that it is too complex.
const (
	maxDepth   = 2000    // nested nodes
	maxNodes   = 1 << 20 // nodes looked at
	maxWork    = 1 << 22 // words of sets that were merged, and their like
	maxAtoms   = 1 << 16 // columns and functions of one statement
	maxColumns = 1 << 13 // columns of one relation or result; the server has at most 1664
	maxRefs    = 1 << 16 // references in all outputs and moves of a text
)

// Read says what text means. It never fails: what it cannot tell is unclear.
func Read(text string) sql.Meaning {
	switch { // that the parser would stop at, or its tree could not hold
	case strings.IndexByte(text, 0) >= 0:
		return sql.Meaning{Unclear: "a zero byte"}
	case !utf8.ValidString(text):
		return sql.Meaning{Unclear: "names that are not in UTF-8"}
	}
	tree, err := pg.Parse(text)
	if err != nil {
		// The message of a syntax error quotes the text, which holds no
		// literals: names at most, as Refs do.
		var refused *parser.Error
		if errors.As(err, &refused) {
			return sql.Meaning{Unclear: "syntax error: " + refused.Message, Syntax: true}
		}
		return sql.Meaning{Unclear: "too complex: " + err.Error()}
	}
	var m sql.Meaning
	left := maxRefs
	for _, raw := range tree.Stmts {
		if raw.Stmt == nil {
			continue
		}
		w := walker{text: slice(text, raw), left: left}
		m.Statements = append(m.Statements, w.read(raw.Stmt))
		if w.unclear != "" {
			return sql.Meaning{Unclear: w.unclear}
		}
		left = w.left
	}
	return m
}

// slice is the part of text that a statement is.
func slice(text string, raw *pg.RawStmt) string {
	from := min(max(int(raw.StmtLocation), 0), len(text))
	n := int(raw.StmtLen)
	if n <= 0 || n > len(text)-from {
		n = len(text) - from
	}
	return text[from : from+n]
}

// A walker reads one statement.
type walker struct {
	atoms
	text    string
	st      sql.Statement
	unclear string // why the statement cannot be told, "" while it can

	columns    set // all that was used
	predicates set // what decided, since the innermost expression with a query of its own began
	partial    set // what something was computed from that may fail
	nodes      int
	depth      int
	left       int // how many references the result may still hold

	tables     map[sql.Table]bool
	functions  map[sql.Qualified]bool
	types      map[sql.Qualified]bool
	operators  map[sql.Qualified]bool
	attributes map[sql.Ref]bool
	kept       bool // SELECT INTO: its result goes into a relation
	// exists: the query that comes next is asked only whether it has rows.
	exists bool
	// reading are the queries of CTEs.
	reading map[*pg.SelectStmt]*cte
	// moves are what is stored or sent; they become Moves at the end, when
	// recursive queries are known.
	moves []move
	// writes are those of st.
	writes map[sql.Write]bool
}

// A move is a sql.Move to be.
type move struct {
	to   sql.Ref
	from value
}

func (w *walker) read(node *pg.Node) sql.Statement {
	w.st.HasWhere = true
	w.st.Kind = kind(node)
	w.st.Utility = !isQuery(node)
	result := w.statement(node, nil)
	if w.kept && !w.st.Utility {
		result = nil
	}
	w.finish(result)
	if w.work > maxWork {
		w.fail("too complex")
	}
	return w.st
}

// finish turns sets into lists.
func (w *walker) finish(result *shape) {
	st := &w.st
	st.Columns = w.refs(w.columns)
	st.Predicates = w.refs(w.predicates)
	st.Partial = w.refs(w.partial)
	switch {
	case result == nil:
	case result.open:
		st.Open = true
		st.All = w.output(result.all(w))
		for _, c := range result.first {
			st.First = append(st.First, w.output(c.value))
		}
		for _, c := range result.last {
			st.Last = append(st.Last, w.output(c.value))
		}
	default:
		st.Outputs = make([]sql.Output, 0, len(result.columns))
		for _, c := range result.columns {
			st.Outputs = append(st.Outputs, w.output(c.value))
		}
	}
	for _, m := range w.moves {
		from := w.output(m.from)
		if len(from.Refs) > 0 || len(from.Functions) > 0 || from.Unclear {
			st.Moves = append(st.Moves, sql.Move{To: m.to, From: from})
		}
	}
}

// enter is called before a node is looked at; if it says no, the node must not
// be. leave follows in either case.
func (w *walker) enter() bool {
	w.depth++
	w.nodes++
	switch {
	case w.depth > maxDepth:
		w.fail("too complex: nested too deeply")
	case w.nodes > maxNodes, w.work > maxWork:
		w.fail("too complex")
	case len(w.list) > maxAtoms:
		w.fail("too complex: too many names")
	}
	return w.unclear == ""
}

func (w *walker) leave() { w.depth-- }

// fail makes the text unclear.
func (w *walker) fail(why string) {
	if w.unclear == "" {
		w.unclear = why
	}
}

// unknown is called for a node that nothing here knows where it stands.
func (w *walker) unknown(where string, node *pg.Node) {
	w.fail(fmt.Sprintf("%s of a kind that is not known: %s", where, kind(node)))
}

// since notes a form that older servers do not know, or take for a call of a
// function.
func (w *walker) since(version int) { w.st.Since = max(w.st.Since, version) }

func (w *walker) verb(v string) { appendNew(&w.st.Verbs, v) }

// table notes the use of a relation.
func (w *walker) table(rv *pg.RangeVar, write bool) {
	if rv == nil {
		return
	}
	w.named(sql.Table{Schema: schemaOf(rv), Table: rv.Relname, Write: write})
}

// schemaOf is the schema that a relation is said to be in, "" if none is. One
// that is made to be temporary is in the schema of those.
func schemaOf(rv *pg.RangeVar) string {
	if rv.GetSchemaname() == "" && rv.GetRelpersistence() == "t" {
		return "pg_temp"
	}
	return rv.GetSchemaname()
}

func (w *walker) named(t sql.Table) {
	if t.Write && t.Table == "pg_settings" { // an UPDATE is a SET
		w.sets("*")
	}
	if put(&w.tables, t) {
		w.st.Tables = append(w.st.Tables, t)
	}
}

// calls notes a function, and returns what came out of it.
func (w *walker) calls(f sql.Qualified) value {
	if put(&w.functions, f) {
		w.st.Functions = append(w.st.Functions, f)
	}
	return value{of: w.function(f)}
}

// typed notes a type.
func (w *walker) typed(t *pg.TypeName) {
	if t == nil {
		return
	}
	name := qualified(t.Names)
	if t.PctType { // table.column%TYPE
		name = sql.Qualified{Name: name.Name + "%type"}
	}
	if name.Name != "" && put(&w.types, name) {
		w.st.Types = append(w.st.Types, name)
	}
	for _, mod := range t.Typmods {
		w.expr(mod, nil)
	}
}

// operator notes an operator that need not be the server's own, and returns it
// as what a value passed through.
func (w *walker) operator(names []*pg.Node) value {
	name := qualified(names)
	if name.Name == "" || (name.Schema == "" || name.Schema == "pg_catalog") && builtinOperators[name.Name] {
		return value{}
	}
	if put(&w.operators, name) {
		w.st.Operators = append(w.st.Operators, name)
	}
	return value{of: w.function(name)}
}

// decides notes that v decides which rows there are, or in what order.
func (w *walker) decides(v value) { w.predicates = w.union(w.predicates, v.of) }

// moved notes that v is stored or sent.
func (w *walker) moved(to sql.Ref, v value) { w.moves = append(w.moves, move{to, v}) }

// wrote notes that a column gets a value, or that rows go.
func (w *walker) wrote(verb string, to sql.Ref) {
	if write := (sql.Write{Verb: verb, To: to}); put(&w.writes, write) {
		w.st.Writes = append(w.st.Writes, write)
	}
}

// use notes that v is used, and returns it.
func (w *walker) use(v value) value {
	w.columns = w.union(w.columns, v.of)
	return v
}

func put[K comparable](set *map[K]bool, k K) bool {
	if (*set)[k] {
		return false
	}
	if *set == nil {
		*set = make(map[K]bool)
	}
	(*set)[k] = true
	return true
}

func appendNew(list *[]string, s string) {
	for _, have := range *list {
		if have == s {
			return
		}
	}
	*list = append(*list, s)
}
