package postgres

import (
	"fmt"
	"slices"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// A lineage is what the grammar says of a text, held against the catalogue.
type lineage struct {
	asked     uint64 // when the catalogue was
	exposures []decoders.Exposure
	results   []result // of its statements
	touches   bool     // one of them uses a protected column
	writes    bool     // one of them gives values to columns, or removes rows
	remakes   bool     // one of them defines something of a relation with guards
}

// A result is what is protected of the columns of one statement's result.
type result struct {
	open        bool                // there are others between first and last
	first, last [][]decoders.Column // all are in first if not open
	any         []decoders.Column   // what those may show of which no more is known

	form  copyForm // of COPY TO STDOUT that has protected columns
	types []uint32 // of its columns, 0 for one that is not known
}

// derived returns what column i of count may show that is computed.
func (r *result) derived(i, count int) []decoders.Column {
	switch known := len(r.first) + len(r.last); {
	case known > count, known < count && !r.open:
	case i < len(r.first):
		return r.first[i]
	case count-i <= len(r.last):
		return r.last[len(r.last)-(count-i)]
	}
	return r.any
}

// clear reports whether the grammar and the words agree on what a text is.
func clearly(facts *sql.Facts, meaning *sql.Meaning) bool {
	return meaning != nil && meaning.Unclear == "" && facts.Unclassified == "" && len(meaning.Statements) == facts.Statements
}

// weigh holds a meaning against the catalogue.
func (k *known) weigh(facts *sql.Facts, meaning *sql.Meaning) *lineage {
	l := &lineage{results: make([]result, len(meaning.Statements))}
	w := weighing{known: k, lineage: l, facts: facts, mentions: mentions(facts)}
	if what := hidden(facts); what != "" {
		w.expose(decoders.Carries, what, k.wanted)
	}
	if name := k.hiddenOperator(facts.Normalized); name != "" {
		w.calls("operator", sql.Qualified{Name: name})
	}
	w.several = len(meaning.Statements) > 1
	w.defines = slices.ContainsFunc(meaning.Statements, func(s sql.Statement) bool { return s.DDL })
	for i := range meaning.Statements {
		w.statement(&meaning.Statements[i], &l.results[i])
	}
	if w.several && l.writes && l.remakes {
		l.exposures = append(l.exposures, k.blind())
	}
	return l
}

func mentions(facts *sql.Facts) bool {
	table, column := facts.Mentions()
	return table || column
}

// A weighing is the work of weigh.
type weighing struct {
	*known
	lineage  *lineage
	facts    *sql.Facts
	mentions bool
	defines  bool // a statement may change what names mean to those behind it
	several  bool // there are others behind or before it
}

func (w *weighing) statement(s *sql.Statement, r *result) {
	if s.Kind == "FetchStmt" || s.Kind == "ExecuteStmt" {
		// What they name was weighed when it was made: in this text, perhaps.
		if w.functions(s, nil); w.lineage.touches {
			r.any = w.wanted
		}
		return
	}
	used := w.refs(s.Columns)
	for _, list := range [][]sql.Output{s.Outputs, s.First, s.Last, {s.All}} {
		for i := range list {
			used = merged(used, w.output(&list[i]))
		}
	}
	w.lineage.touches = w.lineage.touches || len(used) > 0
	*r = result{open: s.Open, first: w.outputs(s.Outputs), any: used}
	if s.Open {
		r.first, r.last = w.outputs(s.First), w.outputs(s.Last)
	}
	if s.Copy == "stdout" && len(used) > 0 {
		w.copied(s, r)
	}

	w.functions(s, used)
	w.hooked(s)
	w.guesses(s)
	if found := w.refs(s.Predicates); len(found) > 0 {
		w.expose(decoders.Decides, "it decides by them, in WHERE, JOIN, GROUP BY, ORDER BY, DISTINCT, a comparison or the like", found)
	}
	if found := w.refs(s.Partial); len(found) > 0 {
		w.expose(decoders.Decides, "whether something computed from them fails, or is NULL, tells something of their values", found)
	}
	for i := range s.Moves {
		w.move(s, &s.Moves[i])
	}
	w.remodels(s, used)
}

func (w *weighing) outputs(list []sql.Output) [][]decoders.Column {
	all := make([][]decoders.Column, len(list))
	for i := range list {
		all[i] = w.output(&list[i])
	}
	return all
}

// functions looks at the code that a statement runs.
func (w *weighing) functions(s *sql.Statement, used []decoders.Column) {
	for _, f := range s.Functions {
		switch t := w.function(f); {
		case t == nosy:
			w.expose(decoders.Carries, "the function "+title(f)+" reads what the statement does not name", w.wanted)
		case t == stranger:
			w.calls("function", f)
		case t == careless && (len(used) > 0 || strings.HasSuffix(s.Kind, "DomainStmt")):
			w.expose(decoders.Carries, "the function "+title(f)+" keeps or sends what it is given, or shows it by what it does", or(used, w.wanted))
		}
	}
	for _, a := range s.Attributes {
		if w.rows[a.Column] && !w.has(a) {
			w.calls("function", sql.Qualified{Name: a.Column})
		}
	}
	for _, o := range s.Operators {
		if w.operator(o) != sound {
			w.calls("operator", o)
		}
	}
	for _, t := range s.Types {
		if w.kind(t) != sound {
			w.calls("type", t)
		}
	}
}

// move looks at a value that is stored or sent. One that only comes back to the
// column it is from stays masked.
func (w *weighing) move(s *sql.Statement, m *sql.Move) {
	if s.Copy == "stdout" && m.To.Table == "" {
		return // its result
	}
	found := w.output(&m.From)
	elsewhere := func(r sql.Ref) bool { return r != m.To && len(w.matching(r)) > 0 }
	named := m.To.Table != "" && m.To.Column != "" && m.To.Column != "*"
	if len(found) == 0 || named && !m.From.Unclear && !slices.ContainsFunc(m.From.Refs, elsewhere) {
		return
	}
	what := "they would go to " + m.To.Table + ", where they cannot be masked"
	if m.To.Table == "" {
		what = "they would leave the database, and be masked nowhere"
	}
	w.expose(decoders.Carries, what, found)
}

// remodels refuses to change what names of protected columns mean, or to make
// others for them.
func (w *weighing) remodels(s *sql.Statement, used []decoders.Column) {
	if s.Kind == "ClusterStmt" && (w.mentions || len(s.Tables) == 0) {
		w.expose(decoders.Decides, "rows would stand in the order of an index, perhaps of these", or(used, w.wanted))
		return
	}
	if w.several && len(s.Tables) == 0 && (s.Kind == "RenameStmt" || s.Kind == "AlterObjectSchemaStmt") {
		w.expose(decoders.Carries, "what it renames could be a function, which the other statements beside it could call: send it by itself", w.wanted)
	}
	if !s.DDL || !slices.ContainsFunc(s.Verbs, func(verb string) bool { return away[verb] }) {
		return
	}
	switch s.Kind {
	case "CreateForeignTableStmt", "ImportForeignSchemaStmt", "CreateForeignServerStmt", "AlterForeignServerStmt",
		"CreateUserMappingStmt", "AlterUserMappingStmt", "CreateFdwStmt", "AlterFdwStmt",
		"CreatePublicationStmt", "AlterPublicationStmt", "CreateSubscriptionStmt":
		w.expose(decoders.Carries, "what it makes could read or send them under names that no rule has", or(used, w.wanted))
	case "CreateTableAsStmt", "SelectStmt": // its moves say
	case "ViewStmt", "IndexStmt":
		if len(used) > 0 {
			w.expose(decoders.Carries, "they would have another name", used)
		}
	default:
		if len(used) > 0 || w.mentions {
			w.expose(decoders.Carries, "what it changes decides which columns are found and masked", or(used, w.wanted))
		}
	}
}

// output is what an output may show.
func (w *weighing) output(o *sql.Output) []decoders.Column {
	switch {
	case o.Unclear:
		return w.wanted
	case o.Counts:
		return nil
	}
	return w.refs(o.Refs)
}

// maxNamed is how many columns are told one by one.
const maxNamed = 64

// refs are the protected columns that refs may mean.
func (w *weighing) refs(refs []sql.Ref) []decoders.Column {
	var found []decoders.Column
	for _, r := range refs {
		if found = merged(found, w.matching(r)); len(found) > maxNamed {
			return w.wanted
		}
	}
	return found
}

// merged adds to a what it has not of b, as computed.
func merged(a, b []decoders.Column) []decoders.Column {
	for _, c := range b {
		c.Index, c.Derived = 0, true
		if !slices.Contains(a, c) {
			a = append(a, c)
		}
	}
	return a
}

func or(a, b []decoders.Column) []decoders.Column {
	if len(a) > 0 {
		return a
	}
	return b
}

func (w *weighing) expose(risk decoders.Risk, what string, columns []decoders.Column) {
	w.lineage.exposures = append(w.lineage.exposures, decoders.Exposure{Risk: risk, What: what, Columns: columns})
}

func (w *weighing) calls(what string, name sql.Qualified) {
	w.lineage.exposures = append(w.lineage.exposures, decoders.Exposure{
		Risk: decoders.Calls, What: fmt.Sprintf("nothing is known of the %s %s, which could read or keep them", what, title(name)),
		Columns: w.wanted, Function: title(name),
	})
}

// title is a name as people write it.
func title(q sql.Qualified) string {
	if q.Schema == "" {
		return q.Name
	}
	return q.Schema + "." + q.Name
}
