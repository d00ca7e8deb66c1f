package walk

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// rangeFunction reads functions in FROM. How many rows they return shows what
// they were called with, so that it decides.
func (w *walker) rangeFunction(f *pg.RangeFunction, sc *scope) *relation {
	s := new(shape)
	alias := f.Alias.GetAliasname()
	if len(f.Functions) > 1 {
		alias = "" // their columns are called as the functions are
	}
	for _, node := range f.Functions {
		parts := node.GetList().GetItems()
		if len(parts) == 0 {
			w.unknown("a function in FROM", node)
			continue
		}
		v := w.expr(parts[0], sc)
		w.decides(v)
		defs := f.Coldeflist
		if len(parts) > 1 && len(parts[1].GetList().GetItems()) > 0 {
			defs = parts[1].GetList().Items
		}
		s.join(w, w.functionShape(parts[0], defs, alias, v))
	}
	if f.Ordinality {
		s.add(column{"ordinality", true, value{}})
	}
	if f.Alias == nil {
		r := &relation{shape: s}
		if len(f.Functions) > 0 {
			r.alias, _ = figure(f.Functions[0].GetList().GetItems()[0])
		}
		return r
	}
	return aliased(w, s, f.Alias)
}

// functionShape is what a function in FROM returns.
func (w *walker) functionShape(call *pg.Node, defs []*pg.Node, alias string, v value) *shape {
	v = derived(v)
	s := new(shape)
	for _, node := range defs {
		def := node.GetColumnDef()
		if def == nil {
			w.unknown("a column of a function", node)
			continue
		}
		w.typed(def.TypeName)
		s.add(column{def.Colname, true, v})
	}
	if len(defs) > 0 {
		return s
	}
	name := qualified(call.GetFuncCall().GetFuncname())
	names, known := rowsOf[name.Name]
	if !known || name.Schema != "" && name.Schema != "pg_catalog" {
		return &shape{open: true, further: v}
	}
	for _, n := range names {
		if n == "" { // called as the relation is
			n = alias
			if n == "" {
				n = name.Name
			}
		}
		s.add(column{n, true, v})
	}
	return s
}

// xmlTable reads XMLTABLE.
func (w *walker) xmlTable(t *pg.RangeTableFunc, sc *scope) *relation {
	v := w.both(w.expr(t.Docexpr, sc), w.expr(t.Rowexpr, sc))
	v = w.both(v, w.exprs(t.Namespaces, sc))
	s := new(shape)
	for _, node := range t.Columns {
		c := node.GetRangeTableFuncCol()
		if c == nil {
			w.unknown("a column of XMLTABLE", node)
			continue
		}
		w.typed(c.TypeName)
		v = w.both(v, w.both(w.expr(c.Colexpr, sc), w.expr(c.Coldefexpr, sc)))
		s.add(column{name: c.Colname, sure: true})
	}
	return w.tableOf(s, v, t.Alias)
}

// jsonTable reads JSON_TABLE.
func (w *walker) jsonTable(t *pg.JsonTable, sc *scope) *relation {
	w.since(17)
	v := w.jsonValue(t.ContextItem, sc)
	v = w.both(v, w.exprs(t.Passing, sc))
	v = w.both(v, w.jsonBehavior(t.OnError, sc))
	v = w.both(v, w.jsonPath(t.Pathspec, sc))
	s := new(shape)
	v = w.both(v, w.jsonColumns(s, t.Columns, sc))
	return w.tableOf(s, v, t.Alias)
}

// jsonColumns adds the columns of a JSON_TABLE to s, those nested in others
// included.
func (w *walker) jsonColumns(s *shape, columns []*pg.Node, sc *scope) value {
	var v value
	if !w.enter() {
		w.leave()
		return v
	}
	defer w.leave()
	for _, node := range columns {
		c := node.GetJsonTableColumn()
		if c == nil {
			w.unknown("a column of JSON_TABLE", node)
			continue
		}
		w.typed(c.TypeName)
		v = w.both(v, w.jsonPath(c.Pathspec, sc))
		v = w.both(v, w.both(w.jsonBehavior(c.OnEmpty, sc), w.jsonBehavior(c.OnError, sc)))
		if c.Coltype == pg.JsonTableColumnType_JTC_NESTED {
			v = w.both(v, w.jsonColumns(s, c.Columns, sc))
			continue
		}
		s.add(column{name: c.Name, sure: true})
	}
	return v
}

// tableOf is a relation whose every column is made of v.
func (w *walker) tableOf(s *shape, v value, alias *pg.Alias) *relation {
	v = derived(v)
	w.decides(v)
	for i := range s.columns {
		s.columns[i].value = v
	}
	return aliased(w, s, alias)
}
