package sql

import "bytes"

// maxName is the length to which PostgreSQL cuts names, in bytes.
const maxName = 63

// name notes the name that follows PREPARE, EXECUTE or DECLARE.
func (c *classifier) name(t, next token) {
	if t.kind == unicode {
		c.why = escapedName
	}
	c.facts.Names = append(c.facts.Names, Name{Verb: c.naming, Name: string(folded(t))})
	c.naming = ""
}

// lastName notes the name, or ALL, at the end of a statement.
func (c *classifier) lastName() {
	switch {
	case c.naming == "discard":
		if c.last.is("all") {
			c.facts.Names = append(c.facts.Names, Name{Verb: c.naming})
		}
	case c.last.is("all"):
		c.facts.Names = append(c.facts.Names, Name{Verb: c.naming})
	case c.last.kind == unicode:
		c.why = escapedName
	default:
		c.facts.Names = append(c.facts.Names, Name{Verb: c.naming, Name: string(folded(c.last))})
	}
}

// folded returns the name that a word or quoted identifier of a key means.
func folded(t token) []byte {
	name := t.text
	if t.kind == quoted {
		name = bytes.ReplaceAll(name[1:len(name)-1], []byte(`""`), []byte(`"`))
	}
	return name[:min(len(name), maxName)]
}
