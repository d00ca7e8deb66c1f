package policy

import (
	"time"

	"agentd.dev/policy/document"
)

// A source is one policy file.
type source struct {
	rules, lists, macros *document.Value
	zone                 *time.Location
}

// readSource reads what a file consists of. Its lists, macros and rules are read
// when those of all files are known.
func readSource(v document.Value) source {
	s := source{zone: time.UTC}
	v.Map(s.keys())
	if s.rules == nil && s.lists == nil && s.macros == nil && v.IsMap() {
		v.Problem("%q is missing", "rules")
	}
	return s
}

// keys are the keys of a file.
func (s *source) keys() []document.Key {
	keep := func(to **document.Value) func(document.Value) {
		return func(v document.Value) { *to = &v }
	}
	return []document.Key{
		{Name: "rules", Read: keep(&s.rules)},
		{Name: "lists", Read: keep(&s.lists)},
		{Name: "macros", Read: keep(&s.macros)},
		{Name: "timezone", Read: readZone(&s.zone)},
	}
}

// readRules reads the rules but for their conditions.
func (s *source) readRules(key Key) (rules []*rule) {
	if s.rules == nil {
		return nil
	}
	s.rules.List(func(v document.Value) {
		r := readRule(v, key)
		r.zone = s.zone
		rules = append(rules, r)
	})
	return rules
}
