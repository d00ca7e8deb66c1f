package sql

// A Meaning is what the grammar says of a text whose literals were taken out.
// It follows from the text's key alone, is immutable, and is shared by all
// sessions. Names are as the server folds them; none is resolved: a schema that
// was not written is "".
type Meaning struct {
	Statements []Statement // in order, empty ones left out
	// Unclear says why the grammar could not tell, "" if it could. A server
	// that is of the same mind rejects a text with Syntax.
	Unclear string
	Syntax  bool
}

// A Statement is one of a text. Whatever is nested in it (CTEs, subqueries,
// what EXPLAIN, PREPARE, DECLARE or CREATE ... AS hold) counts as part of it.
type Statement struct {
	Kind  string   // the grammar's name of the outermost node, as "SelectStmt"
	Verbs []string // what it does, lower case, as Facts.Verbs, none twice
	// Tables are the relations that it names, CTEs left out; each once for
	// reading, once for writing.
	Tables []Table
	// Columns are those whose values it uses, whatever for, assigned ones
	// left out.
	Columns []Ref
	// Predicates are those of Columns that decide which rows there are and in
	// what order, or which branch is taken: WHERE, JOIN ON and USING, GROUP
	// BY, HAVING, ORDER BY, DISTINCT, set operations but UNION ALL, FILTER,
	// windows, LIMIT, CASE conditions, comparisons that are themselves an
	// output, and what functions are called with that return many rows. What
	// COALESCE and GREATEST choose between is in Refs of the output alone.
	Predicates []Ref
	// Partial are those of Columns from which something is computed, wherever
	// it stands, that fails for some of their values, or comes out NULL: of
	// which whether it does tells something.
	Partial []Ref
	// Attributes are those of Columns that were written as t.x where x need
	// not be a column: if the relation has none of that name, x is a function
	// that is called with the whole row. Where t is not a relation but a value,
	// as in (f(x)).a, Table is "".
	Attributes []Ref
	// Outputs are the columns of its result, in order; of DECLARE and PREPARE
	// those of what they name, of COPY TO those that are copied. Nil if it has
	// none, or if Open.
	Outputs []Output
	// Open: how many columns the result has depends on a table (SELECT *), or
	// cannot be told (EXECUTE, FETCH, CALL). Whichever they are, All is what
	// they are made of. First are the columns before the first, and Last those
	// after the last that depends on a table.
	Open        bool
	All         Output
	First, Last []Output
	// Moves are the values that it stores or sends somewhere: INSERT ...
	// SELECT, assignments from columns, CREATE TABLE AS, COPY (query) TO, and
	// what the server's own functions keep (set_config, pg_notify, setval).
	// Values that are made of nothing but literals are left out.
	Moves []Move
	// Writes are the columns to which it gives values, whatever these are
	// made of, in tables that are there; DEFAULT and NULL left out.
	Writes []Write
	// Functions are those it calls, operators left out; casts are Types.
	Functions []Qualified
	Types     []Qualified
	Operators []Qualified // with a schema, or not of the server's own

	// Opaque: what it does or reads is not in its text: DO, CALL, EXECUTE,
	// bodies of functions in a literal, COPY PROGRAM, query_to_xml(...).
	Opaque bool
	// Since is the oldest major version of the server that takes it so; older
	// ones take what looks like a call, as JSON_VALUE(...), for one. 0: all.
	Since    int
	HasWhere bool // UPDATE and DELETE: every one of them has a WHERE; otherwise true
	DDL      bool // as log_statement = ddl logs
	Utility  bool // not SELECT, INSERT, UPDATE, DELETE, MERGE
	// Copy is where COPY reads or writes: "stdin", "stdout", "file",
	// "program", "" for other statements.
	Copy string
	// Sets are the parameters that SET, RESET and set_config change, lower
	// case; "*" for all or one that cannot be told. SET ROLE is "role", SET
	// SESSION AUTHORIZATION "session_authorization".
	Sets []string
}

// A Table is the use of a relation.
type Table struct {
	Schema, Table string
	Write         bool // INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY FROM, or DDL on it
}

// A Ref is a column of a relation that a statement names. Where it may belong
// to several relations, there is one Ref for each. Table "" is a column of a
// relation that cannot be told; Column "*" is the whole row, or any column.
type Ref struct{ Schema, Table, Column string }

// An Output is what one column of a result is made of.
type Output struct {
	// Plain: it is a column as it stands, under whatever name.
	Plain bool
	// Refs are the columns that its value is made from, those that only
	// choose between values (Predicates) included.
	Refs []Ref
	// Functions are those that the value passed through or came from.
	Functions []Qualified
	// Counts: nothing of Refs shows in it but how many rows there were:
	// count(*), count(x), EXISTS.
	Counts bool
	// Unclear: it cannot be told what it is made from.
	Unclear bool
}

// A Move is a value that is stored or sent.
type Move struct {
	To   Ref // Column "" if there is none; Table "" if it leaves the database
	From Output
}

// A Write is what a statement does to rows that it names.
type Write struct {
	// Verb is "insert", as COPY FROM does, too, "update", "delete", or "alter":
	// what ALTER gives to rows that are there, or to those that will leave the
	// column out.
	Verb string
	// To is what gets a value. Column "*" is any column; "" with "delete", which
	// has no column; Table "" is one that cannot be told.
	To Ref
}

// A Qualified is a name with a schema, "" if none was written.
type Qualified struct{ Schema, Name string }
