package sql

import "strings"

// A Scope is what the names of relations mean in a session, as its server said
// last. Own temporary relations are in a schema "pg_temp", as they can be
// written.
type Scope struct {
	// Path are the schemas in which a name without one is looked for, in order,
	// those that the server adds included.
	Path []string
	// Current is the schema in which a new relation comes to be, "" if there is
	// none.
	Current string
	// Relations are the schemas in which the names of relations are found first.
	Relations map[string]string
	// Shadows are names of functions that pg_catalog has, and another schema too.
	Shadows map[string]bool
	// Unclear says why the server's answer cannot be gone by, "" if it can.
	Unclear string

	children, parents, rules map[Qualified][]Qualified
}

// maxReached bounds how many relations the use of one reaches. Where it reaches
// more, one more than that is returned.
const maxReached = 10_000

// Reach notes that the use of a relation reaches another: one that is its child
// or partition, or that its view or rules are made of. Using a child reaches
// its parents as well, which show what it holds, but not their other children.
func (s *Scope) Reach(from, to Qualified, child bool) {
	if s.children == nil {
		s.children, s.parents, s.rules = map[Qualified][]Qualified{}, map[Qualified][]Qualified{}, map[Qualified][]Qualified{}
	}
	if !child {
		s.rules[from] = append(s.rules[from], to)
		return
	}
	s.children[from] = append(s.children[from], to)
	s.parents[to] = append(s.parents[to], from)
}

// found are the relations that a name may mean, those below them included. A
// name without a schema that is not known may mean a relation in any schema of
// the path that another session has just made; where there is none, "?" stands
// for its schema.
func (s *Scope) found(schema, name string) []Qualified {
	switch {
	case schema != "":
		if strings.HasPrefix(schema, "pg_temp_") {
			schema = "pg_temp" // of another session, it can hardly be reached
		}
		return s.reached(nil, Qualified{schema, name})
	case s.Relations[name] != "":
		return s.reached(nil, Qualified{s.Relations[name], name})
	}
	return s.possible(name)
}

// possible are the relations that an unknown name may come to mean.
func (s *Scope) possible(name string) (all []Qualified) {
	for _, schema := range s.Path {
		if schema != "pg_catalog" && schema != "pg_temp" {
			all = s.reached(all, Qualified{schema, name})
		}
	}
	if all == nil {
		return []Qualified{{"?", name}}
	}
	return all
}

// made are the relations that a name may mean which a statement makes: one in
// the current schema and, if it may mean another too, one that was there before.
func (s *Scope) made(name string, orAnother bool) (all []Qualified) {
	if s.Current != "" {
		all = append(all, Qualified{s.Current, name})
	}
	if schema := s.Relations[name]; orAnother && schema != "" && schema != s.Current {
		all = s.reached(all, Qualified{schema, name})
	}
	if all == nil {
		return []Qualified{{"?", name}}
	}
	return all
}

// madeBefore are the relations that a name may mean which an earlier statement
// of the same text makes.
func (s *Scope) madeBefore(name string, temporary bool) (all []Qualified) {
	if temporary {
		all = append(all, Qualified{"pg_temp", name})
	}
	if schema := s.Relations[name]; schema != "" {
		all = s.reached(all, Qualified{schema, name})
	}
	return append(all, s.possible(name)...)
}

// reached appends q and what its use reaches, each once.
func (s *Scope) reached(all []Qualified, q Qualified) []Qualified {
	all = append(all, q)
	if len(s.children)+len(s.rules) == 0 {
		return all
	}
	type step struct {
		Qualified
		up bool
	}
	seen, done := map[Qualified]bool{q: true}, map[step]bool{}
	for todo := []step{{q, false}}; len(todo) > 0 && len(all) <= maxReached; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if done[at] || at.up && done[step{at.Qualified, false}] {
			continue
		}
		done[at] = true
		if !seen[at.Qualified] {
			seen[at.Qualified] = true
			all = append(all, at.Qualified)
		}
		if !at.up {
			for _, c := range s.children[at.Qualified] {
				todo = append(todo, step{c, false})
			}
		}
		for _, p := range s.parents[at.Qualified] {
			todo = append(todo, step{p, true})
		}
		for _, r := range s.rules[at.Qualified] {
			todo = append(todo, step{r, false})
		}
	}
	return all
}

// dotted writes the parts of a name as conditions see them. A part that would
// be taken for two stands in quotes.
func dotted(parts ...string) string {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteByte('.')
		}
		if p == "" || strings.ContainsAny(p, `."`) {
			b.WriteString(`"` + strings.ReplaceAll(p, `"`, `""`) + `"`)
			continue
		}
		b.WriteString(p)
	}
	return b.String()
}
