package policy

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"agentd.dev/policy/document"
)

// known reports names that no language has.
func (c *compiler) known(parsed *cel.Ast, r *reading) bool {
	ok := true
	for _, m := range r.mentions {
		name, found := resolve(m.path, c.languages)
		switch {
		case m.test:
			c.problem(parsed, m.id, testAdvice(name))
		case c.lexicon.owns(m.path) && !c.lexicon.has(m.path):
			c.problem(parsed, m.id, c.unknown(m.path, r))
		case found || celName(m.path) || c.lexicon.has(m.path):
			continue
		default:
			c.problem(parsed, m.id, c.unknown(m.path, r))
		}
		ok = false
	}
	for _, m := range r.own {
		if c.namespace(m.path) {
			c.problem(parsed, m.id, fmt.Sprintf("%q is a name already: call the variable something else, as v", m.path))
			ok = false
		}
	}
	for _, cmp := range r.comparisons {
		if cmp.path != "target.protocol" {
			continue
		}
		for _, value := range cmp.values {
			if protocols := names(c.languages); !slices.Contains(protocols, value) {
				c.problem(parsed, cmp.id, fmt.Sprintf("there is no protocol %q%s", value, document.Choices(value, protocols)))
				ok = false
			}
		}
	}
	return ok
}

// namespace reports whether names begin with that word, as "sql" or "target".
func (c *compiler) namespace(word string) bool {
	if slices.Contains(words, word) {
		return true
	}
	for _, l := range c.languages {
		for name := range l.slots {
			if first, _, _ := strings.Cut(name, "."); first == word {
				return true
			}
		}
	}
	return false
}

func testAdvice(name string) string {
	if owner, ok := strings.CutSuffix(name, ".labels"); ok {
		return fmt.Sprintf(`has() is not needed: a label that a %s does not have is ""; compare with that, or write "name" in %s`, owner, name)
	}
	return "has() is not needed: every field has a value"
}

// celName reports whether path is something of CEL itself.
func celName(path string) bool {
	switch path {
	case "bool", "bytes", "double", "duration", "dyn", "int", "list", "map", "null_type", "string", "timestamp", "type", "uint":
		return true
	}
	return strings.HasPrefix(path, "google.protobuf.")
}

// unknown says that path is no name, and which may have been meant.
func (c *compiler) unknown(path string, r *reading) string {
	languages := c.restricted(r)
	var candidates []string
	for _, l := range languages {
		candidates = append(candidates, l.names()...)
	}
	candidates = append(candidates, c.lexicon.names...)
	slices.Sort(candidates)
	candidates = slices.Compact(candidates)
	parts := strings.Split(path, ".")
	if fields := slices.DeleteFunc(slices.Clone(candidates), func(n string) bool { return !strings.HasPrefix(n, path+".") }); len(fields) > 0 {
		return fmt.Sprintf("%q is not a value: name one of its fields, as %s", path, document.List(fields))
	}
	depth := 2
	if parts[0] == "usage" { // the one that is deeper
		depth = 3
	}
	path = strings.Join(parts[:min(len(parts), depth)], ".")
	who := "no protocol has a field"
	switch {
	case slices.Contains(words, parts[0]) || parts[0] == "target" || parts[0] == "workload" || len(parts) == 1:
		who = "there is no"
	case len(languages) == 1 || len(languages) == 2 && languages[0].name == "":
		who = languages[len(languages)-1].name + " has no field"
	}
	return fmt.Sprintf("%s %q%s", who, path, document.Suggest(path, candidates))
}
