package postgres

import (
	"slices"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// maxViews is of how many views the definitions are studied; of others, every
// column counts as protected.
const maxViews = 1000

// A view may show protected columns, the catalogue says, but not whether it does,
// and in which of its own: of those it says all. Its definition tells.
type view struct {
	at       uint64 // its OID
	name     decoders.ColumnName
	relation *relation
	facts    *sql.Facts // of its definition
	meaning  *sql.Meaning
}

// unread returns the views whose definitions the grammar has yet to be asked
// about, and takes what it knows already.
func (d *decoder) unread() (rest []*view) {
	views, g := d.catalogue.views, d.want.Grammar
	for i := range views {
		v := &views[i]
		if v.meaning != nil || g == nil || len(v.facts.Key) == 0 || v.facts.Unclassified != "" {
			continue
		}
		if m, ok := g.Known(v.facts.Key); ok {
			v.meaning = d.asMeaning(m)
		} else {
			rest = append(rest, v)
		}
	}
	return rest
}

// studyViews returns what is to be called before the views are known, nil if
// they are.
func (d *decoder) studyViews() func() {
	rest, g := d.unread(), d.want.Grammar
	if len(rest) == 0 {
		return nil
	}
	return func() {
		for _, v := range rest {
			v.meaning = d.asMeaning(g.Study(v.facts.Key, v.facts.Skeleton()))
		}
	}
}

// narrow leaves of the columns of views those that can show protected ones. It
// starts with all and takes away, until what views on views show agrees with
// what those show.
func (k *known) narrow() {
	for changed := true; changed; {
		changed = false
		for i := range k.views {
			changed = k.narrowed(&k.views[i]) || changed
		}
	}
	k.narrowGuards()
	k.unwatch()
	k.names = map[string]bool{}
	for _, c := range k.wanted {
		k.names[c.Name] = true
	}
	for _, relations := range k.relations {
		for _, r := range relations {
			for i := range r.columns {
				if len(r.columns[i].protected) > 0 {
					k.names[r.columns[i].name] = true
				}
			}
		}
	}
}

// unwatch has statements no longer watched for views that show nothing.
func (k *known) unwatch() {
	bare := map[decoders.ColumnName]bool{}
	for i := range k.views {
		if v := &k.views[i]; len(v.relation.whole) == 0 {
			bare[v.name] = true
		}
	}
	rules := k.watch[:len(k.wanted)]
	k.watch = append(rules, slices.DeleteFunc(k.watch[len(rules):], func(c decoders.ColumnName) bool {
		return bare[decoders.ColumnName{Schema: c.Schema, Table: c.Table}]
	})...)
}

// narrowed takes away from a view what its columns cannot show, and says
// whether that was anything.
func (k *known) narrowed(v *view) (changed bool) {
	outputs, r := v.outputs(), v.relation
	for i := range r.columns {
		a := &r.columns[i]
		o := outputs[a.name]
		if o == nil {
			continue
		}
		shown := k.shown(o)
		left := slices.DeleteFunc(slices.Clone(a.protected), func(c decoders.Column) bool {
			named := c.Schema == v.name.Schema && c.Table == v.name.Table // by a rule
			return !named && !slices.ContainsFunc(shown, func(p decoders.Column) bool {
				return may(p.Schema, c.Schema) && may(p.Table, c.Table) && may(p.Name, c.Name)
			})
		})
		if len(left) < len(a.protected) {
			a.protected, changed = left, true
		}
	}
	if !changed {
		return false
	}
	r.whole = nil
	for _, a := range r.columns {
		r.whole = merged(r.whole, a.protected)
		at := v.at<<16 | uint64(uint16(a.number))
		k.columns[at] = slices.DeleteFunc(k.columns[at], func(c decoders.Column) bool {
			c.Derived = true
			return !slices.Contains(a.protected, c)
		})
	}
	k.columns[v.at<<16] = r.whole
	return true
}

// outputs are what the columns of a view are made of, by their names; nil if the
// definition does not tell.
func (v *view) outputs() map[string]*sql.Output {
	if !clearly(v.facts, v.meaning) || v.facts.Statements != 1 {
		return nil
	}
	s, all := &v.meaning.Statements[0], v.relation.columns
	first := slices.IndexFunc(all, func(a attribute) bool { return a.number > 0 }) // behind the system's
	if s.Open || first < 0 || len(s.Outputs) != len(all[first:]) {
		return nil
	}
	found := make(map[string]*sql.Output, len(s.Outputs))
	for i := range s.Outputs {
		found[all[first+i].name] = &s.Outputs[i]
	}
	return found
}

// shown is what a column of a view can show: everything, if code that is not
// known made it.
func (k *known) shown(o *sql.Output) []decoders.Column {
	stranger := func(f sql.Qualified) bool { return k.function(f) != sound && k.operator(f) != sound }
	if o.Unclear || slices.ContainsFunc(o.Functions, stranger) {
		return []decoders.Column{{Schema: "*", Table: "*", Name: "*"}}
	}
	var found []decoders.Column
	for _, ref := range o.Refs {
		found = append(found, k.matching(ref)...)
	}
	return found
}
