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
	// Below are, for a relation, all those that its use reaches: children and
	// parents, partitions, and what a view and its rules are made of.
	Below map[Qualified][]Qualified
	// Shadows are names of functions that pg_catalog has, and another schema too.
	Shadows map[string]bool
	// Unclear says why the server's answer cannot be gone by, "" if it can.
	Unclear string
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
// the current schema, and one that was there before.
func (s *Scope) made(name string) (all []Qualified) {
	if s.Current != "" {
		all = append(all, Qualified{s.Current, name})
	}
	if schema := s.Relations[name]; schema != "" && schema != s.Current {
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

func (s *Scope) reached(all []Qualified, q Qualified) []Qualified {
	return append(append(all, q), s.Below[q]...)
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
