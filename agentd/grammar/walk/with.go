package walk

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// A cte is a query of a WITH clause. It is read when it is first needed, since
// of recursive ones the later are seen by the earlier.
type cte struct {
	name  string
	def   *pg.CommonTableExpr
	scope *scope // where it is read
	next  *cte   // what else can be seen from where it can

	state cteState
	shape *shape
	self  *shape // what it is to itself, once its first part is known
	later []int  // the atoms that stand for its columns meanwhile,
	rest  int    // and for any of them
}

type cteState uint8

const (
	unread cteState = iota
	beingRead
	read
)

// withClause reads WITH, and returns outer with what it makes visible.
func (w *walker) withClause(with *pg.WithClause, outer *scope) *scope {
	if with == nil {
		return outer
	}
	sc := &scope{outer: outer, with: outer.ctes()}
	var all []*cte
	for _, node := range with.Ctes {
		def := node.GetCommonTableExpr()
		if def == nil {
			w.unknown("a query of WITH", node)
			continue
		}
		c := &cte{name: def.Ctename, def: def, next: sc.with, scope: &scope{outer: outer, with: sc.with}}
		sc.with = c
		all = append(all, c)
	}
	for _, c := range all {
		if with.Recursive {
			c.scope.with = sc.with
		}
	}
	for _, c := range all { // those that nothing refers to, too
		w.cteShape(c)
	}
	return sc
}

// find finds a CTE by its name, nil if there is none.
func (c *cte) find(name string) *cte {
	for ; c != nil; c = c.next {
		if c.name == name {
			return c
		}
	}
	return nil
}

// cteShape is what c returns.
func (w *walker) cteShape(c *cte) *shape {
	switch c.state {
	case read:
		return c.shape
	case beingRead:
		return c.itself(w)
	}
	c.state = beingRead
	if s := c.def.Ctequery.GetSelectStmt(); s != nil {
		if w.reading == nil {
			w.reading = make(map[*pg.SelectStmt]*cte)
		}
		w.reading[s] = c
	}
	c.shape = w.query(c.def.Ctequery, c.scope).rename(w, stringsOf(c.def.Aliascolnames))
	c.known(w)
	c.shape = c.extended(w)
	c.state = read
	return c.shape
}

// itself is what c returns, as far as it is known while it is being read.
func (c *cte) itself(w *walker) *shape {
	if c.self == nil {
		return w.unclearShape() // the server refuses this
	}
	return c.self
}

// first tells c the shape of its first part. Atoms stand for what the others
// will add.
func (c *cte) first(w *walker, s *shape) {
	s = s.rename(w, stringsOf(c.def.Aliascolnames))
	c.rest = w.laterAtom()
	self := &shape{open: s.open, parts: s.parts}
	if s.open {
		self.further = value{of: w.union(s.further.of, one(c.rest))}
	}
	for _, col := range s.columns {
		n := c.rest
		if !s.open {
			n = w.laterAtom()
			c.later = append(c.later, n)
		}
		col.value = value{of: w.union(col.value.of, one(n))}
		self.columns = append(self.columns, col)
	}
	c.self = self
}

// known resolves the atoms that stood for c.
func (c *cte) known(w *walker) {
	if c.self == nil {
		return
	}
	w.list[c.rest].later = c.shape.all(w).of
	for i, n := range c.later {
		if !c.shape.open && i < len(c.shape.columns) {
			w.list[n].later = c.shape.columns[i].value.of
		} else {
			w.list[n].later = w.list[c.rest].later
		}
	}
}

// extended adds the columns of SEARCH and CYCLE.
func (c *cte) extended(w *walker) *shape {
	search, cycle := c.def.SearchClause, c.def.CycleClause
	if search == nil && cycle == nil {
		return c.shape
	}
	s := new(shape)
	s.join(w, c.shape)
	of := func(names []string) (v value) {
		for _, name := range names {
			x, _, _ := c.shape.named(w, name)
			v = w.both(v, x)
		}
		return w.use(derived(v))
	}
	if search != nil {
		s.add(column{search.SearchSeqColumn, true, of(stringsOf(search.SearchColList))})
	}
	if cycle != nil {
		v := of(stringsOf(cycle.CycleColList))
		w.decides(v)
		v = w.both(v, w.both(w.expr(cycle.CycleMarkValue, c.scope), w.expr(cycle.CycleMarkDefault, c.scope)))
		s.add(column{cycle.CycleMarkColumn, true, v})
		s.add(column{cycle.CyclePathColumn, true, v})
	}
	return s
}
