package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// A known is what the catalogue of a database says: which columns are protected,
// views, children and parents of tables included, and which functions, operators
// and types are not the server's own.
type known struct {
	columns map[uint64][]decoders.Column // by relation and number, 0 for the whole row
	watch   []decoders.ColumnName
	wanted  []decoders.Column // what a value may be made from of which nothing is known

	names     map[string]bool        // of protected columns
	relations map[string][]*relation // those with protected columns, by name
	functions map[string][]own       // of which something is known, by name
	operators map[string][]own       // all that are not the server's own
	types     map[string][]own       // those that run code of which nothing is known
	rows      map[string]bool        // names of functions that take a whole row
	views     []view                 // of relations
	hooks     map[string][]hook      // by the name of the relation
	heralds   []herald
	guards    map[string][]guard // by the name of the relation
	guarded   []decoders.Column  // of all of them
}

// A relation is a table or view that has protected columns.
type relation struct {
	schema  string
	columns []attribute // of all its columns, in order
	whole   []decoders.Column
}

// An attribute is a column of a relation.
type attribute struct {
	name      string
	number    int    // below 0 for the system's
	oid       uint32 // its type, 0 if it is generated
	protected []decoders.Column
}

// An own thing is a function, operator or type that is not the server's own.
type own struct {
	schema string
	safe   bool // it came with an extension, and neither reads tables nor changes anything
}

func newKnown(columns []decoders.ColumnName) known {
	k := known{
		columns: map[uint64][]decoders.Column{}, watch: slices.Clone(columns), names: map[string]bool{}, relations: map[string][]*relation{},
		functions: map[string][]own{}, operators: map[string][]own{}, types: map[string][]own{}, rows: map[string]bool{},
		hooks: map[string][]hook{}, guards: map[string][]guard{},
	}
	for _, c := range columns {
		k.names[c.Column] = true
		k.wanted = append(k.wanted, decoders.Column{Schema: c.Schema, Table: c.Table, Name: c.Column, Derived: true})
	}
	return k
}

// statistics are what the server has of the values of any column.
var statistics = set("pg_statistic", "pg_statistic_ext_data", "pg_stats", "pg_stats_ext", "pg_stats_ext_exprs", "pg_stat_activity")

// at returns what is protected at a column that a result names.
func (k *known) at(relation uint32, number uint16) []decoders.Column {
	return k.columns[uint64(relation)<<16|uint64(number)]
}

// rowColumns are the columns of the catalogue query's answer.
const rowColumns = 12

// add keeps one row of that answer. Definitions of views are cut into words by a.
func (k *known) add(body []byte, a *sql.Analyzer) error {
	var v [rowColumns]string
	if err := values(v[:], body); err != nil {
		return err
	}
	at, err := number(v[1])
	if err != nil {
		return err
	}
	part, err := number(v[2])
	if err != nil {
		return err
	}
	oid, err := number(v[10])
	if err != nil {
		return err
	}
	root, err := number(v[11])
	if err != nil {
		return err
	}
	name, thing := v[5], own{schema: v[3], safe: v[9] == "t"}
	switch v[0] {
	case "c":
		of := decoders.ColumnName{Schema: v[3], Table: v[4], Column: name}
		roots := []decoders.Column{{Schema: v[6], Table: v[7], Name: v[8], Derived: v[9] == "t"}}
		if statistics[v[7]] && v[6] == "pg_catalog" || v[7] == "pg_stat_statements" { // a view of what the server tells of any
			roots, root = k.wanted, 25 // text: it has everyday names
		}
		for _, c := range roots {
			k.protect(at<<16|part, of, uint32(oid), c)
			k.watchToo(of, c, uint32(root))
		}
	case "s": // a statistic, of whichever column: an everyday name, of which the table's tells
		watch := decoders.ColumnName{Schema: v[3], Table: v[4], Column: v[4]}
		k.columns[at<<16|part], k.columns[at<<16] = k.wanted, k.wanted
		k.watch = append(k.watch, watch)
		k.names[name] = true
		k.relation(watch).attribute(name).protected = k.wanted
	case "r":
		return k.relation(decoders.ColumnName{Schema: v[3], Table: v[4]}).list(name)
	case "v":
		if len(k.views) < maxViews {
			of := decoders.ColumnName{Schema: v[3], Table: v[4]}
			k.views = append(k.views, view{at: at, name: of, relation: k.relation(of), facts: a.Analyze([]byte(name))})
		}
	case "f":
		k.functions[name] = append(k.functions[name], thing)
	case "o":
		k.operators[name] = append(k.operators[name], thing)
	case "t":
		k.types[name] = append(k.types[name], thing)
	case "w":
		k.rows[name] = true
	case "x", "e":
		k.hook(&v, event(part))
	case "g":
		k.guard(&v, event(part))
	default:
		return fmt.Errorf("row of kind %q", v[0])
	}
	return nil
}

func number(s string) (uint64, error) { return strconv.ParseUint(s, 10, 32) }

// protect keeps that a column shows what c has.
func (k *known) protect(at uint64, name decoders.ColumnName, oid uint32, c decoders.Column) {
	k.columns[at] = append(k.columns[at], c)
	c.Derived = true
	k.columns[at&^0xffff] = append(k.columns[at&^0xffff], c)
	k.names[name.Column] = true
	r := k.relation(name)
	r.whole = append(r.whole, c)
	a := r.attribute(name.Column)
	a.oid = oid
	a.protected = append(a.protected, c)
}

// watchToo has statements watched for a child table or view. A view's columns
// have everyday names, and what is computed from text is told by its type where
// the view is mentioned: those names need no watching.
func (k *known) watchToo(name decoders.ColumnName, c decoders.Column, root uint32) {
	if name.Schema == c.Schema && name.Table == c.Table && name.Column == c.Name {
		return
	}
	if c.Derived && textual[root] {
		name.Column = c.Name
	}
	k.watch = append(k.watch, name)
}

// relation returns the relation of a column, made if need be.
func (k *known) relation(name decoders.ColumnName) *relation {
	for _, r := range k.relations[name.Table] {
		if r.schema == name.Schema {
			return r
		}
	}
	r := &relation{schema: name.Schema}
	k.relations[name.Table] = append(k.relations[name.Table], r)
	return r
}

// attribute returns a column of the relation, made if need be.
func (r *relation) attribute(name string) *attribute {
	for i := range r.columns {
		if r.columns[i].name == name {
			return &r.columns[i]
		}
	}
	r.columns = append(r.columns, attribute{name: name})
	return &r.columns[len(r.columns)-1]
}

// list reads the names of all columns of the relation: of each its number, its
// type, the length of its name in bytes, and that.
func (r *relation) list(text string) error {
	var all []attribute
	for text != "" {
		var n [3]int64
		for i := range n {
			part, rest, _ := strings.Cut(text, " ")
			var err error
			if n[i], err = strconv.ParseInt(part, 10, 64); err != nil {
				return err
			}
			text = rest
		}
		if n[2] < 0 || n[2] > int64(len(text)) {
			return errors.New("list of columns is short")
		}
		a := attribute{name: text[:n[2]], number: int(n[0]), oid: uint32(n[1])}
		text = text[n[2]:]
		if i := slices.IndexFunc(r.columns, func(b attribute) bool { return b.name == a.name }); i >= 0 {
			a.protected = r.columns[i].protected
		}
		all = append(all, a)
	}
	r.columns = all
	return nil
}

// matching returns the protected columns that ref may mean. What looks like a
// column that a relation has not may be a function of its whole row.
func (k *known) matching(ref sql.Ref) []decoders.Column {
	if ref.Table == "" {
		if ref.Column == "*" || k.names["*"] || k.names[ref.Column] || rowFunctions[ref.Column] || k.rows[ref.Column] {
			return k.wanted
		}
		return nil
	}
	var found []decoders.Column
	for _, r := range k.relations[ref.Table] {
		if ref.Schema == "" || ref.Schema == r.schema {
			found = append(found, k.within(r, ref.Column)...)
		}
	}
	// A table that came after the catalogue was asked, in another session. Of one
	// that no rule names, that its rows have such a column is not assumed.
	if systems(ref) {
		return found
	}
	for _, c := range k.wanted {
		row := ref.Column == "*" && c.Table != "*"
		if may(c.Schema, ref.Schema) && may(c.Table, ref.Table) && (row || may(c.Name, ref.Column)) {
			found = append(found, c)
		}
	}
	return found
}

// within returns what a column of r may show.
func (k *known) within(r *relation, column string) []decoders.Column {
	for i := range r.columns {
		if r.columns[i].name == column {
			return r.columns[i].protected
		}
	}
	if column == "*" || rowFunctions[column] || k.rows[column] {
		return r.everything()
	}
	return nil
}

// has reports whether ref is sure to be a column.
func (k *known) has(ref sql.Ref) bool {
	relations := k.relations[ref.Table]
	return len(relations) > 0 && !slices.ContainsFunc(relations, func(r *relation) bool {
		return !slices.ContainsFunc(r.columns, func(a attribute) bool { return a.name == ref.Column })
	})
}

// everything is what all columns of r show.
func (r *relation) everything() []decoders.Column {
	if r.whole != nil {
		return r.whole
	}
	for i := range r.columns { // statistics
		if r.columns[i].protected != nil {
			return r.columns[i].protected
		}
	}
	return nil
}

// may reports whether a name could be one that a pattern names.
func may(pattern, name string) bool { return pattern == "*" || name == "" || pattern == name }

// systems reports whether ref is of a relation of the system, which no rule names.
func systems(ref sql.Ref) bool {
	return ref.Schema == "pg_catalog" || ref.Schema == "information_schema" || ref.Schema == "" && strings.HasPrefix(ref.Table, "pg_")
}
