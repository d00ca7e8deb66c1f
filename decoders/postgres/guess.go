package postgres

import (
	"slices"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// A guard is where to write tells, by failing, whether values of a protected
// column are there: the agent's guess is, or is not.
type guard struct {
	schema string
	column string // "" for any, or none
	on     event
	tied   bool            // by a foreign key, and not kept apart by a unique one
	root   decoders.Column // the protected one
}

// guard keeps a row of the catalogue about one.
func (k *known) guard(v *[rowColumns]string, on event) {
	root := decoders.Column{Schema: v[6], Table: v[7], Name: v[8], Derived: true}
	k.guards[v[4]] = append(k.guards[v[4]], guard{schema: v[3], column: v[5], on: on, tied: v[9] == "t", root: root})
	k.guarded = merged(k.guarded, []decoders.Column{root})
}

// narrowGuards leaves of the guards of views those of columns that are made of
// guarded ones: the server's dependencies do not say which those are.
func (k *known) narrowGuards() {
	for changed := true; changed; {
		changed = false
		for i := range k.views {
			v := &k.views[i]
			if outputs := v.outputs(); outputs != nil {
				all := k.guards[v.name.Table]
				left := slices.DeleteFunc(slices.Clone(all), func(g guard) bool {
					named := g.root.Schema == v.name.Schema && g.root.Table == v.name.Table // by a rule
					return g.column != "" && g.schema == v.name.Schema && !named && !k.passes(outputs[g.column], g)
				})
				if len(left) < len(all) {
					k.guards[v.name.Table], changed = left, true
				}
			}
		}
	}
}

// passes reports whether writing what shows as o may write what g guards.
func (k *known) passes(o *sql.Output, g guard) bool {
	if o == nil || o.Unclear {
		return true
	}
	return slices.ContainsFunc(o.Refs, func(r sql.Ref) bool {
		return r.Table == "" || slices.ContainsFunc(k.guards[r.Table], func(base guard) bool {
			return base.root == g.root && base.on&g.on != 0 && base.is(r)
		})
	})
}

// is reports whether a name may be that of what is guarded.
func (g *guard) is(r sql.Ref) bool {
	return (r.Schema == "" || r.Schema == g.schema) && (g.column == "" || r.Column == "*" || r.Column == g.column)
}

// writing is what happens on each verb of sql.Write.
var writing = map[string]event{"insert": inserts, "update": updates, "delete": deletes, "alter": inserts | updates}

// guesses refuses what tells by failing whether a value is there.
func (w *weighing) guesses(s *sql.Statement) {
	var kept, tied []decoders.Column
	for _, x := range s.Writes {
		w.lineage.writes = true
		if x.To.Table == "" {
			kept = merged(kept, w.known.guarded)
		}
		for _, g := range w.known.guards[x.To.Table] {
			switch {
			case g.on&writing[x.Verb] == 0 || !g.is(x.To):
			case g.tied:
				tied = merged(tied, []decoders.Column{g.root})
			default:
				kept = merged(kept, []decoders.Column{g.root})
			}
		}
		if x.Verb != "delete" && x.To.Table != "" && len(w.relations[x.To.Table]) == 0 { // a table that came later: its keys are not known
			kept = merged(kept, w.matching(x.To))
		}
	}
	if len(kept) > 0 {
		w.expose(decoders.Guesses, "it writes under a unique key, and whether that fails tells whether a value is there", kept)
	}
	if len(tied) > 0 {
		w.expose(decoders.Guesses, "it writes to one end of a foreign key, and whether that fails tells whether a value is at the other", tied)
	}
	if s.DDL && slices.ContainsFunc(s.Tables, func(t sql.Table) bool { return len(w.known.guards[t.Table]) > 0 }) {
		w.lineage.remakes = true
	}
}

// blind is what a statement exposes that writes, while one that was sent before
// it may put other names to what is guarded.
func (k *known) blind() decoders.Exposure {
	return decoders.Exposure{
		Risk: decoders.Guesses, Columns: k.guarded,
		What: "another one, which has not ended, changes what has to do with their keys, and perhaps what this one writes: send it once that has",
	}
}

// guessing are the exposures of r, sent now.
func (d *decoder) guessing(r *reading) []decoders.Exposure {
	if !d.remade || r.lineage != nil && !r.lineage.writes || len(d.catalogue.guarded) == 0 {
		return r.exposures
	}
	return append(slices.Clip(r.exposures), d.catalogue.blind())
}

// guessesByWords is what a text of which only the words are known may write.
func (k *known) guessesByWords(facts *sql.Facts, words []string) []decoders.Exposure {
	for _, verb := range facts.Verbs {
		if verb != "insert" && verb != "update" && verb != "delete" && verb != "merge" && verb != "copy" && verb != "alter" {
			continue
		}
		for _, word := range words {
			if len(k.guards[strings.Trim(word, `"`)]) > 0 {
				return []decoders.Exposure{{
					Risk: decoders.Guesses, Columns: k.guarded,
					What: "it names a table that has to do with their keys, and whether it fails may tell whether a value is there",
				}}
			}
		}
	}
	return nil
}
