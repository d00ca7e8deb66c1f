package document

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// ProblemAt reports that something is wrong with the text of v, offset
// characters from its beginning.
func (v Value) ProblemAt(offset int, message string) {
	line, column := v.at(offset)
	v.file.problem(line, column, message)
}

// at finds the place in the file of a character of a scalar's text, by
// walking both together: what is not white space stands in the file in the
// same order, whatever the style of the scalar did to line ends and
// indentation. Where an escape breaks that, it is the place of v itself.
func (v Value) at(offset int) (line, column int) {
	c := cursor{rest: v.file.source, line: 1, column: 1}
	for c.line < v.node.Line || c.line == v.node.Line && c.column < v.node.Column {
		if !c.step() {
			return v.node.Line, v.node.Column
		}
	}
	c.open(v.node.Style)
	for i, want := range []rune(v.node.Value) {
		if !space(want) {
			for space(c.rune()) && c.step() {
			}
		}
		if i == offset {
			return c.line, c.column
		}
		if space(want) {
			continue
		}
		if !c.eat(want, v.node.Style) {
			return v.node.Line, v.node.Column
		}
	}
	return c.line, c.column
}

// A cursor is a place in a file.
type cursor struct {
	rest         string
	line, column int
}

func (c *cursor) rune() rune {
	for _, r := range c.rest {
		return r
	}
	return -1
}

// step goes on by one character. It is false at the end.
func (c *cursor) step() bool {
	for i, r := range c.rest {
		if i > 0 {
			c.rest = c.rest[i:]
			return true
		}
		if r == '\n' {
			c.line, c.column = c.line+1, 1
		} else {
			c.column++
		}
	}
	if c.rest == "" {
		return false
	}
	c.rest = ""
	return true
}

// open goes to where the text of a scalar of that style begins.
func (c *cursor) open(style yaml.Style) {
	switch {
	case style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		for line := c.line; c.line == line && c.step(); {
		}
	case style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		c.step()
	}
}

// eat goes past one character of the text. It is false if something else
// stands there.
func (c *cursor) eat(want rune, style yaml.Style) bool {
	switch {
	case style&yaml.SingleQuotedStyle != 0 && want == '\'' && strings.HasPrefix(c.rest, "''"),
		style&yaml.DoubleQuotedStyle != 0 && (want == '"' || want == '\\' || want == '/') && c.rune() == '\\':
		c.step()
	}
	if c.rune() != want {
		return false
	}
	return c.step()
}

func space(r rune) bool { return r == ' ' || r == '\n' || r == '\t' || r == '\r' }
