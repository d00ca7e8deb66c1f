package policy

import (
	"errors"
	"fmt"
	"strings"

	"agentd.dev/decoders"
)

// parseColumn reads a column's name: table.column in any schema, or
// schema.table.column. A part may be "*", or stand in double quotes.
func parseColumn(text string) (decoders.ColumnName, error) {
	var parts []string
	for rest := text; ; {
		part, after, err := parsePart(rest)
		if err != nil {
			return decoders.ColumnName{}, fmt.Errorf("column %q: %w", text, err)
		}
		parts = append(parts, part)
		if after == "" {
			break
		}
		rest = after[1:]
	}
	switch len(parts) {
	case 2:
		return decoders.ColumnName{Schema: "*", Table: parts[0], Column: parts[1]}, nil
	case 3:
		return decoders.ColumnName{Schema: parts[0], Table: parts[1], Column: parts[2]}, nil
	}
	return decoders.ColumnName{}, fmt.Errorf("column %q: write table.column or schema.table.column; * stands for any name", text)
}

// parsePart takes the first part of a name off text. What is left is empty or
// begins with the dot.
func parsePart(text string) (part, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		part, _, _ = strings.Cut(text, ".")
		switch {
		case part == "":
			return "", "", errors.New("a part is empty")
		case part != "*" && strings.ContainsAny(part, "*?%"):
			return "", "", errors.New("* stands for a whole name, not for part of one")
		case strings.ContainsAny(part, "\" \t\n"):
			return "", "", errors.New(`put a name with such characters in double quotes, as '"My Table".email'`)
		}
		return part, text[len(part):], nil
	}
	quoted := text[1:]
	for {
		inside, after, closed := strings.Cut(quoted, `"`)
		part += inside
		if !closed {
			return "", "", errors.New("a double quote is not closed")
		}
		if !strings.HasPrefix(after, `"`) {
			if part == "" || after != "" && after[0] != '.' {
				return "", "", errors.New("double quotes go around a whole name")
			}
			return part, after, nil
		}
		part += `"`
		quoted = after[1:]
	}
}

// covers reports whether pattern names c. A part that the decoder does not
// know counts as named: it could be.
func covers(pattern decoders.ColumnName, c decoders.Column) bool {
	return covered(pattern.Schema, c.Schema) && covered(pattern.Table, c.Table) && covered(pattern.Column, c.Name)
}

func covered(pattern, name string) bool {
	return pattern == "*" || name == "*" || name == "" || pattern == name
}
