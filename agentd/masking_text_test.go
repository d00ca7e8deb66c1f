package agentd_test

import (
	"fmt"
	"strings"
)

func repeat(text string, n int) string { return strings.Repeat(text, n) }

// pieces lists an expression for each of the first characters of a text.
func pieces(format string) string {
	var out []string
	for i := range 20 {
		out = append(out, fmt.Sprintf(format, i+1))
	}
	return strings.Join(out, ", ")
}

// chars is a statement for each of them.
func chars(format string) string {
	var out []string
	for i := range 20 {
		out = append(out, fmt.Sprintf(format, i+1))
	}
	return strings.Join(out, "\n")
}

// nested is a subquery in a subquery.
func nested(depth int) string {
	return strings.Repeat("(select ", depth) + "(select email from customers where id = 1)" + strings.Repeat(")", depth)
}
