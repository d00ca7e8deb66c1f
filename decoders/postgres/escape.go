package postgres

import (
	"slices"
	"strings"

	"agentd.dev/decoders"
	"agentd.dev/decoders/sql"
)

// hidden says how a statement, whatever it mentions, could show protected
// values through code that is not in its text, "" if it cannot. It ends a
// sentence that begins with the statement.
func hidden(facts *sql.Facts) string {
	if slices.Contains(facts.Commands, "alter schema") && strings.Contains(facts.Normalized, "rename") {
		return "ALTER SCHEMA RENAME would take them out of the schema that the policy names"
	}
	for _, command := range facts.Commands {
		if makers[command] {
			return strings.ToUpper(command) + " makes code that later statements could carry them with"
		}
	}
	for _, verb := range facts.Verbs {
		if verb == "start_replication" || verb == "base_backup" {
			return strings.ToUpper(verb) + " copies tables in a form that is not masked"
		}
		// What EXECUTE runs was seen when it was prepared.
		if facts.Opaque && verb != "execute" && (away[verb] || !slices.Contains(facts.Verbs, "execute")) {
			return strings.ToUpper(verb) + " runs code that agentd cannot see"
		}
	}
	return ""
}

// byWords is what a text of which the grammar says nothing exposes, as far as
// its words tell: they are taken for the worst that they may mean.
func (k *known) byWords(facts *sql.Facts) []decoders.Exposure {
	what := hidden(facts)
	words := words(facts.Normalized)
	switch {
	case what != "":
	case containsAny(facts.Normalized, runners):
		what = "a function runs statements that agentd cannot see"
	case slices.ContainsFunc(facts.Commands, func(c string) bool { return strings.HasSuffix(c, " domain") }) &&
		(containsAny(facts.Normalized, carriers) || callsEscaped(words)):
		what = "it makes code that later statements could carry them with"
	case slices.Contains(facts.Verbs, "cluster"):
		what = "CLUSTER puts rows in the order of an index, perhaps of these"
	case mentions(facts):
		if how := escapes(facts, words); how != "" {
			what = how + " could carry them to where they cannot be masked"
		}
	}
	if what == "" {
		return append(k.hookedByWords(facts, words), k.guessesByWords(facts, words)...)
	}
	return []decoders.Exposure{{Risk: decoders.Carries, What: what, Columns: k.wanted}}
}

// makers make what can call any function, under a name that says nothing.
var makers = map[string]bool{
	"create function": true, "create procedure": true, "create aggregate": true, "create operator": true, "create cast": true,
}

// runners are parts of the names of such functions, of the server's own and of
// its common extensions.
var runners = []string{"_to_xml", "ts_stat", "ts_rewrite", "dblink", "crosstab", "connectby", "xpath_table", "pg_logical_slot"}

// carriers are parts of the names of functions that put what they are given
// where another statement, or another session, can read it.
var carriers = []string{
	"set_config", "setseed", "pg_notify", "lo_", "lowrite", "setval", "advisory",
	"pg_logical_emit_message", "_replication_slot", "pg_replication_origin",
}

func containsAny(text string, parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}

// escapes says by what a statement that mentions protected columns could carry
// their values away, "" if it cannot.
func escapes(facts *sql.Facts, words []string) string {
	var inserts, selects bool
	for _, verb := range facts.Verbs {
		if away[verb] || verb == "update" || verb == "merge" {
			return strings.ToUpper(verb)
		}
		inserts = inserts || verb == "insert"
		selects = selects || verb == "select" || verb == "table"
	}
	switch {
	case slices.Contains(facts.Commands, "select into"):
		return "SELECT INTO"
	case inserts && selects:
		return "INSERT with SELECT"
	case containsAny(facts.Normalized, carriers), callsEscaped(words):
		return "a function that keeps or sends what it is given"
	}
	return ""
}

// away are the verbs of statements that store or send what they select
// elsewhere, or hide what they do.
var away = map[string]bool{
	"copy": true, "create": true, "do": true, "call": true, "alter": true, "import": true, "refresh": true, "notify": true, "load": true,
}

// callsEscaped reports whether a name spelt in code points is called.
func callsEscaped(words []string) bool {
	for i, w := range words {
		if !strings.HasPrefix(w, `u&"`) {
			continue
		}
		next := i + 1
		if at(words, next) == "uescape" {
			next += 2
		}
		if at(words, next) == "(" {
			return true
		}
	}
	return false
}

// words cuts a normalised text: unquoted words, quoted names with their
// quotes, and single signs.
func words(text string) []string {
	var out []string
	for i := 0; i < len(text); {
		from := i
		switch c := text[i]; {
		case c == ' ':
			i++
			continue
		case c == '"', strings.HasPrefix(text[i:], `u&"`):
			i = quotedEnd(text, i+strings.IndexByte(text[i:], '"'))
		case inName(c):
			for i < len(text) && inName(text[i]) {
				i++
			}
		default:
			i++
		}
		out = append(out, text[from:i])
	}
	return out
}

// quotedEnd returns where the quoted name that opens at text[i] ends. A doubled
// quote is part of it.
func quotedEnd(text string, i int) int {
	for i < len(text) && text[i] == '"' {
		n := strings.IndexByte(text[i+1:], '"')
		if n < 0 {
			return len(text)
		}
		i += n + 2
	}
	return i
}

// at returns words[i], "" if there is no such word.
func at(words []string, i int) string {
	if i < 0 || i >= len(words) {
		return ""
	}
	return words[i]
}

// inName reports whether c can be part of an unquoted name.
func inName(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '$' || c >= 0x80
}
