// Package walk reads texts with PostgreSQL's grammar and says what they mean.
// It is C code that reads what agents wrote, and runs in grammar's workers alone.
package walk

import (
	"errors"
	"reflect"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"

	"agentd.dev/decoders/sql"
)

// Read says what a text means.
func Read(text string) sql.Meaning {
	tree, err := pg.Parse(text)
	if err != nil {
		var syntax *parser.Error
		return sql.Meaning{Unclear: err.Error(), Syntax: errors.As(err, &syntax)}
	}
	var m sql.Meaning
	for _, s := range tree.Stmts {
		m.Statements = append(m.Statements, sql.Statement{Kind: kind(s.Stmt), HasWhere: true})
	}
	return m
}

func kind(n *pg.Node) string {
	return strings.TrimPrefix(reflect.TypeOf(n.GetNode()).Elem().Name(), "Node_")
}
