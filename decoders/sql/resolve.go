package sql

import (
	"fmt"
	"slices"
	"strings"
)

// Resolved is what can be said of a text by its words, the grammar, and the
// names of a session. It implements decoders.Facts.
type Resolved struct {
	*Facts
	// Unclear says why it cannot be told which relations the text names, "" if it
	// can, or if nobody wants to know.
	Unclear string
	// Names: the text speaks of relations, and in words that mean what the scope
	// says (Unqualified), or may be made of others than it says.
	Names, Unqualified bool
	// Weight is how many names the fields hold, about.
	Weight int
	// Moves: what names mean may differ once the text has run.
	Moves bool

	values []any // of Fields
}

// Field implements decoders.Facts.
func (r *Resolved) Field(name string) any {
	for i := range Fields {
		if Fields[i].Name == name {
			return r.values[i]
		}
	}
	return nil
}

// Resolve joins what is known of a text. The meaning is a clear one. The scope
// is nil if names need not be resolved; the fields about them are then not
// known.
func Resolve(f *Facts, m *Meaning, s *Scope) *Resolved {
	r := resolver{scope: s, Resolved: &Resolved{Facts: f}, hasWhere: true}
	for _, v := range f.Verbs {
		r.verbs.add(v)
	}
	for i := range m.Statements {
		r.statement(&m.Statements[i])
	}
	if s != nil && s.Unclear != "" && r.Names {
		r.unclear(s.Unclear)
	}
	values := map[string]any{
		"sql.verbs": r.verbs.list, "sql.functions": r.functions.list, "sql.sets": r.sets.list, "sql.copy": r.copies.list,
		"sql.names_read": r.namesRead.list, "sql.names_written": r.namesWritten.list,
		"sql.opaque": f.Opaque || r.opaque, "sql.has_where": r.hasWhere, "sql.ddl": r.ddl, "sql.utility": r.utility,
	}
	if s != nil && r.Unclear == "" {
		values["sql.tables"], values["sql.tables_read"], values["sql.tables_written"] = r.tables.list, r.read.list, r.written.list
		values["sql.volatile"] = r.volatile
		if !r.loose {
			values["sql.columns"], values["sql.predicates"] = r.columns.list, r.predicates.list
		}
	}
	r.values = make([]any, len(Fields))
	for i, field := range Fields {
		if v, ok := values[field.Name]; ok {
			r.values[i] = v
		} else {
			r.values[i] = f.Field(field.Name)
		}
	}
	return r.Resolved
}

// Unresolved is what can be said of a text that cannot be judged by all it does,
// and why: m is nil if only its words are known.
func Unresolved(f *Facts, m *Meaning, why string) *Resolved {
	r := &Resolved{Facts: f, Moves: true, values: make([]any, len(Fields))}
	if m != nil {
		r = Resolve(f, m, nil)
	} else {
		copy(r.values, f.values)
	}
	for i := range Fields {
		if Fields[i].Name == "sql.unclassified" {
			r.values[i] = why
		}
	}
	return r
}

// A resolver goes through the statements of a text.
type resolver struct {
	*Resolved
	scope *Scope

	verbs, functions, sets, copies             distinct
	tables, read, written, columns, predicates distinct
	hasWhere, ddl, utility, volatile, opaque   bool
	loose                                      bool            // it cannot be told of some column to which table it belongs
	namesRead, namesWritten                    distinct        // as they are written
	moved, altered                             bool            // by the statements so far
	made                                       map[string]bool // relations that they make; true: maybe temporary ones
}

func (r *resolver) statement(st *Statement) {
	r.hasWhere = r.hasWhere && st.HasWhere
	r.ddl = r.ddl || st.DDL
	r.utility = r.utility || st.Utility
	r.opaque = r.opaque || st.Opaque
	for _, v := range st.Verbs {
		r.verbs.add(v)
	}
	for _, v := range st.Sets {
		r.sets.add(v)
	}
	if st.Copy != "" {
		r.copies.add(st.Copy)
	}
	for _, f := range st.Functions {
		r.functions.add(dotted(f.Name))
		if f.Schema != "" {
			r.functions.add(dotted(f.Schema, f.Name))
		}
	}
	for _, t := range st.Tables {
		r.note(t)
	}
	r.volatile = r.volatile || r.runs(st)
	if r.scope != nil {
		r.names(st)
	}
	r.after(st)
}

// note notes a relation as the statement names it.
func (r *resolver) note(t Table) {
	parts := []string{t.Table}
	if t.Schema != "" {
		parts = []string{t.Schema, t.Table}
	}
	if t.Write {
		r.namesWritten.add(dotted(parts...))
	} else {
		r.namesRead.add(dotted(parts...))
	}
}

// names resolves the names of a statement.
func (r *resolver) names(st *Statement) {
	for _, t := range st.Tables {
		for _, q := range r.resolve(st, t.Schema, t.Table, t.Write) {
			name := dotted(q.Schema, q.Name)
			r.tables.add(name)
			if t.Write {
				r.written.add(name)
			} else {
				r.read.add(name)
			}
		}
	}
	for _, c := range st.Columns {
		r.column(st, &r.columns, c)
	}
	for _, c := range st.Predicates {
		r.column(st, &r.predicates, c)
	}
}

func (r *resolver) column(st *Statement, into *distinct, c Ref) {
	if c.Table == "" { // of a setting or of something that the server computes, or no one knows what
		r.loose = r.loose || c.Column != "*" || r.runs(st)
		return
	}
	for _, q := range r.resolve(st, c.Schema, c.Table, false) {
		into.add(dotted(q.Schema, q.Name, c.Column))
	}
}

// resolve returns what a name means in a statement that comes after others of
// its text.
func (r *resolver) resolve(st *Statement, schema, name string, write bool) []Qualified {
	all := r.meant(st, schema, name, write)
	if len(all) > maxReached {
		r.unclear(fmt.Sprintf("%s reaches more than %d relations", dotted(name), maxReached))
	}
	r.Weight += len(all)
	return all
}

func (r *resolver) meant(st *Statement, schema, name string, write bool) []Qualified {
	r.Names = true
	r.Unqualified = r.Unqualified || schema == ""
	temporary, made := r.made[name]
	switch {
	case r.altered:
		r.unclear("an earlier statement of the same text may change what " + dotted(name) + " is: send it by itself")
	case schema != "":
	case r.moved:
		r.unclear("an earlier statement of the same text may change which " + dotted(name) + " is meant: send it by itself, or name its schema")
	case st.Kind == "CreateSchemaStmt":
		r.unclear("which " + dotted(name) + " CREATE SCHEMA means depends on its own schema: name it")
	case made:
		return r.scope.madeBefore(name, temporary)
	case write && makers[st.Kind]:
		return r.scope.made(name, false)
	case write && r.creates(st):
		return r.scope.made(name, true)
	}
	return r.scope.found(schema, name)
}

func (r *resolver) unclear(why string) {
	if r.Unclear == "" {
		r.Unclear = why
	}
}

// makers write no relation but the one that they make.
var makers = set("CreateStmt", "CreateTableAsStmt", "CreateSeqStmt", "CreateForeignTableStmt", "ViewStmt")

// creates reports whether the relation that a statement writes may be one that
// it makes.
func (r *resolver) creates(st *Statement) bool {
	return makers[st.Kind] || slices.ContainsFunc(r.Commands, func(c string) bool { return c == "select into" || strings.HasPrefix(c, "create ") })
}

// after notes what a statement does to the names of those after it.
func (r *resolver) after(st *Statement) {
	moves := st.moves()
	r.Moves = r.Moves || moves || st.DDL || slices.Contains(r.Commands, "select into")
	r.moved = r.moved || moves || st.ends()
	if r.creates(st) {
		for _, t := range st.Tables {
			if t.Write {
				r.make(t)
			}
		}
	}
	r.altered = r.altered || st.DDL && !st.adds()
}

func (r *resolver) make(t Table) {
	if r.made == nil {
		r.made = map[string]bool{}
	}
	r.made[t.Table] = r.made[t.Table] || t.Schema == "pg_temp"
}

// adds reports whether a statement of the DDL leaves what there is as it is,
// and every relation where it can be found.
func (st *Statement) adds() bool {
	switch st.Kind {
	case "CreateTableAsStmt", "SelectStmt", "CreateSeqStmt", "IndexStmt":
		return true
	case "CreateStmt", "CreateForeignTableStmt":
		return len(st.Tables) == 1 // else it may be a child, or a partition
	}
	return false
}

// ends reports whether a statement may undo what earlier ones did, of this text
// or of its transaction.
func (st *Statement) ends() bool {
	return st.Kind == "TransactionStmt" && !slices.ContainsFunc(st.Verbs, func(v string) bool { return begins[v] })
}

var begins = set("begin", "start", "savepoint", "release")

// moves reports whether names without a schema may mean something else after
// the statement.
func (st *Statement) moves() bool {
	switch st.Kind {
	case "DiscardStmt", "DoStmt", "CallStmt", "ExecuteStmt":
		return true
	}
	return slices.ContainsFunc(st.Sets, func(name string) bool { return movers[name] }) || slices.ContainsFunc(st.Functions, Qualified.runsCode)
}

// movers are the parameters by which the server decides where to look.
var movers = map[string]bool{"search_path": true, "role": true, "session_authorization": true, "*": true}

// runs reports whether a statement calls what is not known to be harmless.
func (r *resolver) runs(st *Statement) bool {
	if len(st.Operators) > 0 || st.Kind == "DoStmt" || st.Kind == "CallStmt" {
		return true
	}
	return slices.ContainsFunc(st.Functions, func(f Qualified) bool {
		v, known := Builtin(f.Name)
		switch f.Schema {
		case "":
			known = known && !(r.scope != nil && r.scope.Shadows[f.Name])
		case "pg_catalog":
		default:
			known = false
		}
		return !known || v == Volatile
	})
}

// runsCode reports whether a function is not PostgreSQL's own, or runs SQL that
// it is given.
func (q Qualified) runsCode() bool {
	if _, known := Builtin(q.Name); !known || q.Schema != "" && q.Schema != "pg_catalog" {
		return true
	}
	return runners[q.Name]
}

// A distinct list has nothing twice, and the order of what came first.
type distinct struct {
	list []string
	have map[string]bool
}

func (d *distinct) add(v string) {
	if d.have[v] {
		return
	}
	if d.have == nil {
		d.have = map[string]bool{}
	}
	d.have[v] = true
	d.list = append(d.list, v)
}
