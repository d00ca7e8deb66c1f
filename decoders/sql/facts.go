package sql

import "agentd.dev/decoders"

// Facts is what can be said of a text without knowing its literals. It
// implements decoders.Facts, is immutable, and is shared: one Analyzer gives
// texts of the same normalised form the same *Facts while it remembers them.
type Facts struct {
	// Statements counts the statements that are not empty.
	Statements int
	// Verbs are what all the statements do, lower case, in order, none
	// twice: the leading verbs, and those of statements inside statements.
	// WITH is not one, but what it leads to is.
	Verbs []string
	// Commands name some statements more closely: "drop table",
	// "alter role", "copy from", "select into", "explain analyze".
	Commands []string
	// Normalized has "?" for each literal and "?+" for a list of them, no
	// comments, single spaces, and unquoted words in lower case.
	Normalized string
	// Unclassified says why the text was not understood, "" if it was.
	Unclassified string
	// Opaque: what the text does is not visible in it (DO, CALL, EXECUTE,
	// COPY PROGRAM, LOAD, extensions, functions with a body in a literal).
	Opaque bool
	// Secret: the text may carry a password or key. Only its redacted form
	// may be recorded.
	Secret bool
	// Names are the prepared statements and cursors that are made, used and
	// closed, in order.
	Names []Name
	// Key stands for all texts of the same Skeleton, whichever Analyzer reads
	// them. Empty if the text has none: it was not read, can be read in several
	// ways, or holds nothing. Not to be changed.
	Key []byte

	table, column bool
	values        []any // of the first Fields, ready to be handed out
}

// Command returns the facts of a command that is not SQL, by its verb.
func Command(verb string) *Facts {
	f := &Facts{Statements: 1, Verbs: []string{verb}, Normalized: verb, Opaque: true}
	return f.seal()
}

// A Name is the use of a prepared statement's or cursor's name.
type Name struct {
	// Verb is prepare, execute, deallocate, declare, fetch, move, close, or
	// discard (for DISCARD ALL, which closes and deallocates all).
	Verb string
	// Name as PostgreSQL folds it, "" if Verb applies to all of them.
	Name string
}

// Fields are what policies can ask of SQL statements.
var Fields = []decoders.Field{
	{Name: "sql.verbs", Type: decoders.Strings, Kinds: statements, Doc: "what the statements do, nested ones included, in lower case: select, insert, drop ..."},
	{Name: "sql.commands", Type: decoders.Strings, Kinds: statements, Doc: `closer names of some statements: "drop table", "alter role", "copy from", "copy program", "select into", "explain analyze"`},
	{Name: "sql.normalized", Type: decoders.String, Kinds: statements, Doc: "the text with ? for each literal, without comments, in single spaces and lower case"},
	{Name: "sql.statements", Type: decoders.Int, Kinds: statements, Doc: "how many statements the text has"},
	{Name: "sql.unclassified", Type: decoders.String, Kinds: statements, Doc: "why the text was not understood, empty if it was"},
	{Name: "sql.opaque", Type: decoders.Bool, Kinds: statements, Doc: "the text does not show what it does: DO, CALL, EXECUTE, COPY PROGRAM, LOAD, extensions, function bodies"},
	{Name: "sql.has_where", Type: decoders.Bool, Kinds: statements, Doc: "every UPDATE and DELETE in it has a WHERE, nested ones included"},
	{Name: "sql.tables", Type: decoders.Strings, Kinds: statements, Learned: true, Doc: `the relations it uses, as "schema.table": by the names it gives them, under the session's search_path, and those that belong to them (children, parents, what views are made of)`},
	{Name: "sql.tables_read", Type: decoders.Strings, Kinds: statements, Learned: true, Doc: "those of sql.tables that are read"},
	{Name: "sql.tables_written", Type: decoders.Strings, Kinds: statements, Learned: true, Doc: "those of sql.tables that are written, made, altered or dropped"},
	{Name: "sql.columns", Type: decoders.Strings, Kinds: statements, Learned: true, Doc: `the columns whose values it uses, as "schema.table.column", "*" for all; one of each table that it may be of. Not known where no table can be told`},
	{Name: "sql.predicates", Type: decoders.Strings, Kinds: statements, Learned: true, Doc: "those of sql.columns that decide which rows there are, or in what order"},
	{Name: "sql.functions", Type: decoders.Strings, Kinds: statements, Doc: `the functions it calls, as "name", and where a schema is written as "schema.name" too`},
	{Name: "sql.volatile", Type: decoders.Bool, Kinds: statements, Learned: true, Doc: "it calls what is not known to be harmless: a function, operator or procedure that is not PostgreSQL's own, or one that may do more than compute and read; DO"},
	{Name: "sql.ddl", Type: decoders.Bool, Kinds: statements, Doc: "it makes, alters or drops something"},
	{Name: "sql.utility", Type: decoders.Bool, Kinds: statements, Doc: "it has statements other than SELECT, INSERT, UPDATE, DELETE and MERGE"},
	{Name: "sql.copy", Type: decoders.Strings, Kinds: statements, Doc: `where COPY reads or writes: "stdin", "stdout", "file", "program"`},
	{Name: "sql.sets", Type: decoders.Strings, Kinds: statements, Doc: `the parameters that it sets, "role" and "session_authorization" among them, "*" for one that cannot be told; what a login brings is login.sets`},
	{Name: "sql.names_read", Type: decoders.Strings, Kinds: statements, Noted: true, Doc: "the relations it reads, as it names them: with a schema or without"},
	{Name: "sql.names_written", Type: decoders.Strings, Kinds: statements, Noted: true, Doc: "the relations it writes, makes, alters or drops, as it names them"},
}

const statements = decoders.Prepare | decoders.Request

// Field implements decoders.Facts. What only the grammar can tell is not known:
// see Resolve.
func (f *Facts) Field(name string) any {
	for i := range f.values {
		if Fields[i].Name == name {
			return f.values[i]
		}
	}
	return nil
}

// Mentions says whether any identifier in the text is the name of a watched
// table, or of a watched column, whatever it means where it stands. Of a text
// that could not be cut into words it says yes. A watched name of "*" is
// mentioned by every statement.
func (f *Facts) Mentions() (table, column bool) { return f.table, f.column }

// seal makes f ready to be handed out.
func (f *Facts) seal() *Facts {
	f.values = []any{f.Verbs, f.Commands, f.Normalized, int64(f.Statements), f.Unclassified, f.Opaque}
	return f
}

func (f *Facts) verb(v string) { f.Verbs = appendNew(f.Verbs, v) }

func (f *Facts) command(c string) { f.Commands = appendNew(f.Commands, c) }

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}
