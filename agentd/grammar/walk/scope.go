package walk

import (
	"slices"
	"strings"

	"agentd.dev/decoders/sql"
)

// A column is one of a relation.
type column struct {
	name string
	// sure: that is its name on every server. Otherwise it may have any.
	sure  bool
	value value
}

// A shape is what is known of the columns of a relation or result.
type shape struct {
	// columns are those that are known, in order; if open, in no order.
	columns []column
	// open: there may be more of them. Those called x are column x of one of
	// the parts, or made of further.
	open    bool
	parts   []sql.Ref // base relations, with column "*"
	further value
	// literals: those that are not known are called columnN, and have nothing
	// of the database in them.
	literals bool
	// first and last are, if open, the columns before the first and after the
	// last that is not known.
	first, last []column
}

// add adds a column at the end.
func (s *shape) add(c column) {
	s.columns = append(s.columns, c)
	if s.open {
		s.last = append(s.last, c)
	}
}

// join adds the columns of t at the end.
func (s *shape) join(w *walker, t *shape) {
	switch {
	case w.work > maxWork:
		return // enter says so
	case len(s.columns)+len(t.columns) > maxColumns:
		w.fail("too complex: too many columns")
		return
	}
	if !t.open {
		for _, c := range t.columns {
			s.add(c)
		}
		return
	}
	if !s.open {
		s.first = s.columns[:len(s.columns):len(s.columns)]
		s.first = append(s.first, t.first...)
	}
	s.literals = t.literals && len(s.columns) == 0 && !s.open
	s.open = true
	s.columns = append(s.columns, t.columns...)
	s.last = append([]column(nil), t.last...)
	w.work += len(s.parts)*len(t.parts) + len(t.columns)
	s.parts = s.parts[:len(s.parts):len(s.parts)]
	for _, p := range t.parts {
		if !slices.Contains(s.parts, p) {
			s.parts = append(s.parts, p)
		}
	}
	s.further = w.both(s.further, t.further)
}

// all is what the whole row is made of.
func (s *shape) all(w *walker) value {
	v := s.further
	for _, c := range s.columns {
		v = w.both(v, c.value)
	}
	for _, p := range s.parts {
		v = w.both(v, value{of: w.column(p)})
	}
	return derived(v)
}

// named finds what can be meant by a name. found: there is or may be such a
// column. sure: there is.
func (s *shape) named(w *walker, name string) (v value, found, sure bool) {
	w.work += len(s.columns) + len(s.parts)
	join := func(x value) {
		if found {
			v = w.either(v, x)
		} else {
			v, found = x, true
		}
	}
	for _, c := range s.columns {
		if c.name == name {
			join(c.value)
			sure = sure || c.sure
		}
	}
	if sure {
		return v, found, sure
	}
	for _, c := range s.columns {
		if !c.sure && c.name != name {
			join(c.value)
		}
	}
	if s.open && !(s.literals && !strings.HasPrefix(name, "column")) {
		for _, p := range s.parts {
			join(value{of: w.column(sql.Ref{Schema: p.Schema, Table: p.Table, Column: name}), plain: true})
		}
		if !s.further.constant() || len(s.parts) == 0 {
			join(s.further)
		}
	}
	return v, found, false
}

// rename gives the first columns other names, as t(a, b) does.
func (s *shape) rename(w *walker, names []string) *shape {
	if len(names) == 0 {
		return s
	}
	r := *s
	if s.open { // whichever they are
		all := s.all(w)
		r.columns = nil
		r.first, r.last = nil, nil
		for _, name := range names {
			r.columns = append(r.columns, column{name, true, all})
		}
		for _, c := range s.columns { // which may have got another name
			c.sure = false
			r.columns = append(r.columns, c)
		}
		return &r
	}
	r.columns = append([]column(nil), s.columns...)
	for i, name := range names {
		if i < len(r.columns) {
			r.columns[i].name, r.columns[i].sure = name, true
		}
	}
	return &r
}

// A relation is something that names in a query can refer to.
type relation struct {
	*shape
	alias string // by which it is called, "" if by none
	// base is, for a base relation without an alias, its name, so that
	// schema.table.column finds it.
	base sql.Ref
	// qualified: its columns are found by alias.column alone.
	qualified bool
}

// A scope is what names can refer to at one place.
type scope struct {
	relations []*relation
	outer     *scope
	with      *cte // the innermost of the CTEs that can be seen
	// merged are columns of JOIN USING, which several relations may have;
	// natural: any can be one.
	merged  map[string]bool
	natural bool
	windows map[string]value
}

// ctes returns the CTEs that sc sees.
func (sc *scope) ctes() *cte {
	if sc == nil {
		return nil
	}
	return sc.with
}

// inside returns a scope for a query inside sc.
func inside(sc *scope, relations ...*relation) *scope {
	return &scope{relations: relations, outer: sc, with: sc.ctes()}
}

// name finds what an unqualified name can mean.
func (w *walker) name(name string, sc *scope) value {
	var v value
	found := false
	join := func(x value) {
		if found {
			v = w.either(v, x)
		} else {
			v, found = x, true
		}
	}
	for s := sc; s != nil; s = s.outer {
		sure := false
		var certain, likely []value
		for _, r := range s.relations {
			if r.qualified {
				continue
			}
			x, has, is := r.named(w, name)
			switch {
			case is:
				sure = true
				certain = append(certain, x)
			case has:
				likely = append(likely, x)
			}
		}
		for _, x := range certain {
			join(x)
		}
		// Were there another, the server would find the name ambiguous,
		// unless a JOIN made one of both.
		if !sure || s.natural || s.merged[name] {
			for _, x := range likely {
				join(x)
			}
		}
		if sure {
			return w.use(v)
		}
	}
	if r := sc.relation(name); r != nil { // a whole row
		join(r.all(w))
	}
	if !found { // nothing that the server would accept
		for s := sc; s != nil; s = s.outer {
			for _, r := range s.relations {
				join(r.all(w))
			}
		}
	}
	return w.use(v)
}

// relation finds the innermost relation that is called so.
func (sc *scope) relation(alias string) *relation {
	for s := sc; s != nil; s = s.outer {
		for _, r := range s.relations {
			if r.alias == alias && alias != "" {
				return r
			}
		}
	}
	return nil
}

// relationsOf finds the innermost relations that schema.table can mean.
func (sc *scope) relationsOf(schema, table string) []*relation {
	for s := sc; s != nil; s = s.outer {
		var found []*relation
		for _, r := range s.relations {
			if r.base.Table == table && (schema == "" || r.base.Schema == "" || r.base.Schema == schema) {
				found = append(found, r)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// member finds what r.name can mean: a column, or a function that is called
// with the whole row.
func (w *walker) member(r *relation, name string) value {
	v, found, sure := r.named(w, name)
	if sure {
		return w.use(v)
	}
	if !found {
		v = w.both(r.all(w), w.calls(sql.Qualified{Name: name}))
		return w.use(shown(v))
	}
	for _, p := range r.parts {
		w.attribute(sql.Ref{Schema: p.Schema, Table: p.Table, Column: name})
	}
	if rowFunctions[name] {
		v = shown(w.both(v, w.both(r.all(w), w.calls(sql.Qualified{Name: name}))))
	}
	return w.use(v)
}

// attribute notes a name that may be a function's.
func (w *walker) attribute(r sql.Ref) {
	if put(&w.attributes, r) {
		w.st.Attributes = append(w.st.Attributes, r)
	}
}
