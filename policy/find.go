package policy

import (
	"slices"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/decoders/patterns"
	"agentd.dev/policy/document"
)

// maxFinds bounds the patterns of one rule.
const maxFinds = 64

// readFind reads the patterns that a rule looks for: by their names, or as
// expressions of the user's own.
func (r *rule) readFind(v document.Value) {
	n := 0
	v.List(func(v document.Value) {
		if n++; n == maxFinds+1 {
			v.Problem("more than %d patterns: make several rules", maxFinds)
		}
		if v.IsMap() {
			r.readExpression(v)
			return
		}
		names := make([]string, len(patterns.All))
		for i, p := range patterns.All {
			names[i] = p.Name
		}
		if i, ok := v.Choice(names); ok {
			r.find = append(r.find, patterns.All[i])
		}
	})
	if n == 0 {
		v.Problem("name at least one pattern, as email, or {name: badge, re: 'B-[0-9]{6}'}")
	}
}

// readExpression reads {name: badge, re: 'B-[0-9]{6}'}.
func (r *rule) readExpression(v document.Value) {
	var name, expression string
	var at *document.Value
	v.Map([]document.Key{
		{Name: "name", Required: true, Read: func(v document.Value) {
			text, ok := v.Text()
			_, known := patterns.Named(text)
			switch {
			case !ok:
			case !ruleName.MatchString(text):
				v.Problem("%q cannot name a pattern: use up to 64 letters, digits, dots, dashes and underscores", text)
			case known:
				v.Problem("%q is a pattern that agentd has: write its name alone, or call yours something else", text)
			default:
				name = text
			}
		}},
		{Name: "re", Required: true, Read: func(v document.Value) {
			expression, _ = v.Text()
			at = &v
		}},
	})
	if name == "" || at == nil {
		return
	}
	p, err := patterns.Regexp(name, expression)
	if err != nil {
		at.Problem("%v", err)
		return
	}
	p.Doc = expression
	r.find = append(r.find, p)
}

// everywhere reports whether the rule searches all columns.
func (r *rule) everywhere() bool { return len(r.find) > 0 && len(r.columns) == 0 }

// says is all that a rule that searches says, so that two readings of it can be
// compared.
func (r *rule) says() string {
	parts := []string{r.name, r.source, r.as}
	for _, p := range r.find {
		parts = append(parts, p.Name, p.Doc)
	}
	return strings.Join(parts, "\x00")
}

// search returns what rules look for, together: nil for no rules. Of a pattern
// that several name, the first says what becomes of it, unless a later one
// leaves NULL.
func search(rules []*rule) *decoders.Search {
	var all []patterns.Pattern
	s := new(decoders.Search)
	for _, r := range rules {
		for _, p := range r.find {
			kind := decoders.Kind{Name: p.Name, Way: r.way}
			i := slices.IndexFunc(all, func(other patterns.Pattern) bool { return other.Name == p.Name && other.Doc == p.Doc })
			_, named := patterns.Named(p.Name)
			s.Anything = s.Anything || !named
			switch {
			case i < 0:
				all = append(all, p)
				s.Kinds = append(s.Kinds, kind)
			case r.way == nil:
				s.Kinds[i].Way = nil
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	s.Finder = patterns.New(all...)
	return s
}
