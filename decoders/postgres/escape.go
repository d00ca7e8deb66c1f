package postgres

import (
	"slices"
	"strings"

	"agentd.dev/decoders/sql"
)

// unseen says how a statement, whatever it mentions, could show protected
// values through code that is not in its text, "" if it cannot.
func unseen(facts *sql.Facts) string {
	switch {
	case containsAny(facts.Normalized, runners):
		return "a function runs statements that agentd cannot see, and could show protected values"
	case slices.Contains(facts.Commands, "alter schema") && strings.Contains(facts.Normalized, "rename"):
		return "ALTER SCHEMA RENAME would take protected columns out of the schema that the policy names"
	}
	for _, command := range facts.Commands {
		if makers[command] || command[strings.LastIndexByte(command, ' ')+1:] == "domain" && (containsAny(facts.Normalized, carriers) || callsEscaped(words(facts.Normalized))) {
			return strings.ToUpper(command) + " makes code that later statements could carry protected values with"
		}
	}
	for _, verb := range facts.Verbs {
		// What EXECUTE runs was seen when it was prepared.
		if facts.Opaque && verb != "execute" && (away[verb] || !slices.Contains(facts.Verbs, "execute")) {
			return strings.ToUpper(verb) + " runs code that agentd cannot see, and could show protected values"
		}
	}
	return ""
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

// escapes says how a statement that mentions protected columns could carry
// their values to where they cannot be followed, "" if it cannot.
func (d *decoder) escapes(facts *sql.Facts, words []string) string {
	how := ""
	var inserts, selects, updates, merges bool
	for _, verb := range facts.Verbs {
		if away[verb] && how == "" {
			how = strings.ToUpper(verb)
		}
		inserts = inserts || verb == "insert"
		updates = updates || verb == "update"
		merges = merges || verb == "merge"
		selects = selects || verb == "select" || verb == "table"
	}
	switch {
	case how != "":
	case slices.Contains(facts.Commands, "select into"):
		how = "SELECT INTO"
	case inserts && selects:
		how = "INSERT with SELECT"
	case merges:
		how = "MERGE"
	case containsAny(facts.Normalized, carriers):
		how = "a function that keeps or sends what it is given"
	case callsEscaped(words):
		return `a function is called by a name written as U&"", and could be one that keeps or sends what it is given`
	case updates && !d.assignsOnly(words, selects):
		how = "UPDATE from a column or row"
	default:
		return ""
	}
	return how + " mentions a protected table or column, and could carry its values to where agentd cannot mask them"
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

// assignsOnly reports whether a statement that updates cannot assign protected
// values: it uses protected columns only as "name = ?", which an assignment of
// a value or a comparison with one is, or to name what is inserted, and
// protected tables only as what is updated, joined, or qualifies a column.
func (d *decoder) assignsOnly(words []string, selects bool) bool {
	tables, columns := map[string]bool{}, map[string]bool{}
	for _, c := range d.watch {
		if c.Column == "*" || c.Table == "*" {
			return false // any name may be protected
		}
		tables[c.Table], columns[c.Column] = true, true
	}
	selects = selects || slices.Contains(words, "with")
	listed := 0 // words before this one are in a list of what is inserted, or conflicts
	for i, w := range words {
		name := unquoted(w)
		switch {
		case strings.HasPrefix(w, `u&"`):
			return false // it may be any name
		case w == "*" && selects && !(at(words, i-1) == "(" && at(words, i+1) == ")"):
			return false // a column may be had without its name
		case w == "conflict":
			listed = closed(words, i+1)
		}
		if tables[name] && !plainUse(words, i) {
			return false
		}
		if tables[name] && opener(words, i) == "into" {
			listed = closed(words, i+1)
		}
		if columns[name] && i >= listed && !given(words, i) {
			return false
		}
	}
	return true
}

// given reports whether words[i], a protected column, is assigned or compared
// with what the client gave.
func given(words []string, i int) bool {
	switch value := at(words, i+2); {
	case at(words, i-1) == "." && at(words, i-2) == "excluded":
		return true
	case at(words, i+1) != "=":
		return false
	case value == "excluded":
		return unquoted(at(words, i+4)) == unquoted(words[i])
	default:
		return value == "?" || strings.HasPrefix(value, "$")
	}
}

// plainUse reports whether words[i], a protected table, stands where a table
// is named without another name, or qualifies one column: nothing then means
// its whole row, or its columns by other names.
func plainUse(words []string, i int) bool {
	next := at(words, i+1)
	if next == "." {
		return at(words, i+2) != "*"
	}
	switch opener(words, i) {
	case "into":
		return next == "(" || behindTable[next]
	case "update", "only", "from", "join":
		return behindTable[next]
	}
	return false
}

// behindTable are words that cannot be another name for the table before them.
var behindTable = map[string]bool{
	"": true, ";": true, "set": true, "where": true, "on": true, "using": true, "returning": true, "values": true,
	"default": true, "inner": true, "left": true, "right": true, "cross": true, "join": true,
}

// opener returns the word before the name words[i] and its schema.
func opener(words []string, i int) string {
	if at(words, i-1) == "." {
		i -= 2
	}
	return at(words, i-1)
}

// closed returns where the parenthesis at words[i] ends, 0 if there is none, or
// another one in it.
func closed(words []string, i int) int {
	if at(words, i) != "(" {
		return 0
	}
	for i++; i < len(words) && words[i] != "("; i++ {
		if words[i] == ")" {
			return i
		}
	}
	return 0
}

// tame reports whether every function that is called is one that makes no
// number or date out of a text's characters.
func tame(words []string) bool {
	for i, w := range words {
		if w == `"char"` {
			return false // its cast to integer gives a character
		}
		if w != "(" || i == 0 {
			continue
		}
		if prev := words[i-1]; prev[len(prev)-1] == '"' || inName(prev[0]) && !tameWords[prev] {
			return false
		}
	}
	return true
}

// tameWords are such functions, and what else may come before a parenthesis.
var tameWords = set(
	"count", "sum", "avg", "min", "max", "stddev", "variance", "bool_and", "bool_or", "every", "mode",
	"percentile_cont", "percentile_disc", "row_number", "rank", "dense_rank", "ntile", "lag", "lead",
	"first_value", "last_value", "abs", "ceil", "ceiling", "floor", "round", "trunc", "mod", "power", "sqrt",
	"coalesce", "nullif", "greatest", "least", "length", "char_length", "now", "age", "date_trunc", "date_part", "extract",
	"make_date", "to_timestamp", "generate_series", "exists", "in", "any", "some", "all", "not", "and", "or",
	"select", "from", "join", "where", "on", "using", "having", "by", "over", "filter", "group", "within", "as", "materialized",
	"case", "when", "then", "else", "between", "like", "ilike", "is", "distinct", "union", "intersect", "except",
	"values", "returning", "limit", "offset", "interval", "numeric", "decimal", "varchar", "timestamp", "timestamptz",
	"lateral", "explain", "grouping", "sets", "rollup", "cube", "only", "with", "conflict", "set",
)

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
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

// unquoted returns the name that a word means, cut as the server cuts it.
func unquoted(word string) string {
	if len(word) > 1 && word[0] == '"' {
		word = strings.ReplaceAll(word[1:len(word)-1], `""`, `"`)
	}
	return word[:min(len(word), maxName)]
}

// inName reports whether c can be part of an unquoted name.
func inName(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '$' || c >= 0x80
}
