package walk

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// sets notes that a parameter of the session changes.
func (w *walker) sets(name string) { appendNew(&w.st.Sets, strings.ToLower(name)) }

// variableSet reads SET and RESET.
func (w *walker) variableSet(s *pg.VariableSetStmt) {
	switch s.Kind {
	case pg.VariableSetKind_VAR_RESET, pg.VariableSetKind_VAR_RESET_ALL:
		w.verb("reset")
	default:
		w.verb("set")
	}
	switch s.Kind {
	case pg.VariableSetKind_VAR_SET_VALUE, pg.VariableSetKind_VAR_SET_DEFAULT,
		pg.VariableSetKind_VAR_SET_CURRENT, pg.VariableSetKind_VAR_RESET:
		w.sets(s.Name)
	case pg.VariableSetKind_VAR_SET_MULTI:
		prefix := ""
		switch s.Name {
		case "TRANSACTION":
		case "SESSION CHARACTERISTICS":
			prefix = "default_"
		case "TRANSACTION SNAPSHOT":
			w.sets("transaction_snapshot")
			return
		default:
			w.sets("*")
		}
		w.modes(s.Args, prefix)
	default:
		w.sets("*")
	}
}

// transaction reads BEGIN, COMMIT and their like, with the modes that BEGIN sets.
func (w *walker) transaction(s *pg.TransactionStmt) {
	verb := transactionVerbs[s.Kind]
	if verb == "" {
		w.fail("a transaction statement of a kind that is not known")
		return
	}
	w.verb(verb)
	if verb == "begin" || verb == "start" {
		w.modes(s.Options, "")
	}
}

// transactionVerbs are the words that the statements begin with, or could.
var transactionVerbs = map[pg.TransactionStmtKind]string{
	pg.TransactionStmtKind_TRANS_STMT_BEGIN:             "begin",
	pg.TransactionStmtKind_TRANS_STMT_START:             "start",
	pg.TransactionStmtKind_TRANS_STMT_COMMIT:            "commit",
	pg.TransactionStmtKind_TRANS_STMT_ROLLBACK:          "rollback",
	pg.TransactionStmtKind_TRANS_STMT_SAVEPOINT:         "savepoint",
	pg.TransactionStmtKind_TRANS_STMT_RELEASE:           "release",
	pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:       "rollback",
	pg.TransactionStmtKind_TRANS_STMT_PREPARE:           "prepare",
	pg.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED:   "commit",
	pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED: "rollback",
}

// modes are the parameters behind the modes of a transaction.
func (w *walker) modes(list []*pg.Node, prefix string) {
	for _, node := range list {
		if def := node.GetDefElem(); def != nil {
			w.sets(prefix + def.Defname)
		} else {
			w.sets("*")
		}
	}
}
