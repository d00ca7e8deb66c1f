// Package script holds the statements that every client of a conversation
// sends, and how the clients written in Go print what they get.
package script

import (
	_ "embed"
	"strings"
)

//go:embed statements.sql
var statements string

// Text returns all statements as psql takes them: each is followed by a line
// with \g, and \; separates those that go in one query.
func Text() string {
	return strings.ReplaceAll(statements, "@megabyte@", strings.Repeat("0123456789abcdef", 1<<16))
}

// Statements returns the statements one by one, as they go to the server.
func Statements() []string {
	list := strings.Split(strings.TrimSuffix(Text(), "\n\\g\n"), "\n\\g\n")
	for i, s := range list {
		list[i] = strings.ReplaceAll(s, `\;`, ";")
	}
	return list
}
