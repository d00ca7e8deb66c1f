package policy

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
)

// issues reports what CEL found, and whether that was anything.
func (c *compiler) issues(issues *cel.Issues) bool {
	if issues.Err() == nil {
		return false
	}
	for _, e := range issues.Errors() {
		c.once(e.Location, plainIssue(e.Message))
	}
	return true
}

// plainIssue says in plain words what CEL's parser and checker say in
// the words of their makers.
func plainIssue(message string) string {
	message = strings.TrimPrefix(message, "Syntax error: ")
	if types, ok := strings.CutPrefix(message, "found no matching overload for '"); ok {
		operator, operands, _ := strings.Cut(types, "' applied to '")
		return fmt.Sprintf("%q does not go with %s", strings.Trim(operator, "_@"), strings.TrimSuffix(operands, "'"))
	}
	switch message, _, _ = strings.Cut(message, " expecting "); message {
	case "mismatched input '<EOF>'":
		return "the condition ends too early"
	case "invalid matches argument":
		return "not a regular expression, or too big a one"
	}
	return message
}

func (c *compiler) problem(parsed *cel.Ast, id int64, message string) {
	c.once(parsed.NativeRep().SourceInfo().GetStartLocation(id), message)
}

// once reports a problem, unless another protocol had it too.
func (c *compiler) once(l common.Location, message string) {
	offset, ok := c.source.LocationOffset(l)
	if !ok {
		offset = 0
	}
	if key := fmt.Sprint(offset, message); !c.reported[key] {
		c.reported[key] = true
		c.at.ProblemAt(int(offset), message)
	}
}
