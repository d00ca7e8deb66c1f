package postgres

import (
	"fmt"
	"slices"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// A hook is code from before that runs without a word of the statement that makes it run: a
// trigger, a rule, a default, a check, a policy, a view's definition, the order of
// a type. What is not known of it is held against whoever uses its relation, as
// if the statement had called the function itself.
type hook struct {
	schema   string // of the relation that it is of, or belongs to
	on       event
	latent   bool          // it is switched off, which a definition can change
	what     string        // "the trigger t of public.orders"
	function sql.Qualified // empty: it uses protected columns itself
}

// A herald is an event trigger: code of all definitions, or of those with tags.
type herald struct {
	tags string // of commands, with commas between them
	hook
}

// An event is what makes code run, as the catalogue's query counts.
type event uint8

const (
	reads event = 1 << iota
	inserts
	updates
	deletes
	truncates
	tends // whatever else is done to a relation
)

// events are those of statements by their verb; of a verb that is not here, all.
var events = map[string]event{
	"select": reads, "values": reads, "table": reads, "with": reads, "explain": 0, "prepare": 0, "declare": 0, "lock": 0,
	"insert": inserts, "update": updates | reads, "delete": deletes | reads,
	"merge": reads, "truncate": truncates, "copy": inserts | reads,
	"drop": 0, "grant": 0, "revoke": 0, "comment": 0,
}

// hook keeps a row of the catalogue about one.
func (k *known) hook(v *[rowColumns]string, on event) {
	h := hook{schema: v[3], on: on, latent: v[9] == "t", what: v[7], function: sql.Qualified{Schema: v[6], Name: v[5]}}
	if v[0] == "e" {
		k.heralds = append(k.heralds, herald{tags: v[4], hook: h})
		return
	}
	k.hooks[v[4]] = append(k.hooks[v[4]], h)
}

// hooked looks at what a statement makes run that it does not name.
func (w *weighing) hooked(s *sql.Statement) {
	if s.DDL {
		for i := range w.heralds {
			if h := &w.heralds[i]; h.hears(s.Verbs, w.facts.Commands) && (w.several || !h.latent) {
				w.runs(&h.hook)
			}
		}
	}
	if len(w.known.hooks) == 0 {
		return
	}
	var on event
	for _, verb := range s.Verbs {
		e, ok := events[verb]
		if !ok {
			e = ^event(0)
		}
		on |= e
	}
	for _, t := range s.Tables {
		happens := on
		if !t.Write && on != ^event(0) {
			happens &= reads
		}
		for i := range w.known.hooks[t.Table] {
			h := &w.known.hooks[t.Table][i]
			if h.on&happens != 0 && (!h.latent || on == ^event(0)) && (t.Schema == "" || t.Schema == h.schema || w.defines) {
				w.runs(h)
			}
		}
	}
}

// hookedByWords is what a text of which only the words are known may make run:
// all hooks of what has such a name.
func (k *known) hookedByWords(facts *sql.Facts, words []string) []decoders.Exposure {
	w := weighing{known: k, lineage: &lineage{}}
	for i := range k.heralds {
		if h := &k.heralds[i]; slices.ContainsFunc(facts.Verbs, func(v string) bool { return v == "create" || v == "alter" || v == "drop" }) &&
			h.hears(facts.Verbs, facts.Commands) {
			w.runs(&h.hook)
		}
	}
	for _, word := range words {
		name := strings.Trim(word, `"`)
		for i := range k.hooks[name] {
			w.runs(&k.hooks[name][i])
		}
	}
	return w.lineage.exposures
}

// hears reports whether the event trigger is one of statements that do so: of
// what they create, alter and drop, commands say what it is.
func (h *herald) hears(verbs, commands []string) bool {
	if h.tags == "" {
		return true
	}
	for tag := range strings.SplitSeq(strings.ToLower(h.tags), ",") {
		verb, _, _ := strings.Cut(tag, " ")
		known := false
		for _, c := range commands {
			if strings.HasPrefix(c, verb+" ") {
				known = true
				if strings.HasPrefix(tag, c) {
					return true
				}
			}
		}
		if !known && slices.Contains(verbs, verb) {
			return true
		}
	}
	return false
}

// runs exposes what a hook could do.
func (w *weighing) runs(h *hook) {
	e := decoders.Exposure{Risk: decoders.Carries, What: h.what + " could show or store them", Columns: w.wanted}
	if h.function.Name != "" {
		e.Risk, e.Function = decoders.Calls, title(h.function)
		e.What = fmt.Sprintf("%s calls %s, of which nothing is known, and which could read or keep them", h.what, e.Function)
	}
	if !slices.ContainsFunc(w.lineage.exposures, func(o decoders.Exposure) bool { return o.What == e.What }) {
		w.lineage.exposures = append(w.lineage.exposures, e)
	}
}
