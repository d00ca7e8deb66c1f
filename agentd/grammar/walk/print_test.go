package walk_test

import (
	"fmt"
	"strings"

	"agentd.dev/decoders/sql"
)

// compact prints a Meaning in few words:
//
//	select t+w | columns | ?predicates | =outputs | >moves | f()functions | ...
//
// An output is its refs, "!" if plain, "#" if it counts, "~" if unclear, with
// the functions it passed through.
func compact(m sql.Meaning) string {
	if m.Unclear != "" {
		return "unclear: " + m.Unclear
	}
	var list []string
	for _, s := range m.Statements {
		list = append(list, statement(s))
	}
	return strings.Join(list, "; ")
}

func statement(s sql.Statement) string {
	parts := []string{strings.Join(s.Verbs, ",")}
	add := func(mark string, words []string) {
		if len(words) > 0 {
			parts = append(parts, mark+" "+strings.Join(words, " "))
		}
	}
	var tables []string
	for _, t := range s.Tables {
		name := dotted(t.Schema, t.Table)
		if t.Write {
			name += "+w"
		}
		tables = append(tables, name)
	}
	add("on", tables)
	add("uses", refs(s.Columns))
	add("decides", refs(s.Predicates))
	add("may fail by", refs(s.Partial))
	switch {
	case s.Open:
		add("open", []string{output(s.All)})
		if len(s.First)+len(s.Last) > 0 {
			add("first", outputs(s.First))
			add("last", outputs(s.Last))
		}
	case s.Outputs != nil:
		add("out", outputs(s.Outputs))
	}
	for _, m := range s.Moves {
		to := dotted(m.To.Schema, m.To.Table, m.To.Column)
		if to == "" {
			to = "outside"
		}
		parts = append(parts, to+"<-"+output(m.From))
	}
	var writes []string
	for _, x := range s.Writes {
		writes = append(writes, x.Verb+":"+dotted(x.To.Schema, x.To.Table, x.To.Column))
	}
	add("writes", writes)
	add("calls", names(s.Functions))
	add("types", names(s.Types))
	add("operators", names(s.Operators))
	add("attributes", refs(s.Attributes))
	add("sets", s.Sets)
	if s.Copy != "" {
		parts = append(parts, "copy "+s.Copy)
	}
	if s.Since != 0 {
		parts = append(parts, fmt.Sprintf("since %d", s.Since))
	}
	for _, f := range []struct {
		is   bool
		word string
	}{{!s.HasWhere, "everywhere"}, {s.DDL, "ddl"}, {s.Utility, "utility"}, {s.Opaque, "opaque"}} {
		if f.is {
			parts = append(parts, f.word)
		}
	}
	return strings.Join(parts, " | ")
}

func outputs(list []sql.Output) (words []string) {
	for _, o := range list {
		words = append(words, output(o))
	}
	return words
}

func output(o sql.Output) string {
	words := refs(o.Refs)
	for _, f := range o.Functions {
		words = append(words, dotted(f.Schema, f.Name)+"()")
	}
	s := "[" + strings.Join(words, " ") + "]"
	for _, f := range []struct {
		is   bool
		mark string
	}{{o.Plain, "!"}, {o.Counts, "#"}, {o.Unclear, "~"}} {
		if f.is {
			s += f.mark
		}
	}
	return s
}

func refs(list []sql.Ref) (words []string) {
	for _, r := range list {
		words = append(words, dotted(r.Schema, r.Table, r.Column))
	}
	return words
}

func names(list []sql.Qualified) (words []string) {
	for _, q := range list {
		words = append(words, dotted(q.Schema, q.Name))
	}
	return words
}

func dotted(words ...string) string {
	for len(words) > 0 && words[0] == "" {
		words = words[1:]
	}
	return strings.Join(words, ".")
}
