package policy

import (
	"slices"

	"cel.dev/cel-go/cel"

	"agentd.dev/decoders"
)

// choose returns the languages to compile for: those that have all the fields
// r speaks of. A condition that names a protocol must get along with it.
func (c *compiler) choose(parsed *cel.Ast, r *reading) []*language {
	if r.general(c.languages) {
		return c.languages[:1]
	}
	restricted := c.restricted(r)
	if len(restricted) == 0 {
		c.at.Problem("the condition cannot hold: target.protocol is compared with different protocols")
		return nil
	}
	named := restricted[0] != c.languages[0]
	if !named {
		restricted = restricted[1:]
	}
	var chosen []*language
	var missing *mention
	for _, l := range restricted {
		m := l.missing(r, c.kinds)
		if m == nil {
			chosen = append(chosen, l)
			continue
		}
		if named {
			c.problem(parsed, m.id, l.lacks(m.path, c.kinds))
		} else if missing == nil {
			missing = m
		}
	}
	if len(chosen) == 0 && missing != nil {
		c.problem(parsed, missing.id, c.none(missing.path))
	}
	return chosen
}

// restricted are the languages of the protocols that r can hold for.
func (c *compiler) restricted(r *reading) []*language {
	left := slices.Clone(c.languages)
	for _, cmp := range r.comparisons {
		if cmp.path == "target.protocol" && cmp.needed {
			left = slices.DeleteFunc(left, func(l *language) bool { return !slices.Contains(cmp.values, l.name) })
		}
	}
	return left
}

// none says why no protocol can be asked for path here.
func (c *compiler) none(path string) string {
	for _, l := range c.languages[1:] {
		if len(c.languages) == 2 || l.owns(path) && !l.has(path, c.kinds) {
			return l.lacks(path, c.kinds)
		}
	}
	return "no protocol has all the fields of this condition: make one rule for each protocol"
}

// general reports whether r speaks of no protocol's fields.
func (r *reading) general(languages []*language) bool {
	return !slices.ContainsFunc(r.mentions, func(m mention) bool {
		name, found := resolve(m.path, languages)
		return found && !session(name)
	})
}

// missing returns what of r events of these kinds do not have, nil if they
// have all of it.
func (l *language) missing(r *reading, kinds decoders.Kinds) *mention {
	for i := range r.mentions {
		if !l.has(r.mentions[i].path, kinds) {
			return &r.mentions[i]
		}
	}
	if l.kinds(r, kinds) == 0 {
		return &r.mentions[0]
	}
	return nil
}
