package agentd_test

// stillOpen are the ways that are open today, by why they are: each as "group, name".
var stillOpen = map[string][]string{
	"foreign tables are not refused": {
		"functions that ask by themselves, a foreign table of the agent's, after a commit",
		"functions that ask by themselves, a foreign table of the agent's, an expression",
	},
	"not every predicate is refused": {
		"functions the agent makes, a domain whose check fails",
		"guesses, LIMIT",
		"guesses, a cast that fails or not",
		"guesses, a foreign key",
		"guesses, a unique violation",
	},
	"what the protocol named and SQL runs is not known": {
		"the protocol, a portal as a cursor of SQL",
		"the protocol, a statement prepared by the protocol, run by SQL",
	},
	"not closed yet": {
		"the server's own views, pg_statistic, the row",
	},
	"others' statements are not masked": {
		"the server's own views, what others say, an expression",
		"the server's own views, what others say, pg_stat_activity",
	},
	"a view's whole row is not in the catalogue": {
		"views, a field of a view of documents",
		"views, a view of documents",
	},
}

// open says why a way is open, "" if it may not be.
func (w *way) open() string {
	for why, names := range stillOpen {
		for _, name := range names {
			if name == w.group+", "+w.name {
				return why
			}
		}
	}
	return ""
}
